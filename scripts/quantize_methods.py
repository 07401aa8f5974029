#!/usr/bin/env python3
"""What `caravan quantize --method` and `--calibration` gain on texts that the calibration did not see.

usage: quantize_methods.py CARAVAN MODEL_FOLDER CALIBRATION_TEXT HELD_OUT_TEXT... [--types int4,q4_0,q4_k_m] [--windows 16]
                           [--calibration-windows 64] [--variants rtn,rtn+text,gptq,awq] [--threads 2]
For every type and variant: perplexity and mean KL divergence from the source on each held-out text (windows of 512, the second
half scored). `rtn` sees no text, `rtn+text` weighs errors by what flows into each column. Prints a Markdown table.
"""
import argparse
import json
import os
import subprocess
import tempfile

VARIANTS = {"rtn": ("rtn", False), "rtn+text": ("rtn", True), "gptq": ("gptq", True), "awq": ("awq", True)}


def measure(args, model, text):
    out = subprocess.run([args.caravan, "eval", "perplexity", "-q", "-m", model, "-f", text, "--max-windows", str(args.windows),
                          "--json", "--against", args.model, "-t", args.threads], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def row(first, cells):
    print("| " + " | ".join([first, *cells]) + " |", flush=True)


def main(args):
    row("type, method", [os.path.basename(text) for text in args.held_out])
    print("|---" * (1 + len(args.held_out)) + "|")
    row("source", [f"{measure(args, args.model, text)['perplexity']:.3f}" for text in args.held_out])
    for kind in args.types.split(","):
        for name in args.variants.split(","):
            method, calibrated = VARIANTS[name]
            with tempfile.TemporaryDirectory() as folder:
                out = os.path.join(folder, "out" if kind in ("int4", "int8") else "out.gguf")
                command = [args.caravan, "quantize", "-q", args.model, out, "--type", kind, "--method", method, "--no-report",
                           "-t", args.threads]
                if calibrated:
                    command += ["--calibration", args.calibration, "--calibration-windows", str(args.calibration_windows)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                results = [measure(args, out, text) for text in args.held_out]
            row(f"{kind} {name}", [f"{r['perplexity']:.3f} ({r['against']['kl_mean']:.4f})" for r in results])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for positional in ("caravan", "model", "calibration"):
        parser.add_argument(positional)
    parser.add_argument("held_out", nargs="+")
    parser.add_argument("--types", default="int4,q4_0,q4_k_m")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--calibration-windows", type=int, default=64)
    main(parser.parse_args())
