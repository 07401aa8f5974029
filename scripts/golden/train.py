#!/usr/bin/env python3
"""Goldens for caravan/train: optimizers of torch.optim and transformers, schedules of transformers.

usage: scripts/golden/train.py            writes tests/golden/train/; ran with torch 2.13.0, transformers 5.23
"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from transformers.optimization import Adafactor

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/train"
SHAPES = {
    "layer.proj.weight": (6, 4),
    "layer.proj.bias": (6,),
    "embed.weight": (5, 4),
    "norm.weight": (4,),
    "head.weight": (3, 8),
}
STEPS = 20
NO_DECAY = {"layer.proj.bias", "norm.weight"}


def groups(weights, decay, names=None):
    """Parameter groups as the trainer makes them: norms and biases do not decay."""
    names = names or list(weights)
    return [
        {"params": [weights[n] for n in names if n not in NO_DECAY], "weight_decay": decay},
        {"params": [weights[n] for n in names if n in NO_DECAY], "weight_decay": 0.0},
    ]


def adamw(w):
    return [torch.optim.AdamW(groups(w, 0.1), lr=1e-2, betas=(0.9, 0.95), eps=1e-8)]


def sgd(w):
    return [torch.optim.SGD(groups(w, 0.0), lr=5e-2)]


def sgd_nesterov(w):
    return [torch.optim.SGD(groups(w, 0.01), lr=5e-2, momentum=0.9, nesterov=True)]


def sgd_momentum(w):
    return [torch.optim.SGD(groups(w, 0.01), lr=5e-2, momentum=0.9)]


def adafactor(w):
    return [Adafactor(groups(w, 0.01), lr=1e-2, relative_step=False)]


def adafactor_relative(w):
    return [Adafactor(groups(w, 0.0), relative_step=True, warmup_init=True, scale_parameter=False, beta1=0.9)]


def muon(w):
    hidden = {"layer.proj.weight": w["layer.proj.weight"]}
    rest = [n for n in w if n not in hidden]
    return [
        torch.optim.Muon(list(hidden.values()), lr=2e-2, weight_decay=0.1, momentum=0.95),
        torch.optim.AdamW(groups(w, 0.1, rest), lr=1e-2),
    ]


def muon_matched(w):
    hidden = {"layer.proj.weight": w["layer.proj.weight"]}
    rest = [n for n in w if n not in hidden]
    return [
        torch.optim.Muon(
            list(hidden.values()), lr=1e-2, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(groups(w, 0.1, rest), lr=1e-2),
    ]


CASES = [adamw, sgd, sgd_momentum, sgd_nesterov, adafactor, adafactor_relative, muon, muon_matched]


def make_optimizers():
    generator = torch.Generator().manual_seed(7)
    start = {n: torch.randn(s, generator=generator) for n, s in SHAPES.items()}
    gradients = {n: torch.randn((STEPS, *s), generator=generator) * 0.3 for n, s in SHAPES.items()}
    tensors = {f"start.{n}": t for n, t in start.items()} | {f"gradients.{n}": t for n, t in gradients.items()}
    for case in CASES:
        weights = {n: t.clone().requires_grad_() for n, t in start.items()}
        optimizers = case(weights)
        # Adafactor's relative step has no learning rate to schedule.
        scheduled = case is not adafactor_relative
        schedules = [
            transformers.get_linear_schedule_with_warmup(o, 5, STEPS + 1) for o in optimizers if scheduled
        ]
        for step in range(STEPS):
            for n, w in weights.items():
                w.grad = gradients[n][step].clone()
            for o in optimizers:
                o.step()
            for s in schedules:
                s.step()
        tensors |= {f"{case.__name__}.{n}": w.detach() for n, w in weights.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "optimizers.safetensors")


def make_schedules():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    make = {
        "constant": transformers.get_constant_schedule_with_warmup(optimizer, 5),
        "linear": transformers.get_linear_schedule_with_warmup(optimizer, 5, 40),
        "cosine": transformers.get_cosine_schedule_with_warmup(optimizer, 5, 40),
        "cosine_min": transformers.get_cosine_with_min_lr_schedule_with_warmup(optimizer, 5, 40, min_lr_rate=0.1),
        "cosine_waves": transformers.get_cosine_schedule_with_warmup(optimizer, 5, 40, num_cycles=1.5),
        "inverse_sqrt": transformers.get_inverse_sqrt_schedule(optimizer, 5),
        "inverse_sqrt_cold": transformers.get_inverse_sqrt_schedule(optimizer, 0, timescale=20),
        "wsd": transformers.get_wsd_schedule(optimizer, 5, 10, 40, min_lr_ratio=0.05),
        "wsd_linear": transformers.get_wsd_schedule(optimizer, 5, 10, 40, decay_type="linear"),
        "wsd_sqrt": transformers.get_wsd_schedule(optimizer, 5, 10, 40, decay_type="1-sqrt"),
    }
    values = {name: [s.lr_lambdas[0](step) for step in range(45)] for name, s in make.items()}
    (OUT / "schedules.json").write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    make_optimizers()
    make_schedules()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
