#!/usr/bin/env python3
"""Recommending beside Hugging Face transformers: generate() with num_beams and prefix_allowed_tokens_fn, same weights,
same histories, same machine, same run.

  recommend_vs_transformers.py build/release/bin/caravan --codes sid.tsv --sequences Beauty.txt [--beams 20 50]
      [--users 512] [--peer-users 16] [--history 20] [--threads 2] [--dtype f32]

Makes a random LLaMA (4 layers, hidden 256, feed-forward 1024) over the codes of the table (id, a, b, c, ...), takes the
users' last items as histories (repeated up to --history items where a user has fewer), and times:
  transformers: one user at a time, and in batches of 8 left-padded users, whichever is faster
  Caravan:      `caravan recommend --input` on all users (its own rate, loading not counted), and one user alone (the
                mean time of single requests: many calls, by batches of one user)
Prints users/s, milliseconds a user and the ratio, and how many of the peer's lists of items are the same.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import time

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers


def read_codes(path):
    rows = [line.rstrip("\n").split("\t") for line in open(path)][1:]
    return {row[0]: [int(c) for c in row[1:]] for row in rows}


def make_model(folder, codes, hidden, layers, feed_forward):
    levels = len(next(iter(codes.values())))
    sizes = [1 + max(row[level] for row in codes.values()) for level in range(levels)]
    vocabulary = ["<pad>", "<s>", "</s>"] + [f"<{chr(97 + l)}_{c}>" for l in range(levels) for c in range(sizes[l])]
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("<[a-z]+_[0-9]+>"), "isolated")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=len(vocabulary), hidden_size=hidden, intermediate_size=feed_forward,
                                      num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4,
                                      max_position_embeddings=512, initializer_range=0.1, pad_token_id=0,
                                      bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, os.path.join(folder, "model.safetensors"),
              metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(json.loads(config.to_json_string(use_diff=False)) | {"architectures": ["LlamaForCausalLM"]}, f)
    with open(os.path.join(folder, "items.jsonl"), "w") as f:
        f.writelines(json.dumps({"id": item, "title": f"item {item}"}) + "\n" for item in codes)
    with open(os.path.join(folder, "codes.json"), "w") as f:
        json.dump({"format": "caravan.item_codes", "version": 1, "sizes": sizes, "codes": list(codes.values())}, f)
    tokens = {item: [ids[f"<{chr(97 + l)}_{c}>"] for l, c in enumerate(row)] for item, row in codes.items()}
    return model, tokens, sum(p.numel() for p in model.parameters())


def read_histories(path, codes, users, length):
    histories = []
    for line in open(path):
        items = [item for item in line.split()[1:-1] if item in codes]
        if items:
            histories.append((items * length)[-length:])
        if len(histories) == users:
            break
    return histories


def peer(model, tokens, histories, beams, batch):
    """Seconds and the items' token tuples of every history."""
    allowed, depth = {}, len(next(iter(tokens.values())))
    for row in tokens.values():
        for n in range(depth):
            allowed.setdefault(tuple(row[:n]), set()).add(row[n])
    allowed = {prefix: sorted(ids) for prefix, ids in allowed.items()}
    found, start = [], time.perf_counter()
    for at in range(0, len(histories), batch):
        prompts = [[t for item in history for t in tokens[item]] for history in histories[at:at + batch]]
        length = max(map(len, prompts))
        ids = torch.tensor([[0] * (length - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
        out = model.generate(ids, attention_mask=mask, do_sample=False, num_beams=beams, num_return_sequences=beams,
                             max_new_tokens=depth, eos_token_id=None, pad_token_id=0, length_penalty=0.0,
                             prefix_allowed_tokens_fn=lambda _, row: allowed[tuple(row[length:].tolist())])
        found += out[:, length:].reshape(len(prompts), beams, depth).tolist()
    return time.perf_counter() - start, found


def ours(program, folder, histories, beams, args, extra=()):
    """The program's own time for all users, and its items."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f, tempfile.NamedTemporaryFile("r") as out:
        f.writelines(json.dumps(history) + "\n" for history in histories)
        f.flush()
        run = subprocess.run([program, "recommend", "-m", folder, "-i", f.name, "-o", out.name, "-k", str(beams),
                              "--beams", str(beams), "--seen", "include", "-t", str(args.threads), "--dtype",
                              args.dtype, *extra], check=True, capture_output=True, text=True)
        rate = float(re.search(r"([\d.]+) users/s", run.stderr).group(1))
        return rate, [json.loads(line)["items"] for line in open(out.name)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--codes", required=True)
    parser.add_argument("--sequences", required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--peer-users", type=int, default=16)
    parser.add_argument("--history", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=1024)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    codes = read_codes(args.codes)
    histories = read_histories(args.sequences, codes, args.users, args.history)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model, tokens, parameters = make_model(folder, codes, args.hidden, args.layers, args.feed_forward)
        print(f"{parameters / 1e6:.1f}M parameters, {len(codes)} items, {len(histories)} users, {args.dtype}")
        for beams in args.beams:
            sample = histories[:args.peer_users]
            peer(model, tokens, sample[:1], beams, 1)
            one, expected = peer(model, tokens, sample, beams, 1)
            many, _ = peer(model, tokens, sample, beams, 8)
            rate, found = ours(args.program, folder, histories, beams, args)
            alone, _ = ours(args.program, folder, histories[:100], beams, args, ["--batch-tokens", "1"])
            _, exact = ours(args.program, folder, sample, beams, args, ["--full-vocabulary"])
            same = sum([tokens[item] for item in mine] == theirs for mine, theirs in zip(exact, expected))
            best = len(sample) / min(one, many)
            print(f"beam {beams}: transformers {best:.2f} users/s (one by one {len(sample) / one:.2f}, batches of 8 "
                  f"{len(sample) / many:.2f}); Caravan {rate:.1f} users/s (x{rate / best:.1f}), one at a time "
                  f"{alone:.1f} users/s = {1000 / alone:.1f} ms; the same list for {same} of {len(sample)} users")


main()
