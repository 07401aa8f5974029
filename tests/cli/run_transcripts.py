#!/usr/bin/env python3
"""Runs transcripts against the real program: run_transcripts.py PROGRAM FILE.test ...

A case is a line "$ command", the lines that follow up to the next case are what it prints on stdout, then stderr. In the
command `caravan` is the program and `$CARAVAN` its path; it runs in a shell in a fresh folder that holds what
make_fixtures.py wrote. The expected text may say "..." for the rest of a line and a line "..." for any lines; "[exit N]" as
the last line is the exit code where it is not 0. "#" lines between cases are comments. Standard library only.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

import make_fixtures


def parse(path):
    cases = []
    for number, line in enumerate(open(path, encoding="utf-8").read().split("\n"), 1):
        if line.startswith("$ "):
            cases.append((number, line[2:], []))
        elif cases and not line.startswith("#"):
            cases[-1][2].append(line)
    return [(n, command, "\n".join(lines).strip("\n")) for n, command, lines in cases]


def matches(expected, got):
    pattern = ""
    for line in expected.split("\n"):
        pattern += r"(?:.*\n)*" if line == "..." else ".*".join(re.escape(p) for p in line.split("...")) + "\n"
    return re.fullmatch(pattern, got.strip("\n") + "\n") is not None


def run(program, command, folder):
    shell = f'caravan() {{ {shlex.quote(program)} "$@"; }}\n{command}'
    done = subprocess.run(["bash", "-c", shell], cwd=folder, stdin=subprocess.DEVNULL, timeout=120,
                          env={**os.environ, "CARAVAN": program}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text = done.stdout.decode("utf-8") + done.stderr.decode("utf-8")  # invalid UTF-8 fails the test
    if done.returncode != 0:
        text = text.rstrip("\n") + f"\n[exit {done.returncode}]"
    return text


def main():
    program, failed, count = os.path.abspath(sys.argv[1]), 0, 0
    for path in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as folder:
            make_fixtures.write_all(folder)
            for number, command, expected in parse(path):
                count += 1
                got = run(program, command, folder)
                if not matches(expected, got):
                    failed += 1
                    print(f"{path}:{number}: $ {command}\n--- expected\n{expected}\n--- got\n{got}\n")
    print(f"{count} cases, {failed} failed")
    return 1 if failed or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
