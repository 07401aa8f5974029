"""Trains on a larger text with Caravan and with Hugging Face tokenizers / sentencepiece: equal BPE merges, time, and for
Unigram tokens per text; the written files are loaded with both packages.

Usage: python scripts/differential_training.py build/release/bin/caravan_differential [TEXT_FILE]
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

import sentencepiece as spm
import tokenizers

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "golden"))
from trainer import train as train_hf  # noqa: E402


def train(binary, tmp, **options):
    out = os.path.join(tmp, "out")
    config = os.path.join(tmp, "training.json")
    json.dump({**options, "out": out}, open(config, "w"))
    start = time.time()
    subprocess.run([binary, "training", config], check=True)
    return out, time.time() - start


def main(binary, text=None):
    with tempfile.TemporaryDirectory() as tmp:
        if text is None:  # this Python's own library: half a million lines of real text
            text = os.path.join(tmp, "text.txt")
            files = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))
            open(text, "w").write("\n".join(open(f, encoding="utf-8", errors="ignore").read() for f in files)[:4_000_000])
        lines = [line.rstrip("\r") for line in open(text, encoding="utf-8", newline="\n").read().split("\n")]
        lines = lines[:-1] if lines[-1] == "" else lines
        for size, frequency in ((2000, 0), (8000, 2)):
            out, seconds = train(binary, tmp, text=text, algorithm="bpe", vocab_size=size, min_frequency=frequency, byte_level=True)
            start = time.time()
            hf = train_hf(lines, size, frequency)
            hf_seconds = time.time() - start
            ours = json.load(open(out + ".json"))["model"]["merges"]
            theirs = json.loads(hf.to_str())["model"]["merges"]
            same = sum(a == b for a, b in zip(ours, theirs))
            print(f"bpe {size}: {same} of {len(theirs)} merges equal in order; {seconds:.2f} s here, {hf_seconds:.2f} s in tokenizers (all cores)")
            tokenizers.Tokenizer.from_file(out + ".json")
        sample = [line for line in lines if line.strip()][:3000]
        for algorithm in ("bpe", "unigram"):
            out, seconds = train(binary, tmp, text=text, algorithm=algorithm, vocab_size=4000, byte_level=False, byte_fallback=True, special_tokens=["<s>", "</s>"])
            sp = spm.SentencePieceProcessor(model_file=out + ".model")
            hf = tokenizers.Tokenizer.from_file(out + ".json")
            ids = [hf.encode(line, add_special_tokens=False).ids for line in sample]
            equal = sum(sp.encode(line) == i for line, i in zip(sample, ids))
            start = time.time()
            spm.SentencePieceTrainer.train(input=text, model_prefix=os.path.join(tmp, "ref"), model_type=algorithm, vocab_size=4000, byte_fallback=True, normalization_rule_name="identity", minloglevel=2, num_threads=1, character_coverage=1.0)
            ref = spm.SentencePieceProcessor(model_file=os.path.join(tmp, "ref.model"))
            print(f"{algorithm} 4000 metaspace: {equal} of {len(sample)} lines equal in sentencepiece and tokenizers; {sum(map(len, ids))} tokens, "
                  f"{sum(len(ref.encode(line)) for line in sample)} with sentencepiece's own training; {seconds:.2f} s here, {time.time() - start:.2f} s there")


if __name__ == "__main__":
    main(*sys.argv[1:])
