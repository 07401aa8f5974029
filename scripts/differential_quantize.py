#!/usr/bin/env python3
"""Quantizing beside llama.cpp: blocks of the same tensors, and perplexities of the same files.

usage: differential_quantize.py CARAVAN LLAMA_BIN MODEL_FOLDER TEXT [--types q4_0,q4_k_m] [--windows 8] [--tensors]
LLAMA_BIN holds llama-perplexity, llama-quantize and libggml-base.so; MODEL_FOLDER is a Hugging Face folder.
For every type: `caravan quantize`, llama.cpp's perplexity of that file and Caravan's on the same windows, which must agree
within 0.5%; llama-quantize's file of the same type beside it. --tensors: relative squared errors of single matrices against
ggml's own quantizers instead (columns that are multiples of 256). Needs numpy, gguf, safetensors (with torch).
"""
import argparse
import ctypes
import json
import os
import re
import subprocess
import tempfile

TYPES = "q8_0,q4_0,q4_1,q5_0,q5_1,q2_k,q3_k_s,q3_k_m,q3_k_l,q4_k_s,q4_k_m,q5_k_s,q5_k_m,q6_k,iq4_nl,iq4_xs"


def output_of(command):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{command}: {run.stderr[-2000:]}")
    return run.stdout + run.stderr


def llama_perplexity(bin_folder, model, text, windows):
    out = output_of([f"{bin_folder}/llama-perplexity", "-m", model, "-f", text, "-c", "512", "--chunks", str(windows), "-t", "2"])
    return float(re.search(r"Final estimate: PPL = ([\d.]+)", out).group(1))


def caravan_perplexity(caravan, model, text, windows, *more):
    out = subprocess.run([caravan, "eval", "perplexity", "-q", "-m", model, "-f", text, "--max-windows", str(windows), "--json", *more],
                         capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def compare_files(args):
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "source.gguf")
        output_of([args.caravan, "convert", "-q", args.model, source])
        for name in args.types.split(","):
            mine, theirs = os.path.join(folder, "mine.gguf"), os.path.join(folder, "theirs.gguf")
            output_of([args.caravan, "quantize", "-q", args.model, mine, "--type", name, "--no-report", "--overwrite"])
            output_of([f"{args.llama}/llama-quantize", source, theirs, name.upper(), "2"])
            ours = caravan_perplexity(args.caravan, mine, args.text, args.windows, "--against", args.model)
            other = caravan_perplexity(args.caravan, theirs, args.text, args.windows, "--against", args.model)
            ppl = llama_perplexity(args.llama, mine, args.text, args.windows)
            difference = ours["perplexity"] / ppl - 1
            bad += abs(difference) > 0.005
            print(f"{name:8} {os.path.getsize(mine) / 1e6:6.1f} MB (llama-quantize {os.path.getsize(theirs) / 1e6:6.1f}): perplexity {ours['perplexity']:.4f}, llama.cpp {ppl:.4f} ({difference:+.2%}); "
                  f"KL {ours['against']['kl_mean']:.5f}, of llama-quantize's file {other['against']['kl_mean']:.5f} (perplexity {other['perplexity']:.4f})", flush=True)
    return bad


def compare_tensors(args):
    import gguf
    import numpy as np
    from safetensors import safe_open

    lib = ctypes.CDLL(os.path.join(args.llama, "libggml-base.so"))
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    worst = 0
    with tempfile.TemporaryDirectory() as folder, safe_open(os.path.join(args.model, "model.safetensors"), "pt") as tensors:
        names = [n for n in tensors.keys() if n.endswith("down_proj.weight")]
        for name in args.types.split(","):
            if name.endswith(("_s", "_m", "_l")) and name != "q3_k_s":
                continue
            kind = gguf.GGMLQuantizationType["Q3_K" if name == "q3_k_s" else name.upper()]
            out = os.path.join(folder, "out.gguf")
            output_of([args.caravan, "quantize", "-q", args.model, out, "--type", name, "--no-report", "--overwrite",
                       "--tensor-type", f"down_proj={kind.name.lower()}"])
            written = {t.name: t for t in gguf.GGUFReader(out).tensors}
            for n in names[:: max(1, len(names) // 5)]:
                x = np.ascontiguousarray(tensors.get_tensor(n).float().numpy())
                block, size = gguf.GGML_QUANT_SIZES[kind]
                theirs = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
                lib.ggml_quantize_chunk(int(kind), x.ctypes.data, theirs.ctypes.data, 0, *x.shape, None)
                mine = np.array(written[f"blk.{n.split('.')[2]}.ffn_down.weight"].data).reshape(theirs.shape)
                errors = [((gguf.dequantize(b, kind) - x).astype(np.float64) ** 2).sum() / (x.astype(np.float64) ** 2).sum() for b in (mine, theirs)]
                equal = np.array_equal(mine, theirs)
                worst = max(worst, errors[0] / errors[1])
                print(f"{kind.name:7} {n}: {errors[0]:.4e} against {errors[1]:.4e} ({errors[0] / errors[1]:.3f}){', bytes equal' if equal else ''}", flush=True)
    print(f"largest ratio {worst:.4f}")
    return worst > 1.0001


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("caravan", "llama", "model", "text"):
        parser.add_argument(name)
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--tensors", action="store_true")
    arguments = parser.parse_args()
    raise SystemExit(bool((compare_tensors if arguments.tensors else compare_files)(arguments)))
