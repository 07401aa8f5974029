#!/usr/bin/env python3
"""Writes tests/golden/gguf/dequantize.bin: random blocks of every GGUF storage type and the floats that the `gguf`
Python package makes of them. Ran with gguf 0.19.0, numpy 2.4.6.

A record: 16 bytes name (NUL-padded), u32 elements, u32 bytes, the blocks, the floats; records follow one another.
Scales are random halves; some blocks get zero, subnormal, largest, infinite and NaN scales.
Usage: dequantize.py OUTPUT
"""
import struct
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type

# Byte offsets of the halves inside a block.
HALVES = {"F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0]}
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]


def blocks_of(name, rng):
    elements, size = GGML_QUANT_SIZES[Type[name]]
    count = 3072 // 4 // elements if elements < 256 else 5
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name in ("F16", "BF16"):
        blocks[: len(SPECIAL)] = np.array(SPECIAL, np.uint16).view(np.uint8).reshape(-1, 2)
        return blocks
    specials = rng.permutation(SPECIAL)
    for i, block in enumerate(blocks):
        for k, at in enumerate(HALVES[name]):
            half = np.float16(rng.normal() * 0.1).view(np.uint16)
            if elements < 256 and i >= count - len(SPECIAL) and (i + k) % 2 == 0 or i == count - 1:
                half = specials[(i + 3 * k) % len(SPECIAL)]
            block[at : at + 2] = np.array([half], np.uint16).view(np.uint8)
    return blocks


def main(path):
    rng = np.random.default_rng(20)
    with open(path, "wb") as out:
        for name in HALVES:
            blocks = blocks_of(name, rng)
            with np.errstate(all="ignore"):
                floats = gguf.dequantize(blocks.reshape(1, -1), Type[name]).astype(np.float32).ravel()
            out.write(struct.pack("<16sII", name.lower().encode(), floats.size, blocks.size))
            out.write(blocks.tobytes() + floats.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
