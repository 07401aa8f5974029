#!/usr/bin/env python3
"""Writes tests/golden/gguf/quantize.bin: rows of floats and the blocks that the `gguf` Python package makes of them, for
the types that it can write. Ran with gguf 0.19.0, numpy 2.4.6.

A record: 16 bytes name (NUL-padded), u32 elements, u32 bytes, the floats, the blocks; records follow one another.
The rows: normal and heavy-tailed numbers of several sizes, zeros, equal numbers, ties of magnitude, numbers so small that
the scale underflows to zero as a half.
Usage: quantize.py OUTPUT
"""
import struct
import sys

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Type

NAMES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def rows():
    rng = np.random.default_rng(5)
    blocks = [rng.normal(size=32) * size for size in (1e-12, 1e-6, 1e-3, 0.02, 0.02, 1, 30, 1000)]
    blocks += [rng.standard_t(2, 32) * size for size in (1e-3, 0.05, 0.05, 2)]
    blocks += [np.zeros(32), np.full(32, 0.25), np.full(32, -3.0), np.where(np.arange(32) % 2, 0.5, -0.5)]
    blocks += [np.arange(32) - 16.0, (np.arange(32) - 15.5) / 8, np.r_[np.zeros(31), -1e-3], np.abs(rng.normal(size=32))]
    return np.stack(blocks).astype(np.float32)


def main(path):
    values = rows()
    with open(path, "wb") as out:
        for name in NAMES:
            with np.errstate(all="ignore"):
                blocks = gguf.quantize(values, Type[name])
            out.write(struct.pack("<16sII", name.lower().encode(), values.size, blocks.nbytes))
            out.write(values.tobytes() + blocks.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
