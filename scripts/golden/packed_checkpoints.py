#!/usr/bin/env python3
"""Writes tests/golden/formats/packed.safetensors: matrices packed as GPTQ, AWQ and compressed-tensors checkpoints have
them, with the weights that they stand for (CASE.expected). Packed with numpy from the published layouts: AutoGPTQ's
QuantLinear.pack (AutoRound's qlinear_torch stores zeros as they are), AutoAWQ's WQLinear_GEMM.from_linear,
compressed-tensors' pack_to_int32. Ran with numpy 2.4.6, safetensors 0.8.0.
Usage: packed_checkpoints.py OUTPUT
"""
import sys

import numpy as np
from safetensors.numpy import save_file

OUT, IN, GROUP = 16, 64, 32


def levels(rng, bits, out=OUT):
    return rng.integers(0, 2**bits, (out, IN))


def words(values, bits, axis):
    """Little end first: value i goes to bits [b * i, b * (i + 1)) of the run of words, across words where b is 3."""
    values = np.ascontiguousarray(np.moveaxis(values.astype(np.uint8), axis, -1))
    stream = np.unpackbits(values[..., None], axis=-1, count=bits, bitorder="little").reshape(*values.shape[:-1], -1)
    packed = np.packbits(stream, axis=-1, bitorder="little").view("<u4")
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.int32)


def weights(q, zeros, scales, group):
    return (scales[:, group].astype(np.float32) * (q - zeros[:, group])).astype(np.float32)


def gptq(rng, bits, symmetric, act_order, out=OUT, shift=1):
    groups = IN // GROUP
    q, scales = levels(rng, bits, out), (rng.random((out, groups)) * 0.1 + 0.01).astype(np.float16)
    middle = 2 ** (bits - 1)
    zeros = np.full((out, groups), middle) if symmetric else rng.integers(0, 2**bits, (out, groups))
    group = np.arange(IN) // GROUP
    if act_order:
        group = rng.permutation(group)
    stored = (zeros - shift) % 2**bits
    return {"qweight": words(q.T, bits, 0), "qzeros": words(stored.T, bits, 1), "scales": np.ascontiguousarray(scales.T),
            "g_idx": group.astype(np.int32), "expected": weights(q, zeros, scales, group)}


def awq(rng):
    groups = IN // GROUP
    q, zeros = levels(rng, 4), rng.integers(0, 16, (OUT, groups))
    scales = (rng.random((OUT, groups)) * 0.1 + 0.01).astype(np.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(m):  # [rows, out] -> [rows, out / 8]
        return words(m.reshape(m.shape[0], -1, 8)[:, :, order].reshape(m.shape), 4, 1)

    return {"qweight": pack(q.T), "qzeros": pack(zeros.T), "scales": np.ascontiguousarray(scales.T),
            "expected": weights(q, zeros, scales, np.arange(IN) // GROUP)}


def compressed(rng, bits, packed, symmetric=True):
    groups = IN // GROUP if packed else 1
    q = levels(rng, bits)
    scales = (rng.random((OUT, groups)) * 0.1 + 0.01).astype(np.float16 if packed else np.float32)
    middle = 2 ** (bits - 1)
    zeros = np.full((OUT, groups), middle) if symmetric else rng.integers(0, 2**bits, (OUT, groups))
    case = {"weight_scale": scales, "expected": weights(q, zeros, scales, np.arange(IN) // (IN // groups))}
    if packed:
        case |= {"weight_packed": words(q, bits, 1), "weight_shape": np.array([OUT, IN])}
        if not symmetric:
            case["weight_zero_point"] = words(zeros, bits, 0)
    else:
        case["weight"] = (q - middle).astype(np.int8)
    return case


def one_scale(rng, bits, packed):
    """The strategy "tensor": a scale, and where packed a zero, of the whole matrix."""
    q, scale = levels(rng, bits), np.array([0.03], np.float16 if packed else np.float32)
    middle = 2 ** (bits - 1)
    zero = middle + 5 if packed else middle
    case = {"weight_scale": scale, "expected": (scale.astype(np.float32) * (q - zero)).astype(np.float32)}
    if not packed:
        return case | {"weight": (q - middle).astype(np.int8)}
    return case | {"weight_packed": words(q, bits, 1), "weight_shape": np.array([OUT, IN]),
                   "weight_zero_point": np.array([zero - middle], np.int8)}


def main(path):
    rng = np.random.default_rng(9)
    cases = {"gptq4": gptq(rng, 4, True, False), "gptq4_zeros": gptq(rng, 4, False, False),
             "gptq4_act": gptq(rng, 4, False, True), "gptq8": gptq(rng, 8, True, False), "awq": awq(rng),
             "packed4": compressed(rng, 4, True), "packed4_zeros": compressed(rng, 4, True, False),
             "int8": compressed(rng, 8, False), "int8_tensor": one_scale(rng, 8, False),
             "packed8_tensor": one_scale(rng, 8, True), "gptq2": gptq(rng, 2, False, False),
             "gptq3": gptq(rng, 3, False, False, out=32), "round": gptq(rng, 4, False, False, shift=0)}
    save_file({f"{case}.{name}": t for case, tensors in cases.items() for name, t in tensors.items()}, path)


if __name__ == "__main__":
    main(sys.argv[1])
