#!/usr/bin/env python3
"""`caravan eval perplexity` beside transformers in fp32: windows that overlap, as transformers' documentation has them
("Perplexity of fixed-length models"), and llama-perplexity's windows. The reference is exact for both: the sum of -log softmax
over all scored tokens, by their number. (The documentation's own sum weighs later windows with one token less than they score.)

usage: differential_perplexity.py CARAVAN MODEL_FOLDER TEXT [--cases 40] [--seed 1] [--limit 1e-4]
Every case draws a piece of TEXT, a context, a stride or none, a number of windows or all, and whether the tokenizer puts a
token before the text (a copy of the folder's tokenizer.json gets such a rule). Counts of scored tokens must be equal and
perplexities agree within the relative limit. Caravan runs with --dtype f32: without it products of bf16 weights have inputs of
bf16. Needs torch, transformers, tokenizers.
"""
import argparse
import json
import math
import os
import random
import subprocess
import tempfile

import torch
from tokenizers import Tokenizer, processors
from transformers import AutoModelForCausalLM


def folders(model, folder):
    """The model with its own tokenizer's rules, with none, and with one that puts the token of id 1 before a text."""
    made = {}
    for name in ("own", "bare", "bos"):
        made[name] = os.path.join(folder, name)
        os.mkdir(made[name])
        for file in os.listdir(model):
            if name == "own" or file != "tokenizer.json":
                os.symlink(os.path.abspath(os.path.join(model, file)), os.path.join(made[name], file))
        if name == "own":
            continue
        tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        bos = tokenizer.id_to_token(1)
        tokenizer.post_processor = (
            processors.TemplateProcessing(f"{bos} $A", f"{bos} $A {bos} $B", [(bos, 1)]) if name == "bos"
            else processors.ByteLevel(trim_offsets=False))
        tokenizer.save(os.path.join(made[name], "tokenizer.json"))
    return made


def strided(model, ids, context, stride, windows):
    """Each token in the first window that reaches it with something before it."""
    losses, scored_to = [], 0
    for begin in range(0, ids.size(1), stride):
        end, first = min(begin + context, ids.size(1)), max(scored_to, begin + 1)
        if first < end and len(losses) < windows:
            log_softmax = model(ids[:, begin:end]).logits[0, first - begin - 1:-1].double().log_softmax(-1)
            losses.append(-log_softmax.gather(1, ids[0, first:end, None])[:, 0])
        scored_to = end
        if end == ids.size(1):
            break
    losses = torch.cat(losses)
    return math.exp(losses.mean().item()), losses.numel()


def one_after_another(model, ids, context, windows, bos):
    """llama-perplexity: the second half of each window, bos in the place of its first token."""
    losses, first = [], context // 2
    for begin in range(0, ids.size(1) - context + 1, context)[:windows]:
        window = ids[:, begin:begin + context].clone()
        if bos:
            window[0, 0] = 1
        logits = model(window).logits[0, first:-1].double()
        losses.append(torch.nn.functional.cross_entropy(logits, window[0, first + 1:], reduction="none"))
    losses = torch.cat(losses)
    return math.exp(losses.mean().item()), losses.numel()


def draw(rng, text):
    length = rng.choice([40, 200, 800, 2000])
    begin = rng.randrange(max(1, len(text) - length))
    context = rng.choice([2, 3, 4, 5, 8, 16, 33, 64, 128, 200])
    stride = rng.choice([0, 1, context, (context + 1) // 2, rng.randint(1, context)])
    if stride and stride * 40 < length:  # not a window for every token of a long text
        stride = min(context, max(stride, length // 40))
    return {"text": text[begin:begin + length], "context": context if stride else max(4, context), "stride": stride,
            "kind": rng.choice(["own", "bare", "bos"]), "windows": rng.choice([1 << 20, 1 << 20, 1, 3])}


def compare(args, model, made, case, folder):
    file = os.path.join(folder, "text.txt")
    with open(file, "w", encoding="utf-8") as out:
        out.write(case["text"])
    command = [args.caravan, "eval", "perplexity", "-q", "-m", made[case["kind"]], "-f", file, "-c", str(case["context"]),
               "--json", "--dtype", "f32", "--max-windows", str(case["windows"])]
    command += ["--stride", str(case["stride"])] if case["stride"] else []
    tokenizer = Tokenizer.from_file(os.path.join(made[case["kind"]], "tokenizer.json"))
    read = case["text"] if case["stride"] else case["text"].removesuffix("\n")  # as llama-perplexity reads a file
    ids = torch.tensor([tokenizer.encode(read).ids])
    run = subprocess.run(command, capture_output=True, text=True)
    if ids.size(1) < 2 or (not case["stride"] and ids.size(1) < case["context"]):
        return "refused" if run.returncode == 64 else f"expected an error, got {run.returncode}: {run.stdout}{run.stderr}"
    if run.returncode:
        return f"{run.returncode}: {run.stderr}"
    result = json.loads(run.stdout)
    if case["stride"]:
        expected, count = strided(model, ids, case["context"], case["stride"], case["windows"])
    else:
        expected, count = one_after_another(model, ids, case["context"], case["windows"], case["kind"] == "bos")
    difference = abs(result["perplexity"] / expected - 1)
    if difference < args.limit and result["tokens_scored"] == count:
        return difference
    return f"{result['perplexity']} of {result['tokens_scored']} tokens, expected {expected} of {count}"


def main(args):
    rng, differences, refused, bad = random.Random(args.seed), [], 0, 0
    with open(args.text, encoding="utf-8", newline="") as file:
        text = file.read()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        made = folders(args.model, folder)
        for index in range(args.cases):
            case = draw(rng, text)
            result = compare(args, model, made, case, folder)
            if isinstance(result, float):
                differences.append(result)
            elif result == "refused":
                refused += 1
            else:
                bad += 1
                print(f"case {index}: { {k: v for k, v in case.items() if k != 'text'} }: {result}", flush=True)
    print(f"{len(differences)} cases compared, largest relative difference {max(differences, default=0):.1e}; {refused} texts "
          f"too short for both; {bad} differ")
    return bad > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for positional in ("caravan", "model", "text"):
        parser.add_argument(positional)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1e-4)
    raise SystemExit(main(parser.parse_args()))
