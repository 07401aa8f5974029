#!/usr/bin/env python3
"""Mutated GGUF files: what Caravan's reader accepts or refuses beside the `gguf` Python package. Ran with gguf 0.19.0.

Small valid files are damaged (bits, numbers, cuts, repeated and lost ranges); both readers judge each. A file that both
accept must hold the same tensors at the same places. A file that only Caravan refuses must break one of the listed
stricter rules, named by its fault. A file that only Caravan accepts is an error of this run (exit code 1).

Usage: differential_gguf.py build/release/bin/caravan_differential [--files 10000] [--seed 1]
"""
import argparse
import collections
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile

import gguf
import numpy as np

# Rules of ggml (gguf.cpp) or of Caravan that the Python package does not check.
STRICTER = {
    "limit": "names of 64 bytes and more; counts above 65536",
    "layout": "offsets that are not the running padded sum; rows that are no multiple of a block",
    "range": "empty keys and names; more than 4 dimensions; negative dimensions; bools above 1; alignment above 2^24",
    "truncated": "values or tensor data cut by the end of the file (a numpy slice is silently short)",
    "overflow": "sizes beyond 63 bits (the package computes modulo 2^64)",
    "unsupported": "storage types that Caravan does not read",
    "type": "arrays of arrays; empty arrays of an unknown type",
    "duplicate": "none",
    "utf8": "none",
}


def seed_files(folder):
    rng = np.random.default_rng(7)
    for i, alignment in enumerate([32, 64, None]):
        w = gguf.GGUFWriter(folder / f"seed{i}.gguf", "llama")
        if alignment:
            w.add_custom_alignment(alignment)
        w.add_block_count(2)
        w.add_float32("a.float", 0.5)
        w.add_bool("a.bool", True)
        w.add_uint64("a.u64", 1 << 40)
        w.add_array("a.ints", [1, 2, 3])
        w.add_token_list(["<s>", "hello", "\u20ac"])
        w.add_token_scores([0.0, -1.0, -2.0])
        w.add_tensor("token_embd.weight", rng.normal(size=(3, 32)).astype(np.float32))
        w.add_tensor("blk.0.attn_norm.weight", rng.normal(size=(5,)).astype(np.float32))
        w.add_tensor("h", rng.normal(size=(2, 3)).astype(np.float16))
        q = gguf.quantize(rng.normal(size=(2, 64)).astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
        w.add_tensor("q", q, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
    return [(folder / f"seed{i}.gguf").read_bytes() for i in range(3)]


NUMBERS = [0, 1, 2, 3, 4, 5, 8, 13, 30, 31, 32, 63, 64, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 61,
           (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def mutate(data, rng):
    data = bytearray(data)
    head = min(len(data), 900)  # header, fields and infos: where the rules are
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(min(head, len(data)) or 1)
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF)
        elif kind == 3:
            data[at : at + 8] = struct.pack("<Q", rng.choice(NUMBERS))
        elif kind == 4:
            data = data[: rng.randrange(len(data) + 1)]
        elif kind == 5:
            n = rng.choice([1, 4, 8, 24, 40])
            data[at:at] = data[at : at + n]
        else:
            del data[at : at + rng.choice([1, 4, 8, 24])]
        if not data:
            break
    return bytes(data)


def out_of_time(*_):
    raise TimeoutError("no end in sight")  # an array length that the file cannot hold: the package walks on behind the end


def reference(path):
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with np.errstate(all="ignore"):
            reader = gguf.GGUFReader(path)
    except Exception as error:  # the package has no error type of its own
        return None, f"{type(error).__name__}: {str(error)[:60]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    rows = []
    for t in reader.tensors:
        shape = ",".join(str(int(d)) for d in reversed(t.shape))
        rows.append(f"{t.name}|{int(t.tensor_type)}|{shape}|{int(t.data_offset) if t.n_bytes else 0}|{int(t.n_bytes)}")
    return rows, ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    signal.signal(signal.SIGALRM, out_of_time)
    counts, wrong = collections.Counter(), []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        seeds = seed_files(folder)
        for i in range(args.files):
            (folder / f"m{i:06}.gguf").write_bytes(mutate(rng.choice(seeds), rng))
        subprocess.run([args.binary, "gguf", name], check=True)
        for line in (folder / "verdicts.txt").read_bytes().decode("utf-8", "replace").split("\n")[:-1]:
            file, verdict, *tensors = line.split("\t")
            rows, problem = reference(folder / file)
            ours = verdict.startswith("ok")
            if ours and rows is None:
                wrong.append(f"{file}: only Caravan accepts it; the package: {problem}")
            elif ours and rows != tensors:
                wrong.append(f"{file}: tensors differ: {tensors} {rows}")
            elif not ours and rows is not None and not STRICTER.get(verdict, "none") != "none":
                wrong.append(f"{file}: only Caravan refuses it, and {verdict} is no stricter rule")
            else:
                counts["both accept" if ours else "both refuse" if rows is None else f"stricter: {verdict}"] += 1
        for text in wrong[:20]:
            print(text)
    for key, count in sorted(counts.items()):
        print(f"{count:6} {key}")
    print(f"{len(wrong):6} unexplained")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
