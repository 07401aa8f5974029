#!/usr/bin/env python3
"""Speed beside llama.cpp on the same GGUF files: prompts, decoding, sequences decoding together.

  bench_vs_llama_cpp.py FILE.gguf [FILE.gguf ...] --llama-cpp FOLDER [--caravan build/release/bin/caravan] [--threads 1,2]
                        [--prompt 512] [--new 128] [--batch 16] [--rounds 3] [--json OUT.json]

FOLDER, or bin in it, holds llama-bench and llama-batched-bench; where there is no such FOLDER they are built there first, from
the PyPI source package llama_cpp_python (some ten minutes on two cores). The two programs take turns, every round once each,
and the best round of each counts: what else the machine does then hits both. Prints a Markdown table; a ratio above 1 means
that Caravan is faster.
"""
import argparse
import glob
import json
import os
import pathlib
import subprocess
import sys
import tarfile

SOURCE = "llama_cpp_python"
PACKAGE = f"{SOURCE}==0.3.36"
TARGETS = ["llama-bench", "llama-batched-bench"]
# llama.cpp's AMX code ends with an illegal instruction on some virtual machines.
FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def find_tools(folder):
    """The folder that holds llama.cpp's programs. They are built in a FOLDER that is new, or where that was begun."""
    for tools in (folder, folder / "bin"):
        if all((tools / name).is_file() for name in TARGETS):
            return tools
    begun = any(folder.glob(f"{SOURCE}-*"))
    if folder.exists() and not begun and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"--llama-cpp {folder}: neither it nor {folder / 'bin'} holds {' and '.join(TARGETS)}; "
                 "name a new folder to have them built there")
    print(f"no {TARGETS[0]} there: building llama.cpp in {folder}, some ten minutes on two cores", file=sys.stderr, flush=True)
    build(folder)
    return folder / "bin"


def build(folder):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", folder, PACKAGE], check=True)
    with tarfile.open(glob.glob(str(folder / f"{SOURCE}-*.tar.gz"))[0]) as archive:
        archive.extractall(folder, filter="data")
    source = glob.glob(str(folder / f"{SOURCE}-*" / "vendor" / "llama.cpp"))[0]
    subprocess.run(["cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON",
                    f"-DCMAKE_C_FLAGS={FLAGS}", f"-DCMAKE_CXX_FLAGS={FLAGS}", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF",
                    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_UI=OFF"], check=True)
    subprocess.run(["ninja", "-C", folder, *TARGETS], check=True)


def output_of(command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def caravan(args, file, threads):
    batches = f"1,{args.batch}" if args.batch > 1 else "1"
    rows = json.loads(output_of([args.caravan, "bench", "-m", file, "-p", args.prompt, "-n", args.new, "-b", batches,
                                 "-r", args.repetitions, "-t", threads, "--json"]))
    rates = {row["test"]: row["best_tokens_per_second"] for row in rows}
    rates["percent"] = next(row["bandwidth_percent"] for row in rows if row["test"] == f"tg{args.new}")
    return rates


def llama_cpp(args, file, threads):
    rates = {}
    for row in json.loads(output_of([args.tools / "llama-bench", "-m", file, "-p", args.prompt, "-n", args.new,
                                     "-r", args.repetitions, "-t", threads, "-o", "json"])):
        name = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
        rates[name] = max(row["samples_ts"])
    if args.batch > 1:
        out = output_of([args.tools / "llama-batched-bench", "-m", file, "-c", args.batch * (args.new + 32), "-npp", 1,
                         "-ntg", args.new, "-npl", args.batch, "-t", threads, "--output-format", "jsonl"])
        row = [json.loads(line) for line in out.splitlines() if line.startswith("{")][-1]
        rates[f"tg{args.new}x{args.batch}"] = row["speed_tg"]
    return rates


def best(rounds):
    return {name: max(r[name] for r in rounds) for name in rounds[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("--caravan", default="build/release/bin/caravan")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16, help="sequences decoding together; 1: not measured")
    parser.add_argument("--repetitions", type=int, default=2, help="runs in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="writes all rates to this file")
    args = parser.parse_args()
    args.tools = find_tools(args.llama_cpp)

    print("| file | threads | test | llama.cpp, tokens/s | Caravan, tokens/s | ratio | of bandwidth |\n|---|---|---|---|---|---|---|")
    everything = []
    for file in args.files:
        for threads in args.threads.split(","):
            rounds = [(caravan(args, file, threads), llama_cpp(args, file, threads)) for _ in range(args.rounds)]
            ours, theirs = best([r[0] for r in rounds]), best([r[1] for r in rounds])
            for test in theirs:
                percent = f"{ours['percent']:.0f}%" if test == f"tg{args.new}" else ""
                print(f"| {os.path.basename(file)} | {threads} | {test} | {theirs[test]:.1f} | {ours[test]:.1f} | "
                      f"{ours[test] / theirs[test]:.2f} | {percent} |", flush=True)
                everything.append({"file": os.path.basename(file), "threads": int(threads), "test": test,
                                   "llama_cpp": theirs[test], "caravan": ours[test], "bandwidth_percent": ours["percent"]})
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
