"""Fuzzed texts through tokenizers made of SentencePiece models and of GGUF vocabularies, against the sentencepiece
package, and against Hugging Face tokenizers for GGUF (--gguf FILE --hf tokenizer.json). Also loads what to_json() wrote with
Hugging Face tokenizers and compares ids, tokens, offsets and decoded text.

Made with sentencepiece 0.2.3, tokenizers 0.23, gguf 0.19.
Usage: python scripts/differential_vocabularies.py build/release/bin/caravan_differential [--gguf FILE --hf FILE] [MODEL.model ...]
"""
import argparse
import io
import json
import os
import random
import subprocess
import tempfile

import sentencepiece as spm
import tokenizers

WORDS = ["Hello", "world", "the", "a", "naïve", "Straße", "東京", "こんにちは", "안녕", "привет", "😀", "👩‍👩‍👧", "1234", "3.14", "x=1;", "don't", "I'LL",
         "http://a.b/c?d=e", "\t", "\n", "\n\n", "  ", "   ", "\u00a0", "\u3000", "ﬁ", "Å", "e\u0301", "²", "½", "…", "“q”", "</s>x", "_", "##", "ａｂ", "العربية", "हिन्दी", "\u200b", "\r\n", "0", "99999", "ⅷ", "Zürich", "CamelCase", "snake_case", "(", ")", "▁", "▁▁"]


def texts(n, seed=1, exclude=()):
    r = random.Random(seed)
    pool = [w for w in WORDS if w not in exclude]
    out = ["", " ", "a", " a ", "  a  b  "]
    while len(out) < n:
        k = r.randint(1, 12)
        kind = r.random()
        if kind < 0.75:
            out.append("".join(r.choice(pool) + r.choice(["", " ", " ", "  "]) for _ in range(k)))
        else:
            out.append("".join(chr(r.choice([r.randint(32, 126), r.randint(0xA0, 0x24F), r.randint(0x370, 0x5FF), r.randint(0x4E00, 0x4F00), r.randint(0x1F600, 0x1F64F)])) for _ in range(k * 2)))
    return out


def run(binary, kind, file, cases, special=False):
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "cases.json")
        json.dump({"kind": kind, "file": file, "texts": cases, "special": special, "save": os.path.join(tmp, "saved.json")}, open(path, "w"))
        r = subprocess.run([binary, "vocabularies", path], capture_output=True, text=True)
        if r.returncode:
            print(r.stderr[-1500:])
            raise SystemExit(1)
        got = [json.loads(line) for line in open(path + ".out")]
        return got, tokenizers.Tokenizer.from_file(os.path.join(tmp, "saved.json"))


def compare_hf(name, hf, cases, got, special=False):
    bad = []
    for text, g in zip(cases, got):
        e = hf.encode(text, add_special_tokens=special)
        want = {"ids": e.ids, "tokens": e.tokens, "offsets": [list(o) for o in e.offsets], "text": hf.decode(e.ids)}
        if want != g:
            bad.append((text, {k: (want[k], g[k]) for k in want if want[k] != g[k]}))
    print(f"{name}: {len(cases) - len(bad)} of {len(cases)} equal to Hugging Face tokenizers (ids, tokens, offsets, text)")
    for b in bad[:3]:
        print("   ", json.dumps(b, ensure_ascii=False)[:500])


def compare_spm(binary, model, n):
    sp = spm.SentencePieceProcessor(model_file=model)
    cases = texts(n, exclude=("</s>x",))
    got, hf = run(binary, "sentencepiece", model, cases)
    bad = [(t, sp.encode(t), g["ids"], sp.encode(t, out_type=str)) for t, g in zip(cases, got) if sp.encode(t) != g["ids"]]
    known = [g for g in got if sp.unk_id() not in g["ids"]]
    text = sum(sp.decode(g["ids"]) == g["text"] for g in known)
    print(f"{os.path.basename(model)}: ids {len(cases) - len(bad)} of {len(cases)} equal to sentencepiece, decoded text {text} of {len(known)} without unknowns")
    for b in bad[:3]:
        print("   ", json.dumps(b, ensure_ascii=False)[:400])
    compare_hf("    its to_json()", hf, cases, got)


def train_models(folder):
    r = random.Random(7)
    lines = [" ".join(r.choice(WORDS[:30] + ["lorem", "ipsum", "dolor", "tokenization", "tokenizer", "model", "models"]) for _ in range(12)).replace("\n", " ") for _ in range(3000)]
    out = []
    for name, options in {
        "unigram_nfkc": dict(model_type="unigram"), "bpe_nfkc": dict(model_type="bpe"),
        "bpe_bytes": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
        "unigram_bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=700), "unigram_cf": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf"),
        "bpe_noprefix": dict(model_type="bpe", add_dummy_prefix=False), "char": dict(model_type="char"), "bpe_across": dict(model_type="bpe", split_by_whitespace=False, byte_fallback=True, vocab_size=800),
        "unigram_across": dict(model_type="unigram", split_by_whitespace=False), "suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True),
    }.items():
        buffer = io.BytesIO()
        options = {"vocab_size": 500, "character_coverage": 1.0, "hard_vocab_limit": False, "minloglevel": 2, **options}
        spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=buffer, **options)
        out.append(os.path.join(folder, name + ".model"))
        open(out[-1], "wb").write(buffer.getvalue())
    return out


def compare_gguf(binary, gguf_file, hf_file, n):
    import gguf
    fields = gguf.GGUFReader(gguf_file).fields
    get = lambda k, d=None: fields["tokenizer.ggml." + k].contents() if "tokenizer.ggml." + k in fields else d
    v = {"model": get("model"), "pre": get("pre", ""), "tokens": get("tokens"), "scores": get("scores", []), "token_types": get("token_type", []), "merges": get("merges", []), "bos_id": get("bos_token_id"), "eos_id": get("eos_token_id"), "add_bos": get("add_bos_token", False)}
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "vocabulary.json")
        json.dump(v, open(path, "w"))
        hf = tokenizers.Tokenizer.from_file(hf_file)
        if v["pre"] == "smollm":  # transformers' conversion of a GGUF forgets that digits stand alone; the model's own file says so
            hf.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
        cases = texts(n) + ["<|im_start|>user\nHi<|im_end|>\n" + t for t in texts(50, seed=3)]
        got, saved = run(binary, "gguf", path, cases, special=True)
        compare_hf(os.path.basename(gguf_file), hf, cases, got, special=True)
        compare_hf("    its to_json()", saved, cases, got, special=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("binary")
    p.add_argument("models", nargs="*")
    p.add_argument("--gguf")
    p.add_argument("--hf")
    p.add_argument("-n", type=int, default=2000)
    a = p.parse_args()
    if a.gguf:
        compare_gguf(a.binary, a.gguf, a.hf, a.n)
    with tempfile.TemporaryDirectory() as folder:
        for model in a.models or train_models(folder):
            compare_spm(a.binary, model, a.n)
