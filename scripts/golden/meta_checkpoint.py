"""Goldens of Meta's layout: a tiny LLaMA as Hugging Face holds it and the same weights as Meta stores them.

Ran with torch 2.13.0, transformers 5.23.0. Usage: python meta_checkpoint.py OUT (tests/golden/meta_checkpoint)

The way to Meta's layout is the inverse of transformers' convert_llama_weights_to_hf.py; that it is the right one is shown
here by the attention scores, computed with Meta's complex rotation and with Hugging Face's rotate_half.
"""
import json
import os
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

DIM, HEADS, KV_HEADS, LAYERS, VOCAB, HIDDEN = 16, 4, 2, 2, 10, 24


def to_meta_rows(weight, heads):
    """Half-split rotary order -> neighbouring pairs."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def meta_state_dict(model):
    hf = model.state_dict()
    meta = {
        "tok_embeddings.weight": hf["model.embed_tokens.weight"],
        "norm.weight": hf["model.norm.weight"],
        "output.weight": hf["lm_head.weight"],
        "rope.freqs": 1.0 / (10000.0 ** (torch.arange(0, DIM // HEADS, 2).float() / (DIM // HEADS))),
    }
    for i in range(LAYERS):
        layer, out = f"model.layers.{i}.", f"layers.{i}."
        meta[out + "attention.wq.weight"] = to_meta_rows(hf[layer + "self_attn.q_proj.weight"], HEADS)
        meta[out + "attention.wk.weight"] = to_meta_rows(hf[layer + "self_attn.k_proj.weight"], KV_HEADS)
        meta[out + "attention.wv.weight"] = hf[layer + "self_attn.v_proj.weight"]
        meta[out + "attention.wo.weight"] = hf[layer + "self_attn.o_proj.weight"]
        meta[out + "feed_forward.w1.weight"] = hf[layer + "mlp.gate_proj.weight"]
        meta[out + "feed_forward.w2.weight"] = hf[layer + "mlp.down_proj.weight"]
        meta[out + "feed_forward.w3.weight"] = hf[layer + "mlp.up_proj.weight"]
        meta[out + "attention_norm.weight"] = hf[layer + "input_layernorm.weight"]
        meta[out + "ffn_norm.weight"] = hf[layer + "post_attention_layernorm.weight"]
    return meta


def split(meta, shards, embedding_dim):
    """Model parallelism as meta-llama's ColumnParallelLinear (dim 0), RowParallelLinear (dim 1) and embeddings do it."""
    dims = {"wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "output": 0, "wo": 1, "w2": 1, "tok_embeddings": embedding_dim}
    result = [{} for _ in range(shards)]
    for name, tensor in meta.items():
        dim = dims.get(name.split(".")[-2])
        parts = [tensor] * shards if dim is None else tensor.chunk(shards, dim)
        for shard, part in zip(result, parts):
            shard[name] = part.clone()
    return result


def scores_as_meta(q, k, width):
    """q, k [T, width]: Meta's apply_rotary_emb, neighbours as complex numbers."""
    freqs = 1.0 / (10000.0 ** (torch.arange(0, width, 2).float() / width))
    turn = torch.polar(torch.ones(q.shape[0], width // 2), torch.outer(torch.arange(q.shape[0]).float(), freqs))
    rotate = lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(x.shape[0], -1, 2)) * turn).flatten(1)
    return rotate(q) @ rotate(k).T


def scores_as_hugging_face(q, k, width):
    freqs = 1.0 / (10000.0 ** (torch.arange(0, width, 2).float() / width))
    angle = torch.outer(torch.arange(q.shape[0]).float(), freqs).repeat(1, 2)
    half = lambda x: torch.cat([-x[:, width // 2:], x[:, : width // 2]], 1)
    rotate = lambda x: x * angle.cos() + half(x) * angle.sin()
    return rotate(q) @ rotate(k).T


def check_rotation(model, meta):
    width, x = DIM // HEADS, torch.randn(7, DIM)
    hf = model.state_dict()
    for head in range(KV_HEADS):
        rows = slice(head * width, (head + 1) * width)
        a = scores_as_meta(x @ meta["layers.0.attention.wq.weight"][rows].float().T,
                           x @ meta["layers.0.attention.wk.weight"][rows].float().T, width)
        b = scores_as_hugging_face(x @ hf["model.layers.0.self_attn.q_proj.weight"][rows].float().T,
                                   x @ hf["model.layers.0.self_attn.k_proj.weight"][rows].float().T, width)
        torch.testing.assert_close(a, b)


def main(out):
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=DIM, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, vocab_size=VOCAB,
                         num_hidden_layers=LAYERS, intermediate_size=HIDDEN, tie_word_embeddings=False)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    for parameter in model.parameters():
        parameter.data.normal_()
    meta = meta_state_dict(model)
    check_rotation(model, meta)
    os.makedirs(out, exist_ok=True)
    torch.save(dict(model.state_dict()), f"{out}/expected.bin")
    params = {"dim": DIM, "multiple_of": 8, "n_heads": HEADS, "n_kv_heads": KV_HEADS, "n_layers": LAYERS, "norm_eps": 1e-5}
    llama3 = params | {"vocab_size": VOCAB, "rope_theta": 500000.0, "use_scaled_rope": True}
    layouts = {"llama2_1": (1, 1, params | {"vocab_size": -1}), "llama2_2": (2, 1, params | {"vocab_size": -1}),
               "llama3_2": (2, 0, llama3)}
    for name, (shards, embedding_dim, values) in layouts.items():
        os.makedirs(f"{out}/{name}", exist_ok=True)
        for i, shard in enumerate(split(meta, shards, embedding_dim)):
            torch.save(shard, f"{out}/{name}/consolidated.{i:02}.pth")
        with open(f"{out}/{name}/params.json", "w") as f:
            json.dump(values, f)


if __name__ == "__main__":
    main(sys.argv[1])
