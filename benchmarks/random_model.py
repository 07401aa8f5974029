#!/usr/bin/env python3
"""Writes a Hugging Face folder with random bf16 weights in the shape of a published model: speed depends on shapes, not on
what the weights say.

usage: random_model.py {llama-3.2-1b,qwen3-0.6b} OUT [--tokenizer FOLDER]     (needs transformers and torch)
then:  caravan quantize OUT out.gguf --type q4_0 --no-report;  benchmarks/bench_vs_llama_cpp.py out.gguf ...
"""
import argparse
import glob
import os
import shutil

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

SHAPES = {
    "llama-3.2-1b": (LlamaForCausalLM, LlamaConfig, dict(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, max_position_embeddings=131072, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_theta=500000.0, bos_token_id=128000, eos_token_id=128001)),
    "qwen3-0.6b": (Qwen3ForCausalLM, Qwen3Config, dict(
        vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, rms_norm_eps=1e-6, tie_word_embeddings=True,
        rope_theta=1000000.0, bos_token_id=151643, eos_token_id=151645)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--tokenizer", help="its files are copied: llama.cpp wants a vocabulary")
    options = parser.parse_args()
    model_class, config_class, values = SHAPES[options.shape]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model_class(config_class(**values)).save_pretrained(options.out)
    for path in glob.glob(os.path.join(options.tokenizer, "*token*")) if options.tokenizer else []:
        shutil.copy(path, options.out)


if __name__ == "__main__":
    main()
