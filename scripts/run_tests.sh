#!/usr/bin/env bash
# Runs every test of one built preset, and repeats ctest's count as the last line.
# usage: scripts/run_tests.sh [PRESET [ctest arguments...]]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}; shift || true
log=build/$preset/test.log
status=0
ctest --preset "$preset" -j "${CARAVAN_TEST_JOBS:-$(nproc)}" "$@" 2>&1 | tee "$log" || status=$?
grep -E '^[0-9]+% tests passed' "$log" || echo "no test ran: see $log"
exit "$status"
