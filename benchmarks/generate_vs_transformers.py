#!/usr/bin/env python3
"""Generation speed beside Hugging Face transformers: prompt of 512 tokens, 128 new ones, greedy and beams of 4 and 5.

  generate_vs_transformers.py MODEL_FOLDER build/release/bin/generate_speed [--dtype f32] [--threads 2]

Both use the same weights, dtype and number of threads; the best of three runs counts. Prints seconds and the ratio
(above 1: Caravan is faster).
"""
import argparse
import json
import os
import subprocess
import time

import torch
import transformers


def transformers_seconds(folder, dtype, beams):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    ids = torch.tensor([[1000 + i * 37 % 20000 for i in range(512)]])
    def run(new):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beams,
                           max_new_tokens=new, min_new_tokens=new, pad_token_id=0, length_penalty=1.0)
            times.append(time.perf_counter() - start)
        return min(times)
    prefill = run(1)
    return prefill, run(128) - prefill


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("program")
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = subprocess.run([args.program, args.model, "--dtype", args.dtype, "--threads", str(args.threads)], check=True,
                         capture_output=True, text=True).stdout
    ours = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    for beams in (1, 4, 5):
        best = {k: min(r[k] for r in ours if r["beams"] == beams) for k in ("prefill", "decode")}
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
        prefill, decode = transformers_seconds(args.model, dtype, beams)
        print(f"beams {beams}: prefill {best['prefill']:.3f} s against {prefill:.3f} s (x{prefill / best['prefill']:.2f}),"
              f" 128 tokens {best['decode']:.3f} s against {decode:.3f} s (x{decode / best['decode']:.2f})")


main()
