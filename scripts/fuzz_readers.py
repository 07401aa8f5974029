"""Sends mutated files through every reader of Caravan: safetensors, GGUF, torch, Flax, Meta, tokenizer.json,
tokenizer.model, config.json and chat templates. Meant for the build with sanitizers.

Usage: python scripts/fuzz_readers.py build/asan/bin/caravan_differential [--runs 100000] [--seed 1] [--seconds 600] [--folder KEEP]
Needs the packages tokenizers, sentencepiece and gguf for the seeds. The program's output is a count of outcomes; the file
that was read when it ended too early lies in FOLDER/now.
"""
import argparse
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "golden"))
GOLDEN = os.path.join(HERE, "..", "tests", "golden")

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
          "vocab_size": 5, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 32, "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float32", "eos_token_id": [1, 2],
          "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 16, "original_max_position_embeddings": 16}}
LAYER = "model.layers.0."
SHAPES = {"model.embed_tokens.weight": [5, 8], LAYER + "input_layernorm.weight": [8], LAYER + "self_attn.q_proj.weight": [8, 8], LAYER + "self_attn.k_proj.weight": [4, 8], LAYER + "self_attn.v_proj.weight": [4, 8],
          LAYER + "self_attn.o_proj.weight": [8, 8], LAYER + "post_attention_layernorm.weight": [8], LAYER + "mlp.gate_proj.weight": [12, 8], LAYER + "mlp.up_proj.weight": [12, 8], LAYER + "mlp.down_proj.weight": [8, 12],
          "model.norm.weight": [8], "lm_head.weight": [5, 8]}


def safetensors(names):
    header, data = {}, b""
    for name in names:
        count = 1
        for n in SHAPES[name]:
            count *= n
        begin = len(data)
        data += struct.pack(f"<{count}f", *[0.5 + i / 64 for i in range(count)])
        header[name] = {"dtype": "F32", "shape": SHAPES[name], "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def checkpoint_folder(path, shards):
    os.makedirs(path)
    names = list(SHAPES)
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        with open(os.path.join(path, file), "wb") as out:
            out.write(safetensors(names[i::shards]))
    if shards > 1:
        index = {"metadata": {"total_size": 1}, "weight_map": {n: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, n in enumerate(names)}}
        json.dump(index, open(os.path.join(path, "model.safetensors.index.json"), "w"))
    json.dump(CONFIG, open(os.path.join(path, "config.json"), "w"))
    json.dump({"temperature": 0.5, "eos_token_id": [1, 2]}, open(os.path.join(path, "generation_config.json"), "w"))


def gguf_file(path):
    import gguf
    import numpy
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1), writer.add_context_length(32), writer.add_embedding_length(32), writer.add_feed_forward_length(32), writer.add_head_count(2), writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5), writer.add_rope_dimension_count(16), writer.add_rope_freq_base(10000.0), writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", "a", "b"]), writer.add_token_scores([0.0] * 5), writer.add_token_types([2, 3, 3, 1, 1]), writer.add_bos_token_id(1), writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    for name, shape in {"token_embd.weight": (5, 32), "output.weight": (5, 32), "output_norm.weight": (32,), "blk.0.attn_norm.weight": (32,), "blk.0.ffn_norm.weight": (32,), "blk.0.attn_q.weight": (32, 32), "blk.0.attn_k.weight": (16, 32),
                        "blk.0.attn_v.weight": (16, 32), "blk.0.attn_output.weight": (32, 32), "blk.0.ffn_gate.weight": (32, 32), "blk.0.ffn_up.weight": (32, 32), "blk.0.ffn_down.weight": (32, 32)}.items():
        writer.add_tensor(name, numpy.full(shape, 0.5, dtype=numpy.float16 if len(shape) > 1 else numpy.float32))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()


def make_seeds(folder):
    import tokenizer_kinds
    from chat_template_cases import GROUPS
    os.makedirs(folder)
    for path in glob.glob(os.path.join(GOLDEN, "torch_checkpoint", "*")) + glob.glob(os.path.join(GOLDEN, "formats", "*")):
        shutil.copy(path, folder)
    for path in glob.glob(os.path.join(GOLDEN, "meta_checkpoint", "llama*")):
        shutil.copytree(path, os.path.join(folder, "meta_" + os.path.basename(path)))
    checkpoint_folder(os.path.join(folder, "folder_one"), 1)
    checkpoint_folder(os.path.join(folder, "folder_two"), 2)
    gguf_file(os.path.join(folder, "small.gguf"))
    for name, tokenizer in tokenizer_kinds.published().items():
        tokenizer.save(os.path.join(folder, name + "_tokenizer.json"), pretty=False)
    import io
    import sentencepiece
    for kind in ("unigram", "bpe", "word", "char"):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(tokenizer_kinds.CORPUS), model_writer=model, model_type=kind, vocab_size=200, byte_fallback=kind == "bpe" and False, hard_vocab_limit=False, minloglevel=2)
        open(os.path.join(folder, kind + ".model"), "wb").write(model.getvalue())
    templates = [t for cases in GROUPS.values() for t, *_ in cases]
    for i in range(0, len(templates), 40):
        with open(os.path.join(folder, f"cases{i}.jinja"), "w", encoding="utf-8") as out:
            out.write("".join(t for t in templates[i:i + 40] if t.count("{%") == t.count("%}")))
    for path in glob.glob(os.path.join(HERE, "..", "..", "shared", "chat_templates", "*.jinja")):
        shutil.copy(path, folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--runs", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--folder", help="kept; its seeds are used again")
    parser.add_argument("--only", default="", help="seeds whose name has this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        if not os.path.exists(os.path.join(folder, "seeds")):
            make_seeds(os.path.join(folder, "seeds"))
        if options.only:
            for name in os.listdir(os.path.join(folder, "seeds")):
                path = os.path.join(folder, "seeds", name)
                if options.only not in name:
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        json.dump({"runs": options.runs, "seed": options.seed, "seconds": options.seconds}, open(os.path.join(folder, "runs.json"), "w"))
        done = subprocess.run([options.binary, "fuzz", folder])
        if done.returncode not in (0, 1):
            shutil.copytree(os.path.join(folder, "now"), "fuzz_crash", dirs_exist_ok=True)
            print(f"ended with {done.returncode}; the input is in fuzz_crash/")
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
