#!/usr/bin/env python3
"""Goldens of text generation, from Hugging Face transformers itself (ran with transformers 5.23.0, torch 2.13.0, CPU fp32).

  generate.py --out tests/golden/generate                  the committed files: two tiny models, processors, cases
  generate.py --out /tmp/grid --grid 2000 --seed 7         a large random grid over more models, for
                                                           CARAVAN_GENERATE_GOLDEN=/tmp/grid generate_test

Diverse beam search and contrastive search left transformers with version 5: their cases come from transformers 4.46.3,
run in a second process whose PYTHONPATH is --transformers4 (a folder list with transformers==4.46.3, tokenizers==0.20.3,
huggingface_hub==0.26.5).
"""
import argparse
import json
import os
import random
import subprocess
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import GenerationConfig, LogitsProcessorList

torch.set_num_threads(1)
PAD = 0


def tiny_models(committed):
    common = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3)
    models = {"llama": ("llama", dict(common)),
              "mistral": ("mistral", dict(common, sliding_window=6, tie_word_embeddings=True, initializer_range=0.2))}
    if not committed:
        models["qwen2"] = ("qwen2", dict(common, vocab_size=64, num_key_value_heads=4))
        models["qwen3"] = ("qwen3", dict(common, vocab_size=128, head_dim=16, tie_word_embeddings=True))
        models["wide"] = ("llama", dict(common, vocab_size=1000, hidden_size=64, initializer_range=0.2))
    return models


def make_model(folder, kind, options, seed):
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(kind, **options)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        # Sharper logits, and some eos tokens (1..3) likely enough that sequences end at different times.
        head = model.get_output_embeddings().weight
        head.mul_(1.5)
        head[1:4].mul_(1.6)
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())
    os.makedirs(folder, exist_ok=True)
    state = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}
    if options.get("tie_word_embeddings"):
        state.pop("lm_head.weight", None)
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config.architectures = [type(model).__name__]
    with open(os.path.join(folder, "config.json"), "w") as f:
        f.write(config.to_json_string(use_diff=False))
    return model


def load_model(folder):
    config = json.load(open(os.path.join(folder, "config.json")))
    config.pop("transformers_version", None)
    from safetensors.torch import load_file
    kind = config.pop("model_type")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **config)).eval()
    state = {k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
    model.load_state_dict(state, strict=False)
    return model.float()


def allowed_tokens(rule, vocab, last):
    return [v for v in range(vocab) if (7 * v + last) % rule["modulus"] < rule["below"]]


# --- cases ------------------------------------------------------------------------------------------------------------

def random_options(rng, vocab, beams, single):
    """single: options whose result in transformers depends on the padding of a batch are allowed too."""
    o = {"max_new_tokens": rng.choice([3, 6, 10, 16, 24]), "num_beams": beams}
    o["eos_token_id"] = rng.choice([1, [1], [1, 2], [1, 2, 3], [3], [50]])
    if beams > 1:
        o["length_penalty"] = rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0])
        o["early_stopping"] = rng.choice([True, False, "never"])
        o["num_return_sequences"] = rng.choice([1, beams, rng.randint(1, beams)])
    ids = lambda n: [rng.randrange(4, vocab) for _ in range(n)]
    extras = {
        "repetition_penalty": lambda: rng.choice([0.8, 1.1, 1.5, 3.0]),
        "min_new_tokens": lambda: rng.choice([1, 4, 9]),
        "bad_words_ids": lambda: [ids(rng.choice([1, 1, 2, 3])) for _ in range(rng.randint(1, 12))] + [[1]],
        "suppress_tokens": lambda: ids(rng.randint(1, vocab // 3)),
        "begin_suppress_tokens": lambda: ids(3) + [1],
        "sequence_bias": lambda: [[ids(rng.choice([1, 1, 2])), rng.uniform(-6, 6)] for _ in range(rng.randint(1, 6))],
        "forced_eos_token_id": lambda: rng.choice([1, [1, 2], 5]),
        "exponential_decay_length_penalty": lambda: [rng.randint(0, 6), rng.uniform(1.01, 1.6)],
        "remove_invalid_values": lambda: True,
        "renormalize_logits": lambda: True,
        "prefix_rule": lambda: {"modulus": rng.choice([3, 7, 31, 47]), "below": rng.choice([1, 2, 3])},
    }
    if single:
        extras |= {
            "no_repeat_ngram_size": lambda: rng.choice([1, 2, 3, 4]),
            "encoder_no_repeat_ngram_size": lambda: rng.choice([1, 2, 3]),
            "encoder_repetition_penalty": lambda: rng.choice([0.7, 1.3, 2.0]),
            "forced_bos_token_id": lambda: 7,
            "min_length": lambda: rng.choice([5, 12]),
            "max_length": lambda: rng.choice([20, 30]),
        }
    for name in rng.sample(sorted(extras), rng.choice([0, 0, 1, 1, 2, 3, 4])):
        o[name] = extras[name]()
    if "max_length" in o:
        del o["max_new_tokens"]
    if "no_repeat_ngram_size" in o and o["no_repeat_ngram_size"] == 1:
        o.pop("min_new_tokens", None)
    return o


def random_prompts(rng, vocab, count, same_length):
    lengths = [rng.choice([1, 2, 5, 9, 14]) for _ in range(count)]
    if same_length:
        lengths = lengths[:1] * count
    prompts = [[rng.randrange(4, vocab) for _ in range(n)] for n in lengths]
    for p in prompts:  # repeated n-grams
        if len(p) > 5:
            p[-3:] = p[:3]
    return prompts


def trimmed(row, options):
    """New tokens up to the first eos; transformers fills what follows."""
    eos = options.get("eos_token_id")
    eos = [eos] if isinstance(eos, int) else eos
    for i, token in enumerate(row):
        if token in eos:
            return row[:i + 1]
    return row


def run_case(model, prompts, options):
    options = dict(options)
    rule = options.pop("prefix_rule", None)
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    if "sequence_bias" in options:
        options["sequence_bias"] = {tuple(k): float(v) for k, v in options["sequence_bias"]}
    if "exponential_decay_length_penalty" in options:
        options["exponential_decay_length_penalty"] = tuple(options["exponential_decay_length_penalty"])
    if rule:
        vocab = model.config.vocab_size
        eos = options["eos_token_id"]
        always = [eos] if isinstance(eos, int) else eos
        options["prefix_allowed_tokens_fn"] = lambda _, sent: sorted(
            set(allowed_tokens(rule, vocab, int(sent[-1])) + always))
    out = model.generate(ids, attention_mask=mask, do_sample=False, pad_token_id=PAD, return_dict_in_generate=True,
                         output_scores=True, **options)
    case = {"sequences": [row[width:] for row in out.sequences.tolist()]}
    if getattr(out, "sequences_scores", None) is not None:
        case["scores"] = [float(f"{s:.9g}") for s in out.sequences_scores.tolist()]
    return case


def make_cases(rng, models, count):
    cases = []
    names = sorted(models)
    while len(cases) < count:
        name = rng.choice(names)
        model = models[name]
        vocab = model.config.vocab_size
        beams = rng.choice([1, 1, 2, 4, 4, 7])
        batch = rng.choice([1, 1, 1, 2, 3])
        same = batch == 1 or rng.random() < 0.3
        options = random_options(rng, vocab, beams, batch == 1 or same)
        prompts = random_prompts(rng, vocab, batch, same)
        try:
            expected = run_case(model, prompts, options)
        except (ValueError, RuntimeError) as e:
            print("skipped:", str(e)[:100], file=sys.stderr)
            continue
        expected["sequences"] = [trimmed(row, options) for row in expected["sequences"]]
        cases.append({"model": name, "prompts": prompts, "options": options} | expected)
    return cases


def old_cases(rng, models, count):
    """Options for the strategies of transformers 4; the second process fills in the results."""
    cases = []
    for i in range(count):
        name = rng.choice([n for n in sorted(models) if n != "qwen3"])  # newer than transformers 4.46
        vocab = models[name].config.vocab_size
        options = {"max_new_tokens": rng.choice([4, 9, 16]), "eos_token_id": rng.choice([1, [1, 2], [1, 2, 3]])}
        if i % 3:
            groups = rng.choice([2, 3])
            options |= {"num_beams": groups * rng.choice([1, 2, 3]), "num_beam_groups": groups,
                        "diversity_penalty": rng.choice([0.2, 1.0, 5.0]),
                        "length_penalty": rng.choice([-1.0, 0.0, 1.0, 2.0]),
                        "early_stopping": rng.choice([True, False, "never"])}
            options["num_return_sequences"] = rng.randint(1, options["num_beams"])
        else:
            options |= {"penalty_alpha": rng.choice([0.2, 0.6, 0.9]), "top_k": rng.choice([2, 4, 8])}
        if rng.random() < 0.4:
            options["repetition_penalty"] = 1.3
        if rng.random() < 0.3:
            options["no_repeat_ngram_size"] = 2
        if rng.random() < 0.3:
            options["min_new_tokens"] = 5
        cases.append({"model": name, "prompts": random_prompts(rng, vocab, 1, True), "options": options})
    return cases


def run_old(folder, cases_file):
    models, cases, done = {}, json.load(open(cases_file)), []
    for case in cases:
        name = case["model"]
        if name not in models:
            models[name] = load_model(os.path.join(folder, name))
        try:
            expected = run_case(models[name], case["prompts"], case["options"])
        except (ValueError, RuntimeError, IndexError) as e:
            print("skipped:", str(e)[:100], file=sys.stderr)
            continue
        expected["sequences"] = [trimmed(row, case["options"]) for row in expected["sequences"]]
        done.append(case | expected)
    json.dump(done, open(cases_file, "w"))
    print("transformers", transformers.__version__, len(done), "cases", file=sys.stderr)


# --- processors -------------------------------------------------------------------------------------------------------

def random_scores(seed, n, spread):
    """The same numbers in C++: a linear congruential generator, 16 bits each."""
    state, out = seed, []
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(((state >> 40) & 0xffff) / 65536 * 2 * spread - spread)
    return torch.tensor([out], dtype=torch.float32)


def processor_cases(rng, model):
    vocab = model.config.vocab_size
    singles = [{"repetition_penalty": 1.3}, {"encoder_repetition_penalty": 1.7}, {"no_repeat_ngram_size": 1},
               {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3}, {"encoder_no_repeat_ngram_size": 2},
               {"bad_words_ids": [[5], [6, 7], [9, 10, 11], [1]]}, {"min_length": 30}, {"min_new_tokens": 50},
               {"forced_eos_token_id": [1, 2], "max_length": 15}, {"suppress_tokens": [4, 5, 6]},
               {"begin_suppress_tokens": [7, 8]}, {"exponential_decay_length_penalty": [0, 1.2]},
               {"sequence_bias": [[[5], 2.5], [[6, 7], -3.0], [[12, 5], 1.25]]}, {"renormalize_logits": True},
               {"remove_invalid_values": True, "suppress_tokens": [9]}, {"prefix_rule": {"modulus": 5, "below": 1}}]
    samplers = [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.6}, {"top_p": 0.95}, {"min_p": 0.1}, {"typical_p": 0.4},
                {"typical_p": 0.95}, {"epsilon_cutoff": 0.02}, {"eta_cutoff": 0.02}, {"eta_cutoff": 0.3}, {"top_h": 0.4},
                {"temperature": 1.4, "top_k": 20, "top_p": 0.8, "min_p": 0.02, "typical_p": 0.9},
                {"num_beams": 3, "top_k": 1}, {"num_beams": 3, "top_p": 0.01, "min_p": 0.9},
                {"num_beams": 3, "typical_p": 0.01, "epsilon_cutoff": 0.9, "eta_cutoff": 0.9}]
    configs = [(o, False) for o in singles] + [({"top_k": 0} | o, True) for o in samplers]
    for _ in range(15):
        options = {}
        for o in rng.sample(singles, 3) + rng.sample(samplers[:11], 2):
            options |= o
        configs.append(({"top_k": 0} | options, True))
    cases = []
    for i, (options, sample) in enumerate(configs):
        prompt = [5, 6, 7, 5, 9, 10, 12, 6]
        ids = prompt + ([] if "begin_suppress_tokens" in options else [9, 10, 5, 6, 7, 6])
        kwargs = dict(options)
        rule = kwargs.pop("prefix_rule", None)
        if "sequence_bias" in kwargs:
            kwargs["sequence_bias"] = {tuple(k): v for k, v in kwargs["sequence_bias"]}
        kwargs.setdefault("max_length", 100)
        config = GenerationConfig(**({"num_beams": 1} | kwargs), do_sample=sample, eos_token_id=[1, 2])
        model._prepare_special_tokens(config)
        prefix = (lambda _, sent: allowed_tokens(rule, vocab, int(sent[-1]))) if rule else None
        encoder = torch.tensor([prompt])
        beams = config.num_beams
        processors = model._get_logits_processor(generation_config=config, input_ids_seq_length=len(prompt),
                                                 encoder_input_ids=encoder, prefix_allowed_tokens_fn=prefix)
        config.num_beams = beams
        scores = random_scores(1000 + i, vocab, 3 + i % 4)
        out = processors(torch.tensor([ids]), scores)[0].tolist()
        cases.append({"options": options, "do_sample": sample, "prompt": prompt, "ids": ids, "seed": 1000 + i,
                      "spread": 3 + i % 4,
                      "expected": [None if x == float("-inf") else float(f"{x:.9g}") for x in out]})
    return cases


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--grid", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transformers4", default="")
    parser.add_argument("--run-old", nargs=2)
    args = parser.parse_args()
    if args.run_old:
        return run_old(*args.run_old)
    rng = random.Random(args.seed)
    models = {}
    for i, (name, (kind, options)) in enumerate(tiny_models(not args.grid).items()):
        models[name] = make_model(os.path.join(args.out, name), kind, options, args.seed * 100 + i)
    with open(os.path.join(args.out, "cases.json"), "w") as f:
        cases = make_cases(rng, models, args.grid or 160)
        f.write('{"transformers": "%s", "cases": [\n' % transformers.__version__)
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")
    with open(os.path.join(args.out, "processors.json"), "w") as f:
        cases = processor_cases(rng, models["llama"])
        f.write('{"transformers": "%s", "cases": [\n' % transformers.__version__)
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")
    if args.transformers4:
        path = os.path.join(args.out, "old_cases.json")
        json.dump(old_cases(rng, models, args.grid // 4 or 40), open(path, "w"))
        subprocess.run([sys.executable, __file__, "--run-old", args.out, path], check=True,
                       env=os.environ | {"PYTHONPATH": args.transformers4})
        cases = json.load(open(path))
        with open(path, "w") as f:
            f.write('{"transformers": "4.46.3", "cases": [\n')
            f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


main()
