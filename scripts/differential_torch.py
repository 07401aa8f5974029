"""Mutated files of torch.save, read by torch.load(weights_only=True) and by Caravan: what both read must be equal.

    python scripts/differential_torch.py build/release/bin/caravan_differential [--count 2000] [--seed 1]

Ran with torch 2.13.0. Who accepts what may differ by design (torch refuses foreign globals, Caravan keeps them as inert
records; Caravan checks checksums, sizes and names that torch does not) and is only counted. Each file is loaded in a child
process: a crash of the reference is counted, too.
"""
import argparse
import io
import os
import random
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib

import torch

NAMES = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64",
         torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "bool",
         torch.uint16: "u16", torch.uint32: "u32", torch.uint64: "u64", torch.float8_e4m3fn: "f8_e4m3",
         torch.float8_e5m2: "f8_e5m2"}


def state_dict(rng):
    base = torch.arange(24.0).view(4, 6)
    pool = [base, base.t(), base[1:3, ::2], base.bfloat16(), base.half(), torch.arange(5), torch.tensor([True, False]),
            torch.tensor(1.5), torch.empty(0, 2), torch.nn.Parameter(base.clone()), base.to(torch.float8_e4m3fn),
            torch.ones(1).expand(3), torch.arange(3).to(torch.uint16)]
    return {f"layer.{i}": rng.choice(pool) for i in range(rng.randint(1, 5))}


def mutate_bytes(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice(b"\x00\x01\x02\x7f\x80\xff.(tRQqhsu0N")
        elif kind == 2:
            del data[at:at + rng.randint(1, 6)]
        elif kind == 3:
            data[at:at] = bytes(rng.choice(b"\x00\x01\x80\xff.(tRQqh0N") for _ in range(rng.randint(1, 4)))
        elif kind == 4:
            start = rng.randrange(len(data))
            data[at:at] = data[start:start + rng.randint(1, 40)]
        elif rng.random() < 0.3:
            del data[at:]
        else:
            data[at] = (data[at] + rng.choice([1, -1])) % 256
    return bytes(data)


def make(rng):
    buffer, stream = io.BytesIO(), rng.random() < 0.3
    torch.save(state_dict(rng), buffer, _use_new_zipfile_serialization=not stream)
    data = buffer.getvalue()
    if rng.random() < 0.05:
        return data
    if stream or rng.random() < 0.2:
        return mutate_bytes(rng, data)
    out = io.BytesIO()  # behind valid checksums: one record is mutated, then the archive is made again
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        victim = rng.choice([i.filename for i in old.infolist() if i.filename.endswith("data.pkl") or rng.random() < 0.1])
        for info in old.infolist():
            record = old.read(info)
            new.writestr(info.filename, mutate_bytes(rng, record) if info.filename == victim else record)
    return out.getvalue()


def listing(path):
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    lines = []
    for name, tensor in loaded.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor):
            raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            lines.append(f"{name}|{NAMES[tensor.dtype]}|{','.join(map(str, tensor.shape))}|{zlib.crc32(raw)}\n")
    return "".join(sorted(lines))


def judge(folder, begin, count):
    """Writes I.txt for every file that torch reads; returns the first file that was not judged (torch crashed on it)."""
    child = os.fork()
    if child == 0:
        for i in range(begin, count):
            with open(f"{folder}/at", "w") as f:
                f.write(str(i))
            try:
                text = listing(f"{folder}/{i}.bin")
            except Exception:
                continue
            with open(f"{folder}/{i}.txt", "w", encoding="utf-8", errors="surrogatepass") as f:
                f.write(text)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return count if status == 0 else int(open(f"{folder}/at").read()) + 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(args.count):
            with open(f"{folder}/{i}.bin", "wb") as f:
                f.write(make(rng))
        begin, crashes = 0, -1
        while begin < args.count:
            begin, crashes = judge(folder, begin, args.count), crashes + 1
        print(f"{crashes} files on which torch.load crashed")
        return subprocess.call([args.program, "torch", folder])


sys.exit(main())
