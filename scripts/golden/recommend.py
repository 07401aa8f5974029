#!/usr/bin/env python3
"""Goldens of recommending: a tiny random LLaMA over item codes, and what transformers' generate() with num_beams and
prefix_allowed_tokens_fn finds (ran with transformers 5.23.0, tokenizers 0.23, torch 2.13.0, CPU fp32).

  recommend.py --out tests/golden/recommend

The folder is a recommender's checkpoint (config.json, model.safetensors, tokenizer.json, items.jsonl, codes.json) with
expected.json: logits that say the checkpoint is read alike, and per case the history, the excluded items, the number of
beams, the token sequences found and their scores.
"""
import argparse
import json
import os
import random

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

SIZES, ITEMS, SPECIAL = (8, 8, 6), 60, ["<pad>", "<s>", "</s>"]


def make_items(rng):
    codes = [[rng.randrange(n) for n in SIZES] for _ in range(ITEMS - 4)]
    codes += [list(codes[i]) for i in (0, 0, 1, 2)]  # tuples that several items share
    return codes


def make_checkpoint(folder, codes, rng):
    vocabulary = SPECIAL + [f"<{'abc'[level]}_{code}>" for level, n in enumerate(SIZES) for code in range(n)]
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("<[a-z]+_[0-9]+>"), "isolated")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.4, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())
    save_file({k: v.bfloat16().contiguous() for k, v in model.state_dict().items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    as_json = json.loads(config.to_json_string(use_diff=False))
    as_json.update(model_type="llama-rec", architectures=["LlamaRecForCausalLM"],
                   item_prompt={"bos": 1, "separator": None, "max_items": 12})
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(as_json, f, indent=1)
    with open(os.path.join(folder, "items.jsonl"), "w") as f:
        for i in range(len(codes)):
            f.write(json.dumps({"id": f"i{i}", "title": f"Item number {i}", "count": rng.randrange(20)}) + "\n")
    with open(os.path.join(folder, "codes.json"), "w") as f:
        json.dump({"format": "caravan.item_codes", "version": 1, "sizes": list(SIZES), "codes": codes}, f)
    tokens = [[ids[f"<{'abc'[level]}_{c}>"] for level, c in enumerate(row)] for row in codes]
    return model, tokens


def make_case(model, tokens, rng):
    history = [rng.randrange(len(tokens)) for _ in range(rng.randrange(1, 12))]
    excluded = sorted(set(history)) if rng.random() < 0.5 else []
    allowed = {}
    open_tuples = {tuple(t) for i, t in enumerate(tokens) if i not in excluded}
    for t in open_tuples:
        for n in range(len(t)):
            allowed.setdefault(t[:n], set()).add(t[n])
    prompt = [1] + [t for item in history for t in tokens[item]]
    beams = rng.choice([2, 3, 5, 8, 12])
    out = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
        num_beams=beams, num_return_sequences=beams, max_new_tokens=len(SIZES), eos_token_id=None, pad_token_id=0,
        length_penalty=0.0, return_dict_in_generate=True, output_scores=True,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(allowed[tuple(ids[len(prompt):].tolist())]))
    return {"history": history, "exclude_seen": bool(excluded), "beams": beams,
            "tokens": out.sequences[:, len(prompt):].tolist(), "scores": out.sequences_scores.tolist()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    codes = make_items(rng)
    model, tokens = make_checkpoint(args.out, codes, rng)
    with torch.no_grad():
        logits = model(torch.tensor([[1, *tokens[0], *tokens[1]]])).logits[0, -1].tolist()
    cases = [make_case(model, tokens, rng) for _ in range(args.cases)]
    with open(os.path.join(args.out, "expected.json"), "w") as f:
        json.dump({"logits": logits, "cases": cases}, f)


main()
