"""Writes tests/golden/trainer/bpe.json: merges of the Hugging Face BPE trainer on a small text.

Made with tokenizers 0.23.3. Usage: python scripts/golden/trainer.py tests/golden/trainer
"""
import json
import os
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def train(texts, vocab_size, min_frequency=0, special_tokens=()):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=list(special_tokens), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def main(folder):
    r = random.Random(5)
    words = ["low", "lower", "lowest", "newer", "newest", "wide", "wider", "aaaa", "aaaaaa", "abab", "ababab", "naïve", "Straße", "中文", "😀", "12", "123", "don't", "...", "xyzxyz", "mississippi"]
    texts = [" ".join(r.choice(words) + r.choice(["", "s", "ing", ",", "!"]) for _ in range(12)) for _ in range(60)]
    cases = []
    for vocab_size, min_frequency, special in ((300, 0, []), (400, 0, ["<s>", "</s>"]), (1000, 3, ["<|end|>"]), (2000, 0, [])):
        model = json.loads(train(texts, vocab_size, min_frequency, special).to_str())["model"]
        cases.append({"vocab_size": vocab_size, "min_frequency": min_frequency, "special_tokens": special, "vocab": len(model["vocab"]), "merges": model["merges"]})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "bpe.json"), "w", encoding="utf-8") as out:
        json.dump({"made_with": "tokenizers 0.23.3", "texts": texts, "cases": cases}, out, ensure_ascii=False)
        out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
