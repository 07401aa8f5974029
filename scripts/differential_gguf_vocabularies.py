#!/usr/bin/env python3
"""Compare Caravan's reading of GGUF vocabularies with llama.cpp's own test files (models/ggml-vocab-*.gguf and .inp, .out).

usage: differential_gguf_vocabularies.py CARAVAN FOLDER [--llama]
FOLDER is `models` of llama.cpp's source. --llama: compare with llama-cpp-python's tokenizer on random texts as well, also
for vocabularies without .out files. Written against llama.cpp 0.3.36 (llama-cpp-python).
"""
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

SEPARATOR = "\n__ggml_vocab_test__\n"
WORDS = ["Hello", "world", " ", "  ", "\t", "\n", "\n\n", "\r\n", "'s", "'LL", "don't", "I'm", "123", "4567", "3.14", "über", "naïve", "ÄÖ", "e\u0301", "中文字", "日本語",
         "한국어", "🤗", "👩‍👩‍👧", "ﬁ", "½", "²", "…", "—", "«»", "<s>", "</s>", "▁", "#", "##ing", "@", "C++", "_a_b", "(x)[y]{z}", "http://a.b/c?d=e&f", "مرحبا", "שלום",
         "Ǆ", "ß", "İ", "ς", "\u00a0", "\u200b", "\u3000", "a" * 17, "=" * 9, "....", "\x01", "हिन्दी", "ไทย", "𝒳", "Ω", "!?", "\"quoted\"", "`code`", "$5", "€", "x" , "Y", "zZ"]


def random_text(rng):
    return "".join(rng.choice(WORDS) + rng.choice(["", "", " "]) for _ in range(rng.randint(1, 14)))


def caravan_ids(caravan, path, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as f:
        for text in texts:
            f.write(json.dumps({"text": text}) + "\n")
        f.flush()
        run = subprocess.run([caravan, "tokenize", "-m", path, "-f", f.name, "--jsonl", "--json", "--no-special"], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr.strip())
    return [json.loads(line)["ids"] for line in run.stdout.splitlines()]


def expected_of_files(path):
    with open(path + ".inp", newline="", encoding="utf-8") as f:
        texts = f.read().split(SEPARATOR)
    with open(path + ".out", encoding="utf-8") as f:
        lines = f.read().split("\n")
    return texts, [[int(i) for i in line.split()] for line in lines[:len(texts)]]


def expected_of_llama(path, seed):
    import llama_cpp
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    rng = random.Random(seed)
    texts = [random_text(rng) for _ in range(300)]
    return texts, [model.tokenize(t.encode(), add_bos=False, special=True) for t in texts]


def compare(name, caravan, path, texts, wanted):
    try:
        got = caravan_ids(caravan, path, texts)
    except RuntimeError as error:
        print(f"{name}: {error}")
        return
    wrong = [i for i in range(len(texts)) if got[i] != wanted[i]]
    print(f"{name}: {len(texts) - len(wrong)} of {len(texts)} equal")
    for i in wrong[:3]:
        print(f"  {texts[i]!r}\n    caravan   {got[i]}\n    llama.cpp {wanted[i]}")


def main():
    caravan, folder = sys.argv[1:3]
    for path in sorted(glob.glob(os.path.join(folder, "*.gguf"))):
        name = os.path.basename(path)
        if os.path.exists(path + ".inp"):
            compare(name, caravan, path, *expected_of_files(path))
        if "--llama" in sys.argv:
            compare(name + " (random texts)", caravan, path, *expected_of_llama(path, name))


main()
