#!/usr/bin/env python3
"""Compares `caravan forward` with Hugging Face transformers on random small models: logits, hidden states, attentions,
losses and gradient norms, over random configs, heads, dtypes and padded batches. Run by hand; needs transformers 5.

  differential_models.py --caravan build/release/bin/caravan --cases 300 --seed 1
  differential_models.py --caravan ... --only 17 --seed 1 --keep /tmp/case     one case again, its files kept
  differential_models.py --caravan ... --wide            unusual shapes (below) and checkpoints in several shards
  differential_models.py --caravan ... --writer PYTHON   PYTHON, with an older transformers, saves the checkpoints

fp32: values within 1e-4 absolute, gradient norms within 1e-4 relative above a floor (below). Tensors that are zero in
exact arithmetic (the bias of a question answering head: it shifts every logit of a softmax alike) hold rounding noise in
both programs; the floor of 1e-6 times the largest gradient norm takes them out.
bf16, fp16: the distance to the fp32 result of the same weights, beside that of transformers' own run in that dtype.
A difference is looked at with its cause; transformers' refusals of a config are counted as skipped.

--wide: hidden sizes that heads need not divide, head widths from 2 to 130, one kv head for many query heads, prime
vocabularies, up to 7 layers. --writer also writes torch files in place of safetensors.
"""
import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForQuestionAnswering,
                          AutoModelForSequenceClassification, AutoModelForTokenClassification)

HEADS = {"causal-lm": AutoModelForCausalLM, "sequence-classification": AutoModelForSequenceClassification,
         "token-classification": AutoModelForTokenClassification, "question-answering": AutoModelForQuestionAnswering,
         "base": AutoModel}
ACTIVATIONS = ["silu", "silu", "silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh",
               "gelu_python_tanh", "gelu_accurate", "gelu_10", "relu", "relu2", "relu6", "quick_gelu", "sigmoid", "tanh",
               "mish", "linear", "leaky_relu", "hardswish", "laplace", "sqrtsoftplus"]
VALUE_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-4


def random_rope(rng, config, head_dim):
    """rope_parameters of a random type; some lengths lie past the original positions."""
    theta = rng.choice([100.0, 10000.0, 500000.0, 1e6])
    kind = rng.choice(["default", "default", "linear", "dynamic", "llama3", "yarn", "yarn", "longrope", "longrope"])
    rope = {"rope_type": kind, "rope_theta": theta}
    if kind == "default":
        if rng.random() < 0.2:
            rope["partial_rotary_factor"] = 0.5
        return rope
    if kind != "longrope" or rng.random() < 0.5:
        rope["factor"] = rng.choice([1.0, 2.0, 4.0, 2.5])
    if kind in ("llama3", "yarn", "longrope") and rng.random() < 0.8:
        rope["original_max_position_embeddings"] = rng.choice([4, 8, 16, 32])
    if kind == "llama3":
        rope |= {"low_freq_factor": rng.choice([1.0, 2.0]), "high_freq_factor": rng.choice([4.0, 8.0]),
                 "original_max_position_embeddings": rng.choice([4, 8, 16, 32])}
    if kind == "yarn":
        for key, values in {"attention_factor": [0.5, 1.3], "beta_fast": [8, 32.0, 64], "beta_slow": [1, 2.0],
                            "mscale": [0.7, 1.0, 1.5], "mscale_all_dim": [0.5, 1.0], "truncate": [True, False]}.items():
            if rng.random() < 0.4:
                rope[key] = rng.choice(values)
    if kind == "longrope":
        rope["short_factor"] = [rng.uniform(1, 2) for _ in range(head_dim // 2)]
        rope["long_factor"] = [rng.uniform(1, 8) for _ in range(head_dim // 2)]
        if rng.random() < 0.3:
            rope["attention_factor"] = rng.choice([0.8, 1.2])
    return rope


def random_config(rng):
    family = rng.choice(["llama", "llama", "mistral", "qwen2", "qwen3"])
    heads = rng.choice([1, 2, 3, 4, 6])
    head_dim = rng.choice([4, 6, 8, 10, 16])
    config = {"vocab_size": rng.randint(20, 120), "hidden_size": heads * head_dim,
              "intermediate_size": rng.choice([7, 24, 40]), "num_hidden_layers": rng.randint(1, 4),
              "num_attention_heads": heads,
              "num_key_value_heads": rng.choice([k for k in range(1, heads + 1) if heads % k == 0]),
              "max_position_embeddings": rng.choice([8, 16, 32, 64, 256]), "hidden_act": rng.choice(ACTIVATIONS),
              "rms_norm_eps": rng.choice([1e-5, 1e-6, 1e-3, 1e-8]), "tie_word_embeddings": rng.random() < 0.4,
              "pad_token_id": rng.choice([0, 0, 3]), "bos_token_id": 1, "eos_token_id": 2}
    if rng.random() < 0.4 or family == "qwen3":
        head_dim = config["head_dim"] = rng.choice([4, 8, 12])
    if family in ("llama", "qwen3"):
        config["attention_bias"] = rng.random() < 0.4
    if family == "llama":
        config["mlp_bias"] = rng.random() < 0.3
        config["pretraining_tp"] = rng.choice([1, 2])
    if family == "mistral":
        config["sliding_window"] = rng.choice([None, 1, 3, 8, 100])
    if family.startswith("qwen") and rng.random() < 0.7:
        config |= {"use_sliding_window": rng.random() < 0.8, "sliding_window": rng.choice([2, 5, 9, None]),
                   "max_window_layers": rng.randint(0, config["num_hidden_layers"])}
        if config["use_sliding_window"] and config["sliding_window"] and rng.random() < 0.5:
            config["layer_types"] = [rng.choice(["full_attention", "sliding_attention"])
                                     for _ in range(config["num_hidden_layers"])]
    config["rope_parameters"] = random_rope(rng, config, head_dim)
    return family, config


def wide_config(rng):
    """random_config with shapes that real models avoid."""
    family, config = random_config(rng)
    heads = rng.choice([1, 2, 3, 5, 7, 8, 12])
    head_dim = rng.choice([2, 4, 6, 10, 14, 34, 66, 130])
    hidden = [heads * n for n in (1, 3, 8, 17)] if family == "llama" else [6, 8, 8, 30, 67, 129]  # llama: heads divide it
    config |= {"vocab_size": rng.choice([7, 17, 97, 257, 1009, 5003]), "hidden_size": rng.choice(hidden),
               "intermediate_size": rng.choice([1, 5, 31, 97, 260]), "num_attention_heads": heads, "head_dim": head_dim,
               "num_key_value_heads": 1 if rng.random() < 0.5 else heads}
    if rng.random() < 0.3:  # the width that the config does not name
        config["hidden_size"] = heads * config.pop("head_dim")
    if rng.random() < 0.3 and "layer_types" not in config:
        config["num_hidden_layers"] = rng.randint(5, 7)
    config["rope_parameters"] = random_rope(rng, config, head_dim)
    return family, config


def old_style(config):
    """config.json as transformers 4 wrote it."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = {("type" if kind == "linear" else "rope_type"): kind, **rope} if kind != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    return config


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if "norm" in name else noise * (0.1 if "bias" in name else p.shape[-1] ** -0.5))


def random_inputs(rng, config, task, labels):
    """Inputs and labels, with left, right, both-sided or no padding."""
    batch, width = rng.choice([1, 2, 3, 4]), rng.choice([1, 5, 9, 14, 20, 40])
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    ids = torch.randint(4, config["vocab_size"], (batch, width), generator=generator)
    mask = torch.ones(batch, width, dtype=torch.long)
    padding = rng.choice(["none", "left", "right", "mixed", "both"])
    for b in range(batch):
        side = rng.choice(["left", "right", "both"]) if padding == "mixed" else padding
        spare = rng.randint(0, width - 1) if side != "none" else 0
        left = spare if side == "left" else rng.randint(0, spare) if side == "both" else 0
        mask[b, :left] = 0
        mask[b, width - (spare - left):] = 0
    ids[mask == 0] = config["pad_token_id"]
    inputs = {"input_ids": ids, "attention_mask": mask}
    if task in ("causal-lm", "token-classification"):
        inputs["labels"] = (ids.clone() if task == "causal-lm" else
                            torch.randint(0, labels["num_labels"], ids.shape, generator=generator))
        inputs["labels"][(mask == 0) | (torch.rand(ids.shape, generator=generator) < 0.2)] = -100
        if (inputs["labels"][:, 1:] == -100).all():
            del inputs["labels"]
    elif task == "sequence-classification":
        problem, n = labels["problem_type"], labels["num_labels"]
        if problem == "regression" or (problem is None and n == 1):
            inputs["labels"] = torch.randn((batch, n) if n > 1 else (batch,), generator=generator)
        elif problem == "multi_label_classification":
            inputs["labels"] = (torch.rand((batch, n), generator=generator) < 0.5).float()
        else:
            inputs["labels"] = torch.randint(0, n, (batch,), generator=generator)
    elif task == "question-answering":
        inputs["start_positions"] = torch.randint(0, width + 3, (batch,), generator=generator)
        inputs["end_positions"] = torch.randint(0, width + 3, (batch,), generator=generator)
    if rng.random() < 0.2:  # positions that skip left padding, as generate() numbers them
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    if padding == "none" and rng.random() < 0.5:
        del inputs["attention_mask"]
    if rng.random() < 0.15:
        inputs["inputs_embeds"] = torch.randn(batch, width, config["hidden_size"], generator=generator)
        del inputs["input_ids"]
    return inputs


def run_reference(task, config, state, inputs, dtype, attention):
    """What transformers computes: outputs by name and, where there is a loss, gradient norms."""
    model = HEADS[task].from_config(config, attn_implementation=attention, dtype=torch.float32)
    model.load_state_dict(state)
    model = model.eval().to(dtype)
    inputs = {k: v.to(dtype) if k == "inputs_embeds" else v for k, v in inputs.items()}
    out = model(**inputs, output_hidden_states=True, output_attentions=attention == "eager", use_cache=False)
    named = {k: out[k] for k in ("logits", "start_logits", "end_logits", "last_hidden_state", "loss") if k in out}
    named |= {f"hidden_states.{i}": h for i, h in enumerate(out.hidden_states)}
    if attention == "eager":
        named |= {f"attentions.{i}": a for i, a in enumerate(out.attentions)}
    if out.get("loss") is not None and torch.isfinite(out.loss):
        out.loss.backward()
        named |= {"grad_norm." + n: p.grad.float().norm() for n, p in model.named_parameters() if p.grad is not None}
    return {k: v.detach().float() for k, v in named.items() if v is not None}


def run_caravan(program, folder, inputs, *options):
    stored = {k: v.contiguous() for k, v in inputs.items()}
    save_file(stored, f"{folder}/inputs.safetensors")
    done = subprocess.run([program, "forward", "-q", "-m", folder, "--inputs", f"{folder}/inputs.safetensors", "-o",
                           f"{folder}/outputs.safetensors", "--overwrite", "--hidden-states", *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"caravan: exit {done.returncode}: {done.stderr.strip()}")
    return load_file(f"{folder}/outputs.safetensors")


def distance(a, b):
    if a.shape != b.shape:
        return float("inf")
    if a.numel() == 0:
        return 0.0
    same = (a == b) | (a.isnan() & b.isnan())
    d = (a - b).abs()
    d[same] = 0
    return d.max().item() if not d.isnan().any() else float("inf")


def compare(expected, got, worst):
    """Differences above the limits, as text; `worst` collects the largest of each kind."""
    bad = []
    floor = 1e-6 * max([v.item() for k, v in expected.items() if k.startswith("grad_norm.")], default=0)
    for name, want in expected.items():
        if name not in got:
            bad.append(f"{name} is missing")
            continue
        have, kind = got[name], name.split(".")[0]
        if kind == "grad_norm":
            difference = abs(have.item() - want.item())
            error = 0.0 if difference <= floor else difference / abs(want.item())
            limit = GRADIENT_LIMIT
        else:
            error, limit = distance(want, have.reshape(want.shape) if want.dim() == 0 else have), VALUE_LIMIT
        worst[kind] = max(worst[kind], error)
        if not error <= limit:
            bad.append(f"{name}: {error:.2e}")
    return bad


def compare_low(exact, theirs, ours, worst):
    """Distances to the fp32 result: ours may be twice theirs."""
    bad = []
    for name, want in exact.items():
        kind = name.split(".")[0]
        if kind in ("grad_norm", "attentions") or name not in ours:
            continue
        scale = want.abs().max().item() + 1e-3
        their_error, error = distance(want, theirs[name]) / scale, distance(want, ours[name]) / scale
        worst["low " + kind] = max(worst["low " + kind], error)
        if error > 2 * their_error + 0.01:
            bad.append(f"{name}: {error:.2e} of the largest value; transformers {their_error:.2e}")
    return bad


class Writer:
    """Another Python whose transformers saves checkpoints: a process that answers one JSON line each."""

    def __init__(self, python):
        self.process = subprocess.Popen([python, os.path.abspath(__file__), "--serve-writer"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def write(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            raise ValueError(f"the writer: {answer}")

    @staticmethod
    def serve():
        for line in sys.stdin:
            r = json.loads(line)
            try:
                model = HEADS[r["task"]].from_config(AutoConfig.for_model(r["family"], **r["options"]))
                model.load_state_dict(load_file(r["state"]))
                model.to(getattr(torch, r["dtype"])).save_pretrained(r["folder"], **r["save"])
                print("done", flush=True)
            except Exception as e:
                print(f"{type(e).__name__} {e}".replace("\n", " ")[:300], flush=True)


class Case:
    def __init__(self, seed, index, is_wide=False, writer=None):
        rng = self.rng = random.Random(seed * 1000003 + index)
        self.family, self.options = wide_config(rng) if is_wide else random_config(rng)
        self.writer = writer if self.family != "qwen3" else None  # older than Qwen3
        self.is_sharded = is_wide and index % 2 == 0
        self.task = rng.choice(["causal-lm", "causal-lm", *HEADS])
        self.labels = {"num_labels": rng.choice([1, 2, 3, 5]), "problem_type": None}
        if self.task == "sequence-classification":
            n = self.labels["num_labels"]
            self.labels["problem_type"] = rng.choice([None, "regression"] if n == 1 else [
                None, "regression", "single_label_classification", "multi_label_classification"])
        self.dtype = rng.choice([torch.float32] * 4 + [torch.bfloat16, torch.float16])
        self.is_old = rng.random() < 0.4
        self.config = AutoConfig.for_model(self.family, **self.options, **self.labels)
        self.inputs = random_inputs(rng, self.options, self.task, self.labels)
        self.seed = rng.randrange(1 << 30)

    def text(self):
        shape = {k: list(v.shape) for k, v in self.inputs.items()}
        options = {k: v for k, v in self.options.items() if k != "rope_parameters"}
        rope = {k: v for k, v in self.options["rope_parameters"].items() if not k.endswith("_factor") or k == "attention_factor"}
        return f"{self.family} {self.task} {self.dtype} {shape} {'old ' if self.is_old else ''}{options} {rope} {self.labels}"

    def write(self, folder):
        model = HEADS[self.task].from_config(self.config, dtype=torch.float32)
        randomize(model, self.seed)
        state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        save = {"max_shard_size": 20000} if self.is_sharded else {}
        if self.writer:
            save_file(state, f"{folder}/state")
            self.writer.write({"family": self.family, "task": self.task, "folder": folder, "state": f"{folder}/state",
                               "options": old_style({**self.options, **self.labels, "dtype": "float32"}),
                               "dtype": str(self.dtype).split(".")[1],
                               "save": {**save, "safe_serialization": self.seed % 3 != 0}})
            os.remove(f"{folder}/state")
        else:
            model.to(self.dtype).save_pretrained(folder, **save)
        if self.is_old and not self.writer:
            path = f"{folder}/config.json"
            config = old_style(json.load(open(path)))
            json.dump(config, open(path, "w"))
        self.config = AutoConfig.from_pretrained(folder)  # what transformers reads from the file
        return {k: v.to(self.dtype).float() for k, v in state.items()}

    def variations(self):
        """The same inputs in other integer types, or as embeddings."""
        inputs = dict(self.inputs)
        for name in ("input_ids", "attention_mask", "labels"):
            if name in inputs and not inputs[name].is_floating_point() and self.rng.random() < 0.3:
                inputs[name] = inputs[name].to(torch.bool if name == "attention_mask" and self.rng.random() < 0.5 else
                                               torch.int32)
        return inputs

    def run(self, program, folder, worst):
        state = self.write(folder)
        bad = []
        # As in transformers, asking for attentions chooses the plain implementation. At padded places that see no
        # token the two differ (zeros, or the mean of all values).
        for attention, options in (("eager", ["--attentions"]), ("sdpa", [])):
            exact = run_reference(self.task, self.config, state, self.inputs, torch.float32, attention)
            if any(k.startswith("grad_norm") for k in exact):
                options = [*options, "--grad-norms"]
            got = run_caravan(program, folder, self.variations(), "--dtype", "f32", *options)
            bad += [f"{attention} {text}" for text in compare(exact, got, worst)]
        if self.dtype != torch.float32:
            theirs = run_reference(self.task, self.config, state, self.inputs, self.dtype, "sdpa")
            bad += compare_low(exact, theirs, run_caravan(program, folder, self.inputs), worst)
        return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--caravan", default="build/release/bin/caravan")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", help="folder for the files of the last case")
    parser.add_argument("--wide", action="store_true", help="unusual shapes, several shards")
    parser.add_argument("--writer", help="a Python whose transformers saves the checkpoints")
    parser.add_argument("--serve-writer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve_writer:
        return Writer.serve()
    if not os.access(args.caravan, os.X_OK):
        sys.exit(f"{args.caravan}: no such program")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    worst, counts = collections.defaultdict(float), collections.Counter()
    writer = Writer(args.writer) if args.writer else None
    for index in [args.only] if args.only is not None else range(args.cases):
        folder = args.keep or tempfile.mkdtemp()
        os.makedirs(folder, exist_ok=True)
        case = None
        try:
            case = Case(args.seed, index, args.wide, writer)
            bad = case.run(args.caravan, folder, worst)
        except Exception as e:
            if "caravan:" not in str(e):
                counts["refused by transformers"] += 1
                print(f"case {index} skipped: {type(e).__name__} {str(e)[:150]}", file=sys.stderr)
                continue
            bad = [str(e)]
        finally:
            if not args.keep:
                shutil.rmtree(folder)
        counts[f"{case.family}"] += 1
        counts["different" if bad else "equal"] += 1
        if bad:
            print(f"case {index}: {case.text()}\n    " + "\n    ".join(bad[:8]), flush=True)
    print(dict(counts))
    print("largest differences:", {k: f"{v:.1e}" for k, v in sorted(worst.items())})
    sys.exit(counts["different"] > 0)


main()
