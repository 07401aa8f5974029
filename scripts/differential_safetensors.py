"""Mutated safetensors files, judged by the reference implementation and by Caravan: both must accept or refuse alike.

    python scripts/differential_safetensors.py build/release/bin/caravan_differential [--count 20000] [--seed 1]

Needs the safetensors package (ran with 0.8.0). Where Caravan is stricter by design (duplicate keys, limits, types that it
does not support) the difference is counted apart; any other difference fails.
"""
import argparse
import copy
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from safetensors import deserialize

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "U16": 2, "U32": 4,
         "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}
ODD_VALUES = [0, -1, 1, 2, 7, 8, 2**31, 2**32, 2**53, 2**61, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.0, 1e3, 1.5, "1", None, True, [], {},
              [1], "F32", "F4", "F6_E2M3", "F8_E8M0", "C64", "f32", ""]


def odd_value(rng):
    return copy.deepcopy(rng.choice(ODD_VALUES))


def base(rng):
    header, data, at = {}, b"", 0
    if rng.random() < 0.5:
        header["__metadata__"] = {"format": "pt", "k": "ü\n"}
    for i in range(rng.randint(0, 5)):
        dtype = rng.choice(list(SIZES))
        shape = [rng.choice([0, 1, 1, 2, 3, 5]) for _ in range(rng.randint(0, 4))]
        size = SIZES[dtype]
        for d in shape:
            size *= d
        header[rng.choice(["a", "model.weight", "\u00e9", 'q"', ""]) + str(i)] = {
            "dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        data += bytes(rng.randrange(256) for _ in range(size))
        at += size
    return header, data


def change_value(rng, header):
    """Replaces, adds or removes something somewhere in the JSON tree."""
    nodes = [header]
    for value in header.values():
        nodes.append(value)
        nodes += [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    node = rng.choice(nodes)
    if isinstance(node, dict):
        key = rng.choice(list(node) + ["dtype", "shape", "data_offsets", "__metadata__", "extra"])
        if rng.random() < 0.2 and key in node:
            del node[key]
        else:
            node[key] = odd_value(rng)
    elif isinstance(node, list):
        i = rng.randint(0, len(node))
        if i < len(node) and rng.random() < 0.6:
            node[i] = node[i] + rng.choice([-1, 1, 4, 8]) if isinstance(node[i], int) and rng.random() < 0.6 else odd_value(rng)
        elif rng.random() < 0.5:
            node.insert(i, odd_value(rng))
        elif node:
            node.pop()


def shuffle_or_swap(rng, header):
    items = list(header.items())
    rng.shuffle(items)
    header.clear()
    header.update(items)
    names = [n for n in header if isinstance(header[n], dict) and "data_offsets" in header[n]]
    if len(names) > 1 and rng.random() < 0.5:
        a, b = rng.sample(names, 2)
        header[a]["data_offsets"], header[b]["data_offsets"] = header[b]["data_offsets"], header[a]["data_offsets"]


def change_text(rng, text):
    kind = rng.randrange(8)
    at = rng.randint(0, len(text))
    if kind == 0:
        return text[:at] + rng.choice([" ", "\t", "\n", "\r", "\0", "\x0b", "\u00a0", ",", "}", "{", '"', "\\", "1", "-"]) + text[at:]
    if kind == 1:
        return text[:at] + text[at + rng.randint(1, 4):]
    if kind == 2:
        return " \n\t"[rng.randrange(3)] * rng.randint(1, 9) + text + " " * rng.randint(0, 9)
    if kind == 3:
        return text + rng.choice(["x", "{}", "\0", ",", "]", "\ufeff"])
    if kind == 4:
        return rng.choice(["\ufeff", "[", "//", "null", ""]) + text
    if kind == 5 and len(text) > 2:  # the same key again
        cut = text[1:-1]
        return "{" + cut + ("," if cut else "") + (cut or '"__metadata__":{},"__metadata__":{}') + "}"
    if kind == 6:
        return text.replace(":", " : ").replace("F", "\\u0046", 1)
    return text.replace("1", rng.choice(["01", "1.0", "1e0", "-0", "+1", "0x1", "1_0"]), 1)


def mutate(rng):
    header, data = base(rng)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        rng.choice([change_value, shuffle_or_swap])(rng, header)
    text = json.dumps(header, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        text = change_text(rng, text)
    raw = text.encode("utf-8", "surrogatepass")
    length = len(raw)
    if rng.random() < 0.05:
        length = rng.choice([0, 1, length - 1, length + 1, 100_000_000, 100_000_001, 2**63, 2**64 - 1]) % 2**64
    blob = bytearray(struct.pack("<Q", length) + raw + data)
    if rng.random() < 0.1:
        blob += bytes(rng.randint(1, 9))
    if rng.random() < 0.1:
        del blob[rng.randint(0, len(blob)):]
    for _ in range(rng.choice([0] * 6 + [1, 2, 3])):
        if blob:
            blob[rng.randrange(len(blob))] = rng.choice([rng.randrange(256), 0, 0xFF, 0x22, 0x2C])
    return bytes(blob)


def judge(blob):
    try:
        tensors = deserialize(blob)
    except Exception:
        return 0, b""
    lines = sorted((name.encode(), t) for name, t in tensors)
    text = b"".join(b"%s|%s|%s|%d\n" % (name, t["dtype"].lower().encode(), ",".join(map(str, t["shape"])).encode(), sum(t["data"]))
                    for name, t in lines)
    return 1, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.NamedTemporaryFile(suffix=".records") as out:
        for _ in range(args.count):
            blob = mutate(rng)
            accepted, text = judge(blob)
            out.write(struct.pack("<I", len(blob)) + blob + bytes([accepted]) + struct.pack("<I", len(text)) + text)
        out.flush()
        return subprocess.call([args.program, "safetensors", out.name])


sys.exit(main())
