#!/usr/bin/env bash
# Runs clang-tidy over the sources of a configured build folder. Files of torch folders take about 20 s each.
# usage: scripts/tidy.sh [BUILD_FOLDER [FILE...]]          without files: everything in caravan/
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}; shift || true
command -v clang-tidy >/dev/null || { echo "clang-tidy is missing: apt-get install clang-tidy" >&2; exit 1; }
[ -e "$build/compile_commands.json" ] || { echo "$build is not configured: cmake --preset release" >&2; exit 1; }
[ $# -gt 0 ] || mapfile -t files < <(git ls-files 'caravan/*.cc' | grep -v '\.isa\.cc$')
# GCC's precompiled header and warning flags mean nothing to clang: they are taken out of a copy of the commands.
database=$build/tidy; mkdir -p "$database"
sed -E 's/-include [^ ]*cmake_pch[^ ]*//g; s/-Winvalid-pch//g; s/-Wno-restrict//g' "$build/compile_commands.json" > "$database/compile_commands.json"
printf '%s\n' "${@:-${files[@]}}" | xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p "$database"
