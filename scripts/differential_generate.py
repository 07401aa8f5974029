#!/usr/bin/env python3
"""Compares `caravan generate --json --ids` with Hugging Face transformers' generate() on tiny random models with random
options, given as flags, in the checkpoint's generation_config.json, or both. Run by hand; needs transformers 5. Under a
transformers 4.46 it takes the strategies that version 5 no longer has: diverse beam groups and contrastive search.

  differential_generate.py --caravan build/release/bin/caravan --cases 300 --seed 1
  differential_generate.py --caravan ... --bf16 --cases 100          greedy decoding in bf16
  differential_generate.py --caravan ... --bf16 --model FOLDER       the same on a real checkpoint

fp32: tokens equal, beam scores within 1e-4 + 1e-6 of their size, log probabilities within 1e-4. Places of an n-best list
that a search could not fill (transformers: score near -1e9) hold arbitrary tokens there and none here: counted, not
compared. bf16: tokens may part where transformers' own bf16 logits of the two tokens lie within BF16_STEPS rounding steps.
"""
import argparse
import collections
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from tokenizers import Tokenizer, decoders, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

PAD = 0
BF16_STEPS = 4
FAMILIES = {"llama": {}, "mistral": {"sliding_window": 6}, "qwen2": {"num_key_value_heads": 4},
            "qwen3": {"head_dim": 16}}
IS_OLD = int(transformers.__version__.split(".")[0]) < 5
DTYPE = "torch_dtype" if IS_OLD else "dtype"
if IS_OLD:
    del FAMILIES["qwen3"]
WORDS = list("abcdefghijklmnopqrstuvwxyz .é") + ["th", "an", "on", " a", " t", "he", "ta", "st", "ne"]


def make_tokenizer(vocab):
    """Every id decodes to one to three letters, so that stop strings are met and cross token borders."""
    names = ["<pad>", "</s>", "<e2>", "<e3>"] + WORDS[:vocab - 4]
    rng = random.Random(5)
    while len(names) < vocab:
        word = "".join(rng.choice("aeionst ") for _ in range(rng.randint(2, 3)))
        if word not in names:
            names.append(word)
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(names)}, [], unk_token="<pad>"))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>",
                                   clean_up_tokenization_spaces=False)


def make_model(folder, rng, dtype=torch.float32):
    family = rng.choice(sorted(FAMILIES))
    vocab = rng.choice([40, 96, 300])
    options = dict(vocab_size=vocab, hidden_size=32, intermediate_size=48, num_hidden_layers=rng.randint(1, 3),
                   num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.25,
                   tie_word_embeddings=rng.random() < 0.4, pad_token_id=PAD, bos_token_id=None, eos_token_id=None)
    torch.manual_seed(rng.randrange(1 << 30))
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **options | FAMILIES[family]), **{DTYPE: torch.float32})
    with torch.no_grad():  # sharper logits; eos tokens (1..3) likely enough that sequences end at different times
        head = model.get_output_embeddings().weight
        head.mul_(1.5)
        head[1:4].mul_(1.6)
    model.to(dtype).save_pretrained(folder)
    make_tokenizer(vocab).save_pretrained(folder)
    return vocab


def old_strategy(rng):
    """Diverse beam groups or contrastive search."""
    if rng.random() < 0.4:
        return {"penalty_alpha": rng.choice([0.2, 0.6, 0.9]), "top_k": rng.choice([2, 4, 7])}
    groups, size = rng.choice([2, 3, 4]), rng.choice([1, 2, 3])
    return {"num_beams": groups * size, "num_beam_groups": groups, "diversity_penalty": rng.choice([0.3, 1.0, 5.0]),
            "length_penalty": rng.choice([0.0, 1.0, 2.0]), "early_stopping": rng.choice([True, False, "never"]),
            "num_return_sequences": rng.randint(1, groups * size)}


def random_options(rng, vocab, length):
    """transformers' names and values."""
    beams = rng.choice([1, 1, 2, 3, 4, 6]) if not IS_OLD else 1
    o = {"eos_token_id": rng.choice([1, [1, 2], [1, 2, 3], [3], [1], 20])}
    o[rng.choice(["max_new_tokens"] * 4 + ["max_length"])] = rng.choice([1, 4, 8, 13, 20])
    if "max_length" in o:
        o["max_length"] += length
    if beams > 1:
        o |= {"num_beams": beams, "length_penalty": rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0, 0.8]),
              "early_stopping": rng.choice([True, False, "never"]), "num_return_sequences": rng.randint(1, beams)}
    if IS_OLD:
        o |= old_strategy(rng)
    ids = lambda n: [rng.randrange(4, vocab) for _ in range(n)]
    extras = {
        "repetition_penalty": lambda: rng.choice([0.8, 1.1, 1.5, 3.0]),
        "encoder_repetition_penalty": lambda: rng.choice([0.7, 1.3, 2.0]),
        "no_repeat_ngram_size": lambda: rng.choice([1, 2, 3, 4]),
        "encoder_no_repeat_ngram_size": lambda: rng.choice([1, 2, 3]),
        "min_new_tokens": lambda: rng.choice([1, 4, 9]),
        "min_length": lambda: length + rng.choice([0, 3, 8]),
        "bad_words_ids": lambda: [ids(rng.choice([1, 1, 2, 3])) for _ in range(rng.randint(1, 12))],
        "suppress_tokens": lambda: ids(rng.randint(1, vocab // 3)),
        "begin_suppress_tokens": lambda: ids(3) + [1],
        "forced_bos_token_id": lambda: 7,
        "forced_eos_token_id": lambda: rng.choice([1, [1, 2], 5]),
        "sequence_bias": lambda: [[ids(rng.choice([1, 1, 2])), rng.uniform(-6, 6)] for _ in range(rng.randint(1, 6))],
        "exponential_decay_length_penalty": lambda: [rng.randint(0, 6), rng.uniform(1.01, 1.6)],
        "stop_strings": lambda: rng.choice([["an"], ["th", "ne"], [" a"], ["ee"], ["t a"], ["s", "xyz"], ["one."]]),
        "renormalize_logits": lambda: True,
        "remove_invalid_values": lambda: True,
        "temperature": lambda: 0.7,  # without do_sample: no effect, in the file as well
    }
    if IS_OLD:  # applied to the first beam of a group only
        del extras["encoder_repetition_penalty"], extras["encoder_no_repeat_ngram_size"]
    for name in rng.sample(sorted(extras), rng.choice([0, 1, 1, 2, 3, 4, 5])):
        o[name] = extras[name]()
    return o


def flag(name, value):
    option = "--" + name.replace("_", "-")
    if name == "bad_words_ids":
        return [option, ";".join(",".join(map(str, w)) for w in value)]
    if name == "stop_strings":
        return [x for text in value for x in (option, text)]
    if name in ("sequence_bias", "exponential_decay_length_penalty"):
        return [option, json.dumps(value)]
    if isinstance(value, bool):
        return [f"{option}={str(value).lower()}"]
    return [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]


def for_transformers(options):
    options = dict(options)
    if "sequence_bias" in options:
        options["sequence_bias"] = {tuple(k): float(v) for k, v in options["sequence_bias"]}
    if "exponential_decay_length_penalty" in options:
        options["exponential_decay_length_penalty"] = tuple(options["exponential_decay_length_penalty"])
    return options


def run_reference(model, tokenizer, prompt, options):
    options = for_transformers(options)
    if "stop_strings" in options or model.generation_config.stop_strings:
        options["tokenizer"] = tokenizer
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         pad_token_id=PAD, return_dict_in_generate=True, output_logits=True, output_scores=True, **options)
    rows = []
    for i, ids in enumerate(out.sequences[:, len(prompt):].tolist()):
        steps = [l[i if out.get("beam_indices") is None else out.beam_indices[i, t]].log_softmax(-1)[ids[t]].item()
                 for t, l in enumerate(out.logits[:len(ids)])]
        score = None if out.get("sequences_scores") is None else out.sequences_scores[i].item()
        rows.append({"ids": ids, "score": score, "logprobs": steps})
    return rows


def run_caravan(program, folder, prompts, flags):
    command = [program, "generate", "-q", "-m", folder, "--json", "--logprobs", *flags]
    for p in prompts:
        command += ["--ids", ",".join(map(str, p))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"caravan: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)["sequences"]


def compare(expected, got, eos, counts, worst):
    bad = []
    if len(expected) != len(got):
        return [f"{len(got)} sequences, {len(expected)} expected"]
    for want, have in zip(expected, got):
        if want["score"] is not None and want["score"] < -1e8:
            counts["unfilled places"] += 1
            continue
        ids, theirs = have["ids"], want["ids"]
        counts["sequences"] += 1
        # transformers fills what follows the end of a sequence with the pad token or, among beams, the first eos
        if theirs[:len(ids)] != ids or any(t not in (PAD, eos[0]) for t in theirs[len(ids):]):
            bad.append(f"{ids} instead of {theirs}")
            continue
        if want["score"] is not None:
            error = abs(want["score"] - have["score"])
            worst["score"] = max(worst["score"], error)
            if error > 1e-4 + 1e-6 * abs(want["score"]):
                bad.append(f"score {have['score']} instead of {want['score']}")
        if IS_OLD:  # its beam_indices of groups do not say which row a token's logits stand in
            continue
        error = max([abs(a - b) for a, b in zip(want["logprobs"], have["logprobs"])], default=0)
        worst["logprob"] = max(worst["logprob"], error)
        if error > 1e-4 or len(have["logprobs"]) != len(ids):
            bad.append(f"logprobs {have['logprobs']} instead of {want['logprobs']}")
    return bad


def random_case(rng, folder, program, counts, worst):
    vocab = make_model(folder, rng)
    length = rng.choice([1, 3, 7, 12])  # one length a case: max_length and min_length count the prompt
    prompts = [[rng.randrange(4, vocab) for _ in range(length)] for _ in range(rng.choice([1, 1, 2, 3]))]
    for p in prompts:  # repeated n-grams
        if len(p) > 5:
            p[-3:] = p[:3]
    options = random_options(rng, vocab, length)
    in_file = {k: v for k, v in options.items() if rng.random() < rng.choice([0, 0, 0.5, 1])}
    if "num_return_sequences" in in_file and "num_beams" not in in_file:
        in_file["num_beams"] = options["num_beams"]  # else transformers refuses the file
    if IS_OLD and in_file:  # as above: a strategy is in the file as a whole or not at all
        strategy = {k for k in ("penalty_alpha", "top_k", "num_beams", "num_beam_groups", "diversity_penalty", "length_penalty",
                                "early_stopping", "num_return_sequences") if k in options}
        in_file = {k: v for k, v in options.items() if k in in_file or k in strategy}
    flags = {k: v for k, v in options.items() if k not in in_file}
    if IS_OLD:  # later groups see the pads of those that are done
        in_file["pad_token_id"] = PAD
    if in_file and rng.random() < 0.3 and "max_new_tokens" in options:  # the flag wins over the file
        in_file["max_new_tokens"] = 3
        flags["max_new_tokens"] = options["max_new_tokens"]
    for name in ("temperature", "min_new_tokens", "min_length"):  # flags that nothing reads or reaches are refused
        if name in flags:
            in_file[name] = flags.pop(name)
    json.dump(in_file, open(f"{folder}/generation_config.json", "w"))
    model = AutoModelForCausalLM.from_pretrained(folder, **{DTYPE: torch.float32}).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = [row for p in prompts for row in run_reference(model, tokenizer, p, flags)]
    got = run_caravan(program, folder, prompts, [x for k, v in flags.items() for x in flag(k, v)])
    eos = options["eos_token_id"]
    bad = compare(expected, got, [eos] if isinstance(eos, int) else eos, counts, worst)
    return bad, f"{model.config.model_type} prompts {prompts} file {in_file} flags {flags}"


def bf16_case(rng, folder, program, counts, real):
    """Greedy tokens; where they part, both tokens must be nearly equal for transformers in bf16."""
    if not real:
        make_model(folder, rng, torch.bfloat16)
    model = bf16_case.model if real else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    vocab = model.config.vocab_size
    prompt = [rng.randrange(4, vocab) for _ in range(rng.choice([3, 8, 30]))]
    expected = run_reference(model, None, prompt, {"max_new_tokens": 32, "do_sample": False})[0]["ids"]
    got = run_caravan(program, folder, [prompt], ["--dtype", "bf16", "--max-new-tokens", "32", "--greedy"])[0]["ids"]
    counts["sequences"] += 1
    counts["tokens"] += len(got)
    if got == expected:
        counts["identical"] += 1
        return [], ""
    t = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
    if t == min(len(expected), len(got)):
        return [f"lengths {len(got)} and {len(expected)}"], f"prompt {prompt}"
    logits = model(torch.tensor([prompt + got[:t]])).logits[0, -1].float()
    a, b = logits[expected[t]].item(), logits[got[t]].item()
    steps = abs(a - b) / 2 ** (math.floor(math.log2(max(abs(a), abs(b), 1e-30))) - 7)
    counts["parted at a near tie"] += steps <= BF16_STEPS
    return ([] if steps <= BF16_STEPS else [f"token {t}: {got[t]} ({b}) instead of {expected[t]} ({a})"]), f"prompt {prompt}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--caravan", required=True)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", help="folder for the files of the last case")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--model", help="with --bf16: a checkpoint folder instead of random models")
    args = parser.parse_args()
    if not os.access(args.caravan, os.X_OK):
        sys.exit(f"{args.caravan}: no such program")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts, worst = collections.Counter(), collections.defaultdict(float)
    if args.model:
        bf16_case.model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16).eval()
    for index in [args.only] if args.only is not None else range(args.cases):
        rng = random.Random(args.seed * 1000003 + index)
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.model or args.keep or temporary
            try:
                if args.bf16:
                    bad, text = bf16_case(rng, folder, args.caravan, counts, args.model)
                else:
                    bad, text = random_case(rng, folder, args.caravan, counts, worst)
            except Exception as e:
                if "caravan:" not in str(e):
                    counts["refused by transformers"] += 1
                    print(f"case {index} skipped: {type(e).__name__} {str(e)[:150]}", file=sys.stderr)
                    continue
                bad, text = [str(e)], ""
        counts["different" if bad else "equal"] += 1
        if bad:
            print(f"case {index}: {text}\n    " + "\n    ".join(bad[:6]), flush=True)
    print(dict(counts), "largest differences:", {k: f"{v:.1e}" for k, v in worst.items()})
    sys.exit(counts["different"] > 0)


main()
