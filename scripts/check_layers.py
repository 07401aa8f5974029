#!/usr/bin/env python3
"""Checks every #include of caravan/ and tests/ against the arrows in cmake/layers.txt.

A folder includes what it can reach along the arrows, nothing else. Torch-free folders include no libtorch header; in the
other folders <torch/torch.h> stands in .cc files only (headers name the small ones: <ATen/core/Tensor.h>). Folders and
files are not called util, common, core or helpers. Needs nothing but Python's standard library.

usage: check_layers.py [REPOSITORY]     prints the offending lines; exit status 1 where there are any
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TORCH = ("torch/", "ATen/", "c10/", "caffe2/")
FORBIDDEN_NAMES = {"util", "utils", "common", "core", "helper", "helpers", "misc"}


def read_layers(path):
    """folder -> (kind, direct dependencies)"""
    layers = {}
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            layers[words[0]] = (words[1], words[2:])
    return layers


def reachable(layers):
    """folder -> every folder it may include; fails on an unknown name or a cycle"""
    found = {}

    def visit(folder, path):
        if folder in path:
            sys.exit(f"cmake/layers.txt: the arrows form a cycle: {' -> '.join(path + [folder])}")
        if folder not in layers:
            sys.exit(f"cmake/layers.txt: {path[-1]} points at '{folder}', which has no line of its own")
        if folder not in found:
            reached = {folder}
            for dependency in layers[folder][1]:
                reached |= visit(dependency, path + [folder])
            found[folder] = reached
        return found[folder]

    for folder in layers:
        visit(folder, [])
    return found


def include_problem(folder, kind, allowed, path, header):
    if header.startswith("caravan/"):
        target = header.split("/")[1]
        if target not in allowed:
            return f"{folder} may include {', '.join(sorted(allowed))} only"
    elif header.startswith(TORCH):
        if kind == "torch-free":
            return f"{folder} is torch-free"
        if path.suffix == ".h" and header in ("torch/torch.h", "torch/all.h", "torch/extension.h"):
            return "headers name the small header they need; only .cc files include the precompiled one"
    return None


def check(root):
    layers = read_layers(root / "cmake/layers.txt")
    allowed = reachable(layers)
    problems = []
    sources = sorted(p for p in (root / "caravan").rglob("*") if p.suffix in (".h", ".cc"))
    for path in sources:
        where = path.relative_to(root)
        folder = where.parts[1]
        if folder not in layers:
            problems.append(f"{where}: the folder '{folder}' has no line in cmake/layers.txt")
            continue
        names = {part.lower() for part in where.parts[1:-1]} | {where.stem.lower().removesuffix("_test")}
        for name in sorted(names & FORBIDDEN_NAMES):
            problems.append(f"{where}: '{name}' says nothing: name it after what it holds")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(2)
            problem = include_problem(folder, layers[folder][0], allowed[folder], path, header)
            if match.group(1) == '"' and not header.startswith("caravan/"):
                problem = 'own headers are included as "caravan/FOLDER/NAME.h"'
            if problem:
                problems.append(f"{where}:{number}: {line.strip()}: {problem}")
    return len(sources), problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    count, problems = check(root)
    if not count:
        sys.exit(f"{root}: no sources found")
    print("\n".join(problems + [f"{count} files, {len(problems)} includes or names against the layers"]))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
