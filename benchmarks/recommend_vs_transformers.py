#!/usr/bin/env python3
"""Recommending beside Hugging Face transformers: generate() with num_beams and prefix_allowed_tokens_fn, same weights,
same histories, same machine, same run.

  recommend_vs_transformers.py build/release/bin [--codes sid.tsv --sequences Beauty.txt] [--beams 20 50 512]
      [--users 512] [--peer-users 16] [--history 20] [--threads 2] [--dtypes f32 bf16] [--layers 4 ...]

Makes a random LLaMA (4 layers, hidden 256, feed-forward 1024) over the codes of the table (id, a, b, c, ...), takes the
users' last items as histories (repeated up to --history items where a user has fewer; without the files: 12,101 random
items of --levels codes, random histories), and times:
  transformers: one user at a time, and in batches of 8 left-padded users, whichever is faster; beams beyond 64 on a
                quarter of the users, one at a time
  Caravan:      recommend_speed (ninja benchmarks): all users together, and users one at a time (median, 99th percentile)
Prints users/s, milliseconds and the ratio, and how many of the peer's lists of items are the same (by the program itself,
with --full-vocabulary).
"""
import argparse
import json
import os
import random
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


def read_histories(path, codes, users, length, repeat):
    histories = []
    for line in open(path):
        items = [item for item in line.split()[1:-1] if item in codes]
        if items:
            histories.append((items * (length if repeat else 1))[-length:])
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


def exact_lists(args, folder, histories, beams):
    """The program's items, scored over the whole vocabulary as the peer's are."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f, tempfile.NamedTemporaryFile("r") as out:
        f.writelines(json.dumps(history) + "\n" for history in histories)
        f.flush()
        subprocess.run([f"{args.bin}/caravan", "recommend", "-q", "-m", folder, "-i", f.name, "-o", out.name, "-k",
                        str(beams), "--beams", str(beams), "--seen", "include", "-t", str(args.threads),
                        "--full-vocabulary", "--overwrite"], check=True)
        return [json.loads(line)["items"] for line in open(out.name)]


def speed(args, folder, histories, items, beams, dtype):
    number = {item: i for i, item in enumerate(items)}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.writelines(json.dumps([number[item] for item in history]) + "\n" for history in histories)
        f.flush()
        run = subprocess.run([f"{args.bin}/recommend_speed", folder, f.name, "--beams", str(beams), "--threads",
                              str(args.threads), "--dtype", dtype, "--singles", str(args.singles)], check=True,
                             capture_output=True, text=True)
    return json.loads(run.stdout)


def random_data(args):
    draw = random.Random(1)
    codes = {}
    while len(codes) < 12101:
        codes.setdefault(f"i{len(codes)}", [draw.randrange(256) for _ in range(args.levels)])
    names = list(codes)
    return codes, [draw.choices(names, k=args.history) for _ in range(args.users)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin")
    parser.add_argument("--codes")
    parser.add_argument("--sequences")
    parser.add_argument("--beams", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--peer-users", type=int, default=16)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--history", type=int, default=20)
    parser.add_argument("--ragged", action="store_true", help="histories as long as they are, up to --history")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtypes", nargs="+", default=["f32"])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=1024)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.codes:
        codes = read_codes(args.codes)
        histories = read_histories(args.sequences, codes, args.users, args.history, not args.ragged)
    else:
        codes, histories = random_data(args)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model, tokens, parameters = make_model(folder, codes, args.hidden, args.layers, args.feed_forward)
        print(f"{parameters / 1e6:.1f}M parameters, {len(codes)} items, {len(histories)} users of "
              f"{sum(map(len, histories)) / len(histories):.1f} items")
        for beams in args.beams:
            best = one = float("nan")
            sample = histories[:args.peer_users if beams <= 64 else args.peer_users // 4]
            if sample:
                peer(model, tokens, sample[:1], beams, 1)
                one, expected = peer(model, tokens, sample, beams, 1)
                many = peer(model, tokens, sample, beams, 8)[0] if beams <= 64 else float("inf")
                best = len(sample) / min(one, many)
                exact = exact_lists(args, folder, sample, beams)
                same = sum([tokens[item] for item in mine] == theirs for mine, theirs in zip(exact, expected))
                print(f"beam {beams}: transformers {best:.2f} users/s (one by one {len(sample) / one:.2f} = "
                  f"{1000 * one / len(sample):.0f} ms, batches of 8 {len(sample) / many:.2f}); "
                      f"the same list for {same} of {len(sample)} users")
            for dtype in args.dtypes:
                ours = speed(args, folder, histories, list(codes), beams, dtype)
                print(f"  Caravan {dtype}: {ours['users_per_second']:.1f} users/s (x{ours['users_per_second'] / best:.1f}); "
                      f"one at a time p50 {ours['p50_ms']:.1f} ms, p99 {ours['p99_ms']:.1f} ms "
                      f"(x{1000 * one / max(1, len(sample)) / ours['p50_ms']:.1f})", flush=True)


main()
