#!/usr/bin/env python3
"""Quantizing beside llama.cpp: perplexities and divergences of whole files, and blocks of the same tensors.

usage: differential_quantize.py CARAVAN LLAMA_BIN MODEL_FOLDER TEXT [--types q4_0,q4_k_m] [--windows 8]
                                [--imatrix FILE] [--transformers] [--threads 2] [--tensors]
LLAMA_BIN holds llama-perplexity, llama-quantize and libggml-base.so; MODEL_FOLDER is a Hugging Face folder. TEXT should have
no digits where the two programs' tokenizers split them differently.

For every type `caravan quantize` and llama-quantize each write a file, and each program reads both on the same windows of 512
tokens: perplexity, and KL divergence from the model in f32. The programs' perplexities of one file must agree within 0.5%; with
--transformers, where they do not, Caravan's must be within 0.1% of what transformers computes in fp32 on the weights that it
dequantizes itself (llama.cpp rounds inputs to 8 bits).
--imatrix: a file of llama-imatrix that both programs quantize with.
--tensors: relative squared errors of single matrices beside ggml's own quantizers instead (5 of the model's down_proj; columns
that are multiples of the block). Needs numpy, gguf, torch, safetensors; --transformers also transformers.
"""
import argparse
import ctypes
import json
import math
import os
import re
import subprocess
import tempfile

TYPES = "q8_0,q4_0,q4_1,q5_0,q5_1,q2_k,q3_k_s,q3_k_m,q3_k_l,q4_k_s,q4_k_m,q5_k_s,q5_k_m,q6_k,iq4_nl,iq4_xs"
CONTEXT = 512
LIMIT = 0.005
EXACT_LIMIT = 0.001


def output_of(command):
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if run.returncode:
        raise RuntimeError(f"{command}: {run.stderr[-2000:]}")
    return run.stdout + run.stderr


class Llama:
    """llama-perplexity's numbers; the logits of the f32 model, which divergences start from, are kept in a file."""

    def __init__(self, args, source, folder):
        self.args, self.base = args, os.path.join(folder, "base.kld")
        self.run("-m", source, "-f", args.text, "--kl-divergence-base", self.base)

    def run(self, *more):
        return output_of([f"{self.args.llama}/llama-perplexity", "-c", str(CONTEXT), "--chunks", str(self.args.windows),
                          "-t", self.args.threads, *more])

    def measure(self, model):
        out = self.run("-m", model, "--kl-divergence-base", self.base, "--kl-divergence")
        number = r"\s*:\s*([-\d.]+)"
        return float(re.search(r"Mean PPL\(Q\)" + number, out).group(1)), float(re.search(r"Mean +KLD" + number, out).group(1))


def caravan_measure(args, model, source):
    out = subprocess.run([args.caravan, "eval", "perplexity", "-q", "-m", model, "-f", args.text, "-c", str(CONTEXT),
                          "--max-windows", str(args.windows), "--json", "--against", source, "-t", args.threads],
                         capture_output=True, text=True, check=True)
    result = json.loads(out.stdout)
    return result["perplexity"], result["against"]["kl_mean"]


def transformers_perplexity(args, gguf_file):
    """The second half of each window but its first token, as both programs score it."""
    import tokenizers
    import torch
    from transformers import AutoModelForCausalLM

    folder, name = os.path.split(gguf_file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    with open(args.text, encoding="utf-8") as text:
        ids = tokenizers.Tokenizer.from_file(os.path.join(args.model, "tokenizer.json")).encode(text.read()).ids
    windows = torch.tensor([ids[i:i + CONTEXT] for i in range(0, len(ids) - CONTEXT + 1, CONTEXT)][:args.windows])
    losses, first = [], CONTEXT // 2
    torch.set_num_threads(int(args.threads))
    with torch.no_grad():
        for window in windows:
            logits = model(window[None]).logits[0, first:-1].double()
            losses.append(torch.nn.functional.cross_entropy(logits, window[first + 1:], reduction="none"))
    return math.exp(torch.cat(losses).mean().item())


def compare_files(args):
    bad = 0
    importance = ["--imatrix", args.imatrix] if args.imatrix else []
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "source.gguf")
        output_of([args.caravan, "convert", "-q", args.model, source, "--dtype", "f32"])
        llama = Llama(args, source, folder)
        print("perplexity (KL divergence from f32): each file read by Caravan; by llama.cpp", flush=True)
        for name in args.types.split(","):
            files = {"caravan": os.path.join(folder, "mine.gguf"), "llama.cpp": os.path.join(folder, "theirs.gguf")}
            output_of([args.caravan, "quantize", "-q", args.model, files["caravan"], "--type", name, "--no-report",
                       "--overwrite", *importance])
            output_of([f"{args.llama}/llama-quantize", *importance, source, files["llama.cpp"], name.upper(), args.threads])
            for maker, file in files.items():
                (mine, my_kl), (theirs, their_kl) = caravan_measure(args, file, source), llama.measure(file)
                difference, exact = mine / theirs - 1, ""
                outside = abs(difference) > LIMIT
                if outside and args.transformers:
                    reference = transformers_perplexity(args, file)
                    outside = abs(mine / reference - 1) > EXACT_LIMIT
                    exact = (f"; transformers {reference:.4f} (Caravan {mine / reference - 1:+.3%}, llama.cpp "
                             f"{theirs / reference - 1:+.3%})")
                bad += outside
                print(f"{name:7} of {maker:9} {os.path.getsize(file) / 1e6:6.1f} MB: {mine:.4f} ({my_kl:.5f}); {theirs:.4f} "
                      f"({their_kl:.5f}), {difference:+.2%}{exact}{' OUTSIDE' if outside else ''}", flush=True)
    print(f"{bad} outside the limit")
    return bad


def kinds_of(types):
    """Block types that the mixtures are named after: q4_k for q4_k_m."""
    return list(dict.fromkeys(re.sub(r"_[sml]$", "", name) for name in types.split(",")))


def compare_tensors(args):  # a mixture's name without its size (q4_k) is a type, too
    import gguf
    import numpy as np
    from safetensors import safe_open

    lib = ctypes.CDLL(os.path.join(args.llama, "libggml-base.so"))
    lib.ggml_quantize_chunk.argtypes = ([ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3
                                        + [ctypes.c_void_p])
    worst = 0
    with tempfile.TemporaryDirectory() as folder, safe_open(os.path.join(args.model, "model.safetensors"), "pt") as tensors:
        names = sorted((n for n in tensors.keys() if n.endswith("down_proj.weight")), key=lambda n: int(n.split(".")[2]))
        for name in kinds_of(args.types):
            kind, out = gguf.GGMLQuantizationType[name.upper()], os.path.join(folder, "out.gguf")
            output_of([args.caravan, "quantize", "-q", args.model, out, "--type", name, "--no-report", "--overwrite",
                       "--tensor-type", f"down_proj={name}"])
            written = {t.name: t for t in gguf.GGUFReader(out).tensors}
            for n in names[:: max(1, len(names) // 5)]:
                x = np.ascontiguousarray(tensors.get_tensor(n).float().numpy())
                block, size = gguf.GGML_QUANT_SIZES[kind]
                theirs = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
                lib.ggml_quantize_chunk(int(kind), x.ctypes.data, theirs.ctypes.data, 0, *x.shape, None)
                mine = np.array(written[f"blk.{n.split('.')[2]}.ffn_down.weight"].data).reshape(theirs.shape)
                errors = [((gguf.dequantize(b, kind) - x).astype(np.float64) ** 2).sum() / (x.astype(np.float64) ** 2).sum()
                          for b in (mine, theirs)]
                ratio = errors[0] / errors[1] if errors[1] else float(errors[0] > 0)
                worst = max(worst, ratio)
                equal = ", bytes equal" if np.array_equal(mine, theirs) else ""
                print(f"{name:7} {n}: {errors[0]:.4e} against {errors[1]:.4e} ({ratio:.3f}){equal}", flush=True)
    print(f"largest ratio {worst:.4f}")
    return worst > 1.0001


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("caravan", "llama", "model", "text"):
        parser.add_argument(name)
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--imatrix")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--tensors", action="store_true")
    arguments = parser.parse_args()
    raise SystemExit(bool((compare_tensors if arguments.tensors else compare_files)(arguments)))
