#!/usr/bin/env python3
"""Training speed of `caravan train` beside a transformers loop: same weights, data, batches, precision, optimizer.

usage: benchmarks/train_vs_transformers.py --caravan build/release/bin/caravan
           [--model recommender|FOLDER] [--precision fp32|bf16] [--steps 12] [--threads 2] [--examples 64] [--mean 40] [--equal]

The data are sequences of random (exponential) lengths around --mean; with --equal all have that length, so that the
peer pads nothing. The peer pads each batch to its longest sequence, as
transformers' collators do, and runs what its Trainer runs: forward with labels, backward, clip_grad_norm_,
AdamW(fused), a linear schedule; bf16 is torch.autocast. Only real tokens are counted. Both report tokens per second of
wall time and per second of processor time (of all threads), which other jobs on the machine disturb less; the first
quarter of the steps is left out. The losses of both runs are compared.
"""
import argparse
import json
import pathlib
import random
import resource
import subprocess
import tempfile
import time

import torch
import transformers


def recommender():
    """Hidden 256, 4 layers, a vocabulary of 3 x 256 codes and some words."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1024, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, tie_word_embeddings=False, pad_token_id=None,
    )
    return transformers.LlamaForCausalLM(config)


def make_examples(count, mean, vocabulary, equal):
    draw = random.Random(1)
    return [
        [
            draw.randrange(10, vocabulary)
            for _ in range(mean if equal else max(4, min(8 * mean, int(draw.expovariate(1 / mean)))))
        ]
        for _ in range(count)
    ]


def run_peer(model, examples, args):
    torch.set_num_threads(args.threads)
    model.train()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=1e-4, fused=True
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 2, args.steps)
    losses, marks = [], []
    for step in range(args.steps):
        if step == args.steps // 4:
            marks.append((time.perf_counter(), cpu_seconds(), 0))
        part = examples[step * args.examples : (step + 1) * args.examples]
        longest = max(map(len, part))
        ids = torch.tensor([e + [0] * (longest - len(e)) for e in part])
        mask = torch.tensor([[1] * len(e) + [0] * (longest - len(e)) for e in part])
        labels = ids.masked_fill(mask == 0, -100)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    marks.append((time.perf_counter(), cpu_seconds()))
    tokens = sum(map(len, examples[args.steps // 4 * args.examples :]))
    return losses, tokens / (marks[1][0] - marks[0][0]), tokens / (marks[1][1] - marks[0][1])


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_caravan(folder, checkpoint, args):
    settings = {
        "output": f"{folder}/run", "model.path": checkpoint, "data.train": f"{folder}/train.jsonl",
        "data.max_length": 100000, "training.steps": args.steps, "training.batch_tokens": 10**9,
        "training.batch_examples": args.examples, "training.precision": args.precision, "optimizer.lr": 1e-4,
        "schedule.name": "linear", "schedule.warmup_steps": 2, "log.every": 1, "data.shuffle": "false",
    }
    command = [args.caravan, "train", "-q", "-t", str(args.threads)]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in open(f"{folder}/run/metrics.jsonl")]
    rows = [row for row in rows if "loss" in row]
    first, last = rows[args.steps // 4 - 1], rows[-1]
    tokens = last["tokens"] - first["tokens"]
    return (
        [row["loss"] for row in rows],
        tokens / (last["timing"]["seconds"] - first["timing"]["seconds"]),
        tokens / (last["timing"]["cpu_seconds"] - first["timing"]["cpu_seconds"]),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caravan", required=True)
    parser.add_argument("--model", default="recommender")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--mean", type=int, default=40)
    parser.add_argument("--equal", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.model == "recommender":
            model = recommender()
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        checkpoint = f"{folder}/start"
        model.save_pretrained(checkpoint)
        examples = make_examples(args.steps * args.examples, args.mean, model.config.vocab_size, args.equal)
        pathlib.Path(f"{folder}/train.jsonl").write_text("".join(json.dumps({"ids": e}) + "\n" for e in examples))
        ours = run_caravan(folder, checkpoint, args)
        theirs = run_peer(model, examples, args)
        memory = [resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    gap = max(abs(a - b) / b for a, b in zip(ours[0], theirs[0]))
    print(f"{args.model}, {args.precision}, {args.threads} threads, {args.steps} steps of {args.examples} examples, "
          f"{'all of' if args.equal else 'about'} {args.mean} tokens")
    print(f"caravan       {ours[1]:8.0f} tokens/s   {ours[2]:8.0f} tokens per processor second")
    print(f"transformers  {theirs[1]:8.0f} tokens/s   {theirs[2]:8.0f} tokens per processor second")
    print(f"ratio         {ours[1] / theirs[1]:8.2f}            {ours[2] / theirs[2]:8.2f}")
    print(f"peak memory: caravan {memory[0]:.2f} GB, transformers {memory[1]:.2f} GB")
    print(f"losses differ by at most {gap:.1e} of their value; last: {ours[0][-1]:.4f} and {theirs[0][-1]:.4f}")


if __name__ == "__main__":
    main()
