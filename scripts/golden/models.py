#!/usr/bin/env python3
"""Goldens of the model families: tiny random models of Hugging Face transformers over the grid of config options, with
logits, hidden states, attentions, losses and gradients of fixed inputs.

Usage: models.py OUT_FOLDER      (needs torch, transformers, safetensors; made with the versions written into index.json)

Each case is one safetensors file: parameters under "w.<name>", inputs, and what transformers computes in fp32. Parameters
are drawn by a tiny portable generator so that the file stays small: see weights() here and in models/golden_test.cc.
"""
import json
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForQuestionAnswering
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

BASE = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            tie_word_embeddings=False)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3], long_factor=[1.5, 2.0, 3.0],
            original_max_position_embeddings=8, rope_theta=10000.0)
CASES = {
    "llama": ("llama", {}),
    "llama_mha_tied": ("llama", dict(num_key_value_heads=4, tie_word_embeddings=True)),
    "llama_biases_head_dim": ("llama", dict(attention_bias=True, mlp_bias=True, head_dim=10, hidden_act="gelu")),
    "llama_relu2": ("llama", dict(hidden_act="relu2", rms_norm_eps=1e-3)),
    "llama_linear": ("llama", dict(rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=500.0))),
    "llama_dynamic": ("llama", dict(max_position_embeddings=8, rope_parameters=dict(rope_type="dynamic", factor=2.0, rope_theta=10000.0))),
    "llama_llama3": ("llama", dict(rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                         original_max_position_embeddings=16, rope_theta=100.0))),
    "llama_yarn": ("llama", dict(rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=1000.0))),
    "llama_yarn_mscale": ("llama", dict(rope_parameters=dict(rope_type="yarn", factor=4.0, mscale=0.8, mscale_all_dim=0.5, beta_fast=16,
                                                             beta_slow=2, truncate=False, original_max_position_embeddings=16,
                                                             rope_theta=1000.0))),
    "llama_longrope": ("llama", dict(rope_parameters=LONG)),
    "llama_longrope_short": ("llama", dict(rope_parameters=dict(LONG, original_max_position_embeddings=32))),
    "mistral": ("mistral", dict(sliding_window=4, head_dim=8)),
    "mistral_no_window": ("mistral", dict(sliding_window=None)),
    "qwen2": ("qwen2", dict(use_sliding_window=True, sliding_window=3, max_window_layers=1)),
    "qwen3": ("qwen3", dict(head_dim=10, tie_word_embeddings=True)),
    "qwen3_bias": ("qwen3", dict(head_dim=6, attention_bias=True)),
}
HEADS = {"causal": AutoModelForCausalLM, "sequence": AutoModelForSequenceClassification,
         "token": AutoModelForTokenClassification, "question": AutoModelForQuestionAnswering}


def weights(model, seed):
    """Parameter i of the model in name order gets values from a 32-bit linear congruential generator seeded by seed + i."""
    for i, (name, p) in enumerate(sorted(model.named_parameters())):
        n = p.numel()
        state = np.uint64(seed + i)
        values = np.empty(n, dtype=np.float32)
        s = int(state)
        for j in range(n):
            s = (1664525 * s + 1013904223) & 0xFFFFFFFF
            values[j] = ((s >> 8) & 0xFFFF) / 65536.0 - 0.5
        scale = 0.5 if "norm" in name else 0.4
        offset = 1.0 if "norm" in name else 0.0
        with torch.no_grad():
            p.copy_(torch.from_numpy(values).reshape(p.shape) * scale + offset)


def tokens(count, seed):
    return [3 + (seed * 31 + 7 * i * i + 5 * i) % 57 for i in range(count)]


def run(case, family, options, out):
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**BASE, **options}, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().float()
    weights(model, 1000)
    lengths, width = [12, 7, 1], 12
    ids = torch.zeros(3, width, dtype=torch.long)
    mask = torch.zeros(3, width, dtype=torch.long)
    labels = torch.full((3, width), -100)
    for b, n in enumerate(lengths):  # row 1 padded on the left, row 2 on the right
        at = slice(width - n, width) if b == 1 else slice(0, n)
        ids[b, at] = torch.tensor(tokens(n, b + 1))
        mask[b, at] = 1
        labels[b, at] = ids[b, at]
    labels[0, 4] = -100
    got = model(ids, attention_mask=mask, labels=labels, output_hidden_states=True, output_attentions=True)
    sdpa = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().float()   # what users get
    weights(sdpa, 1000)
    loss = sdpa(ids, attention_mask=mask, labels=labels)
    loss.loss.backward()
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": got.logits[mask.bool()], "loss": loss.loss, "padded_logits": loss.logits}
    tensors["hidden_states"] = torch.stack([h[mask.bool()] for h in got.hidden_states])
    tensors["attentions.0"] = torch.stack([a[0] for a in got.attentions])
    for name, p in sdpa.named_parameters():
        tensors["grad_norm." + name] = p.grad.norm()
        tensors["grad_head." + name] = p.grad.flatten()[:8]
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, f"{out}/{case}.safetensors")
    return model.config.to_diff_dict()


def run_heads(out):
    """The other heads on one family, with each kind of label."""
    config = AutoConfig.for_model("llama", **BASE, num_labels=3, attn_implementation="eager")
    ids = torch.tensor([tokens(9, 1), tokens(9, 2)])
    tensors = {"input_ids": ids}
    for head in ("sequence", "token", "question"):
        model = HEADS[head].from_config(config, attn_implementation="eager").eval().float()
        weights(model, 2000)
        if head == "sequence":
            for kind, labels in (("single", torch.tensor([2, 0])), ("multi", torch.tensor([[1.0, 0, 1], [0, 1, 0]])),
                                 ("regression", torch.tensor([[0.5, -1, 2], [0, 1, 3]]))):
                model.config.problem_type = {"single": "single_label_classification", "multi": "multi_label_classification"}.get(kind, kind)
                got = model(ids, labels=labels)
                tensors[f"sequence.{kind}.labels"], tensors[f"sequence.{kind}.loss"] = labels, got.loss
            tensors["sequence.logits"] = got.logits
        elif head == "token":
            labels = torch.tensor([[0, 1, 2, -100, 1, 0, 2, 2, 1], [-100, -100, 1, 1, 0, 0, 2, 1, 0]])
            got = model(ids, labels=labels)
            tensors["token.labels"], tensors["token.loss"], tensors["token.logits"] = labels, got.loss, got.logits
        else:
            start, end = torch.tensor([2, 40]), torch.tensor([5, 8])
            got = model(ids, start_positions=start, end_positions=end)
            tensors["question.start"], tensors["question.end"], tensors["question.loss"] = start, end, got.loss
            tensors["question.start_logits"], tensors["question.end_logits"] = got.start_logits, got.end_logits
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, f"{out}/heads.safetensors")
    return config.to_diff_dict()


if __name__ == "__main__":
    out = sys.argv[1]
    index = {"made_with": {"torch": torch.__version__, "transformers": transformers.__version__}, "cases": {}}
    for case, (family, options) in CASES.items():
        index["cases"][case] = run(case, family, options, out)
    index["heads"] = run_heads(out)
    with open(f"{out}/index.json", "w") as f:
        json.dump(index, f, indent=1)
