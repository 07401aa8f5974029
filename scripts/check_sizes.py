#!/usr/bin/env python3
"""Checks the size limits of the sources: files, functions, parameters.

The limits: 600 lines a source file, 300 a header, 60 a function, 6 parameters a function (line width is
clang-format's). Functions are found by matching braces in clang-formatted text with strings and comments blanked: not a
parser, but it needs nothing but Python's standard library.

usage: check_sizes.py [REPOSITORY]      prints the offenders; exit status 1 where there are any
"""
import pathlib
import re
import sys

LIMITS = {".cc": 600, ".h": 300}
FUNCTION_LINES = 60
PARAMETERS = 6
NOT_A_FUNCTION = re.compile(r"\b(if|for|while|switch|catch|namespace|class|struct|union|enum|extern|else|do|try)\b")
TOKEN = re.compile(
    r'R"(?P<raw>[^()\\ ]{0,16})\(.*?\)(?P=raw)"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
    re.S)


def blank(text):
    """The text with comments, strings and preprocessor lines replaced by spaces; newlines stay."""
    text = TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    return re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.M)


def matching(text, start, opening, closing):
    """Index just behind the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] == opening:
            depth += 1
        elif text[i] == closing:
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)


def split_parameters(text):
    """The parts of a parameter list at its top-level commas."""
    depth, parts, start = 0, [], 0
    for i, c in enumerate(text):
        if c in "(<[{":
            depth += 1
        elif c in ")]}" or (c == ">" and text[i - 1] != "-"):
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [p for p in parts if p.strip() not in ("", "void")]


def function_head(head):
    """(name, parameters) where the text before a '{' is the head of a function definition, else None."""
    match = re.search(r"([~\w:]+|operator\s*\S{1,3})\s*\(", head)
    if not match or NOT_A_FUNCTION.search(head[: match.end()]) or re.search(r"[=\]]\s*$", head[: match.start()]):
        return None
    if re.search(r"\breturn\b|=", head[: match.start()].replace("==", "")):
        return None
    end = matching(head, match.end() - 1, "(", ")")
    return match.group(1), split_parameters(head[match.end():end - 1])


def functions(text):
    """(line, name, lines, parameters) of every function defined in blanked text, lambdas inside counted with it."""
    found = []
    i = begin = 0
    while i < len(text):
        c = text[i]
        if c in ";}":
            begin = i + 1
        elif c == "{":
            head = text[begin:i]
            named = function_head(head)
            if named:
                end = matching(text, i, "{", "}")
                first = text.count("\n", 0, begin + len(head) - len(head.lstrip())) + 1
                last = text.count("\n", 0, end) + 1
                found.append((first, named[0], last - first + 1, len(named[1])))
                i = end - 1
            begin = i + 1
        i += 1
    return found


def check_file(path, where):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    problems = []
    if len(lines) > LIMITS[path.suffix]:
        problems.append(f"{where}: {len(lines)} lines, at most {LIMITS[path.suffix]}")
    for line, name, length, parameters in functions(blank(text)):
        if length > FUNCTION_LINES:
            problems.append(f"{where}:{line}: {name} has {length} lines, at most {FUNCTION_LINES}")
        if parameters > PARAMETERS:
            problems.append(f"{where}:{line}: {name} has {parameters} parameters, at most {PARAMETERS}: use an options struct")
    return problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    sources = sorted(p for top in ("caravan", "examples") for p in (root / top).rglob("*") if p.suffix in LIMITS)
    if not sources:
        sys.exit(f"{root}: no sources found")
    problems = [p for path in sources for p in check_file(path, path.relative_to(root))]
    print("\n".join(problems + [f"{len(sources)} files, {len(problems)} over a limit"]))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
