#!/usr/bin/env python3
"""Tokenizer throughput of Caravan and of Hugging Face `tokenizers` on the same documents, in the same run.

usage: bench_tokenizers.py TOOL tokenizer.json...   (TOOL is built from benchmarks/tokenizer_bench.cc)
Documents: 1500 pieces of 2000 characters of Python's standard library. Best of three rounds. Written against tokenizers 0.23.3.
"""
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


def best(run, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def reference(path, texts):
    """Runs in a process of its own: the package reads its number of threads once."""
    from tokenizers import Tokenizer
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    load = best(lambda: Tokenizer.from_file(path))
    tokenizer = Tokenizer.from_file(path)
    return {"load_s": load, "full": megabytes / best(lambda: [tokenizer.encode(t) for t in texts]),
            "batch_full": megabytes / best(lambda: tokenizer.encode_batch(texts)), "batch_ids": megabytes / best(lambda: tokenizer.encode_batch_fast(texts))}


def main():
    if sys.argv[1] == "--reference":
        print(json.dumps(reference(sys.argv[2], documents())))
        return
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for text in documents():
            f.write(json.dumps({"text": text}) + "\n")
        f.flush()
        for path in sys.argv[2:]:
            ours = json.loads(subprocess.check_output([sys.argv[1], path, f.name]))
            theirs, one = (json.loads(subprocess.check_output([sys.executable, __file__, "--reference", path],
                                                              env={**os.environ, "TOKENIZERS_PARALLELISM": parallel})) for parallel in ("true", "false"))
            # One thread: encode_batch_fast without parallelism is the package's fastest way.
            rows = {"load [s]": (ours["load_s"], theirs["load_s"]), "one thread, ids [MB/s]": (ours["ids"], one["batch_ids"]),
                    "one thread, offsets [MB/s]": (ours["full"], max(one["full"], one["batch_full"])),
                    "all cores, ids [MB/s]": (ours["batch_ids"], theirs["batch_ids"]), "all cores, offsets [MB/s]": (ours["batch_full"], theirs["batch_full"])}
            print(os.path.relpath(path))
            for name, (a, b) in rows.items():
                ratio = b / a if "[s]" in name else a / b
                print(f"  {name:28} caravan {a:8.3f}  tokenizers {b:8.3f}  {ratio:6.1f}x")


main()
