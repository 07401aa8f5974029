"""Makes tests/golden/formats/flax_model.msgpack with flax itself: every dtype, scalars, a train state's extras, a chunked
array, a convolution. Values count upwards, so that the test can tell every layout.

Ran with flax 0.12.8, jax 0.10.2, msgpack 1.2.4, numpy 2 on Python 3.11:  python scripts/golden/flax_checkpoint.py
"""
import pathlib

import flax.serialization
import jax.numpy as jnp
import numpy as np

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/formats/flax_model.msgpack"


def counting(*shape, dtype="float32", start=0):
    return np.arange(start, start + int(np.prod(shape))).reshape(shape).astype(dtype)


state = {
    "step": 7,
    "name": "golden",
    "opt_state": {"mu": {"kernel": counting(2, 2)}},
    "params": {
        "model": {
            "embed_tokens": {"embedding": counting(5, 3)},
            "layers": {
                "0": {
                    "self_attn": {"q_proj": {"kernel": jnp.asarray(counting(3, 4), dtype=jnp.bfloat16)}},
                    "input_layernorm": {"weight": counting(3, dtype="float16")},
                    "ln": {"scale": counting(3, start=1), "bias": counting(3, start=4)},
                    "big": {"kernel": counting(70, 41)},  # chunked below
                }
            },
        },
        "conv": {"kernel": counting(2, 3, 4, 5)},  # [h, w, in, out]
        "ids": counting(4, dtype="int64", start=-2),
        "mask": np.array([True, False]),
        "scalar": np.float32(2.5),
        "nothing": counting(0, 3),
    },
    "batch_stats": {"norm": {"mean": counting(2), "var": counting(2, start=2)}},
}
flax.serialization.MAX_CHUNK_SIZE = 4096
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_bytes(flax.serialization.to_bytes(state))
print(OUT, OUT.stat().st_size, "bytes")
