#!/usr/bin/env python3
"""Tokenizer throughput of Caravan and of Hugging Face `tokenizers` on the same documents, in the same run.

usage: bench_tokenizers.py TOOL [--documents N] tokenizer.json...   (TOOL is built from benchmarks/tokenizer_bench.cc)
Documents: N (1500) pieces of 2000 characters of Python's standard library. Best of three rounds, of five here. One thread is
measured by CPU time, so that other jobs of the machine do not count; all cores by the clock. Written against tokenizers 0.23.3.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time


def documents(count=1500, size=2000):
    out = []
    for path in sorted(glob.glob(os.path.join(sysconfig.get_paths()["stdlib"], "*.py"))):
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        out += [text[i:i + size] for i in range(0, len(text), size)]
    return out[:count]


def best(run, clock=time.process_time, rounds=3):
    times = []
    for _ in range(rounds):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def reference(path, texts, parallel):
    """Runs in a process of its own: the package reads its number of threads once."""
    from tokenizers import Tokenizer
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    tokenizer = Tokenizer.from_file(path)
    if parallel:
        return {"full": megabytes / best(lambda: tokenizer.encode_batch(texts), time.perf_counter),
                "ids": megabytes / best(lambda: tokenizer.encode_batch_fast(texts), time.perf_counter)}
    full = min(best(lambda: [tokenizer.encode(t) for t in texts]), best(lambda: tokenizer.encode_batch(texts)))
    return {"load_s": best(lambda: Tokenizer.from_file(path)), "full": megabytes / full,
            "ids": megabytes / best(lambda: tokenizer.encode_batch_fast(texts))}


def main():
    if sys.argv[1] == "--reference":
        print(json.dumps(reference(sys.argv[2], documents(int(sys.argv[4])), sys.argv[3] == "true")))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--documents", type=int, default=1500)
    options = parser.parse_intermixed_args()
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for text in documents(options.documents):
            f.write(json.dumps({"text": text}) + "\n")
        f.flush()
        for path in options.files:
            ours = json.loads(subprocess.check_output([options.tool, path, f.name]))
            all_cores, one = (json.loads(subprocess.check_output([sys.executable, __file__, "--reference", path, parallel, str(options.documents)],
                                                                 env={**os.environ, "TOKENIZERS_PARALLELISM": parallel})) for parallel in ("true", "false"))
            # One thread: encode_batch_fast without parallelism is the package's fastest way.
            rows = {"load [CPU s]": (ours["load_s"], one["load_s"]), "one thread, ids [MB/CPU s]": (ours["ids"], one["ids"]),
                    "one thread, offsets [MB/CPU s]": (ours["full"], one["full"]),
                    "all cores, ids [MB/s]": (ours["batch_ids"], all_cores["ids"]), "all cores, offsets [MB/s]": (ours["batch_full"], all_cores["full"])}
            print(os.path.relpath(path))
            for name, (a, b) in rows.items():
                ratio = b / a if "load" in name else a / b
                print(f"  {name:30} caravan {a:8.3f}  tokenizers {b:8.3f}  {ratio:6.1f}x", flush=True)


main()
