#!/usr/bin/env python3
"""Generation speed beside Hugging Face transformers: prompt of 512 tokens, 128 new ones, greedy and beams of 4 and 5.

  generate_vs_transformers.py MODEL_FOLDER build/release/bin/generate_speed [--dtype f32] [--threads 2] [--prompt 512]
                              [--new 128] [--runs 3] [--beams 1,4,5]

Both use the same weights, dtype and number of threads, one after the other for every width; the best of the runs counts.
Prints seconds and the ratio (above 1: Caravan is faster).
"""
import argparse
import json
import os
import subprocess
import time

import torch
import transformers

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def caravan_seconds(args, beams):
    command = [args.program, args.model, "--dtype", args.dtype, "--threads", args.threads, "--prompt", args.prompt,
               "--new", args.new, "--runs", args.runs, "--beams", beams]
    out = subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True).stdout
    runs = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return min(r["prefill"] for r in runs), min(r["decode"] for r in runs)


def transformers_seconds(model, args, beams):
    ids = torch.tensor([[1000 + i * 37 % 20000 for i in range(args.prompt)]])

    def run(new):
        times = []
        for _ in range(args.runs):
            start = time.perf_counter()
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beams,
                           max_new_tokens=new, min_new_tokens=new, pad_token_id=0, length_penalty=1.0)
            times.append(time.perf_counter() - start)
        return min(times)

    prefill = run(1)
    return prefill, run(args.new) - prefill


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("program")
    parser.add_argument("--dtype", default="f32", choices=sorted(DTYPES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=128, help="new tokens")
    parser.add_argument("--runs", type=int, default=3, help="the best of these counts")
    parser.add_argument("--beams", default="1,4,5", help="widths, separated by commas")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=DTYPES[args.dtype]).eval()
    for beams in map(int, args.beams.split(",")):
        (prefill, decode), (their_prefill, their_decode) = caravan_seconds(args, beams), transformers_seconds(model, args, beams)
        print(f"beams {beams}: prefill {prefill:.3f} s against {their_prefill:.3f} s (x{their_prefill / prefill:.2f}),"
              f" {args.new} tokens {decode:.3f} s against {their_decode:.3f} s (x{their_decode / decode:.2f})", flush=True)


main()
