"""Small files that the transcripts work on: a LLaMA of 2 layers with a word-level tokenizer and a chat template."""
import json
import os
import shutil
import struct


def tensors(c=8, f=16):
    v, h, k, d = 12, 2, 1, 4
    yield "model.embed_tokens.weight", [v, c]
    for i in range(2):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [c]
        yield p + "self_attn.q_proj.weight", [h * d, c]
        yield p + "self_attn.k_proj.weight", [k * d, c]
        yield p + "self_attn.v_proj.weight", [k * d, c]
        yield p + "self_attn.o_proj.weight", [c, h * d]
        yield p + "post_attention_layernorm.weight", [c]
        yield p + "mlp.gate_proj.weight", [f, c]
        yield p + "mlp.up_proj.weight", [f, c]
        yield p + "mlp.down_proj.weight", [c, f]
    yield "model.norm.weight", [c]
    yield "lm_head.weight", [v, c]


def write_model(path, rename=lambda name: name, scale=0.1, **sizes):
    """The tensors that `rename` gives a name."""
    stored, state = {}, 12345
    for name, shape in tensors(**sizes):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = []
        for _ in range(count):  # a linear congruential generator: the same numbers everywhere
            state = (state * 1103515245 + 12345) % 2**31
            values.append(1.0 if len(shape) == 1 else (state / 2**30 - 1) * scale)
        if rename(name):
            stored[rename(name)] = ("F32", shape, struct.pack(f"<{count}f", *values))
    write_safetensors(path, stored)


def write_safetensors(path, stored):
    header, data = {}, b""
    for name, (dtype, shape, raw) in stored.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {name: t for name, t in json.loads(data[8:begin]).items() if name != "__metadata__"}
    return {name: (t["dtype"], t["shape"], data[begin + t["data_offsets"][0]:begin + t["data_offsets"][1]])
            for name, t in tensors.items()}


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 12, "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 64,
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
}

WORDS = ["<unk>", "<s>", "</s>", "the", "cat", "sat", "on", "mat", "a", "dog", "ran", "."]

TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": i, "content": WORDS[i], "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True} for i in range(3)],
    "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                                {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": None, "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(WORDS)}, "unk_token": "<unk>"},
}

TEMPLATE = ("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")


def pieces_model():
    """A SentencePiece model (protobuf) of WORDS as a Unigram vocabulary: unknown, control, then normal pieces."""
    def field(number, kind, payload):
        return bytes([number << 3 | kind]) + (bytes([len(payload)]) + payload if kind == 2 else payload)

    out = b""
    for i, word in enumerate(WORDS):
        text = word if i < 3 else "\u2581" + word
        out += field(1, 2, field(1, 2, text.encode()) + field(2, 5, struct.pack("<f", -i)) +
                     field(3, 0, bytes([2 if i == 0 else 3 if i < 3 else 1])))
    return out + field(2, 2, field(3, 0, b"\1"))  # trainer_spec.model_type: unigram


SAME = """import json, struct, sys

def read(folder):
    data = open(folder + "/model.safetensors", "rb").read()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    return {k: (v["shape"], data[begin + v["data_offsets"][0]:begin + v["data_offsets"][1]]) for k, v in header.items()}

print(read(sys.argv[1]) == read(sys.argv[2]))
"""


# Rows of logits [1, T, V] that `forward` wrote: whether two files have the same first row; whether the last row's largest
# log probability is the score of the one token that `generate` found.
ROWS = """import json, math, struct, sys

def rows(path):
    data = open(path, "rb").read()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    _, t, v = json.loads(data[8:begin])["logits"]["shape"]
    numbers = struct.unpack(f"<{t * v}f", data[begin:begin + 4 * t * v])
    return [numbers[i * v:(i + 1) * v] for i in range(t)]

if sys.argv[1] == "first":
    print(rows(sys.argv[2])[0] == rows(sys.argv[3])[0])
else:
    last, found = rows(sys.argv[2])[-1], json.loads(sys.argv[3])["sequences"][0]
    log_p = last[found["ids"][0]] - math.log(sum(map(math.exp, last)))
    print(found["ids"] == [last.index(max(last))] and abs(log_p - found["score"]) < 1e-5)
"""


# Other models in the place of the tokenizer of suffix/ and twins/.
SUFFIX = """import json

t = json.load(open("suffix/tokenizer.json"))
t["model"] = {"type": "BPE", "vocab": t["model"]["vocab"], "merges": [], "end_of_word_suffix": "</w>", "unk_token": "<unk>"}
json.dump(t, open("suffix/tokenizer.json", "w"))
"""

TWINS = """import json

t = json.load(open("twins/tokenizer.json"))
pieces = ["<unk>", "<s>", "</s>", "a", "b", "", "\\0", "a", "<s>"]
t["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -i] for i, piece in enumerate(pieces)]}
json.dump(t, open("twins/tokenizer.json", "w"))
"""


def write_quantized(path, model):
    """A copy whose projections are 8-bit floats with scales, as fp8 checkpoints have them."""
    shutil.copytree(model, path)
    stored = {}
    for name, (dtype, shape, raw) in read_safetensors(os.path.join(model, "model.safetensors")).items():
        if "_proj" in name:
            stored[name + "_scale_inv"] = ("F32", [1], raw[:4])
            dtype, raw = "F8_E4M3", raw[:len(raw) // 4]
        stored[name] = (dtype, shape, raw)
    write_safetensors(os.path.join(path, "model.safetensors"), stored)
    change_config(path, quantization_config={"quant_method": "fp8"})


def write_smaller(path, model):
    """A copy with half of the vocabulary."""
    shutil.copytree(model, path)
    stored = read_safetensors(os.path.join(model, "model.safetensors"))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        dtype, (rows, columns), raw = stored[name]
        stored[name] = (dtype, [rows // 2, columns], raw[:len(raw) // 2])
    write_safetensors(os.path.join(path, "model.safetensors"), stored)
    change_config(path, vocab_size=6)


def change_config(path, **keys):
    with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config | keys, file)


def write_all(folder):
    model = os.path.join(folder, "tiny")
    os.makedirs(model)
    write_model(os.path.join(model, "model.safetensors"))
    bare = os.path.join(folder, "bare")  # as AutoModel saves it: no head, names without "model."
    os.makedirs(bare)
    write_model(os.path.join(bare, "model.safetensors"), lambda name: name[6:] if name.startswith("model.") else None)
    with open(os.path.join(bare, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG | {"architectures": ["LlamaModel"]}, file)
    ids = ("I32", [1, 3], struct.pack("<3i", 1, 3, 4))
    inputs = {"input_ids": ids, "attention_mask": ("BOOL", [1, 3], b"\0\1\1"), "labels": ids}
    write_safetensors(os.path.join(folder, "inputs.safetensors"), inputs)
    write_safetensors(os.path.join(folder, "decoder.safetensors"), inputs | {"decoder_input_ids": ids})
    for name, value in (("config.json", CONFIG), ("tokenizer.json", TOKENIZER),
                        ("tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE})):
        with open(os.path.join(model, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    wide = os.path.join(folder, "wide")  # rows that blocks of 32 fit into, but for o_proj's
    shutil.copytree(model, wide)
    write_model(os.path.join(wide, "model.safetensors"), c=32, f=64)
    with open(os.path.join(wide, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG | {"hidden_size": 32, "intermediate_size": 64}, file)
    write_quantized(os.path.join(folder, "fp8"), wide)
    write_smaller(os.path.join(folder, "halved"), wide)
    with open(os.path.join(folder, "cats.txt"), "w", encoding="utf-8") as file:
        file.write("the cat sat on the mat . a dog ran . the dog sat on a cat . " * 40)
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "recommend")
    shutil.copytree(golden, os.path.join(folder, "films"))
    pieces = os.path.join(folder, "pieces")  # its tokenizer is a tokenizer.model alone
    shutil.copytree(model, pieces)
    os.remove(os.path.join(pieces, "tokenizer.json"))
    with open(os.path.join(pieces, "tokenizer.model"), "wb") as file:
        file.write(pieces_model())
    for name, text in (("broken.safetensors", b"\x10\x00\x00"), ("same.py", SAME.encode()), ("rows.py", ROWS.encode()),
                       ("suffix.py", SUFFIX.encode()), ("twins.py", TWINS.encode()),
                       ("text.txt", b"the cat sat\na \xff dog\n")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(text)
