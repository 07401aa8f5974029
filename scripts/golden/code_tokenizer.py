"""LLaMA-Rec's ids, and those that Hugging Face gives with the files of `caravan items tokenizer`:
tests/golden/codes/tokenizer/.

Made with tokenizers 0.23.3 and transformers 5.23.0.
Usage: python scripts/golden/code_tokenizer.py build/release/bin/caravan tests/golden/codes/tokenizer
"""

import json
import os
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
DATASET = [
    "<a_101> <b_42> <c_999> <a_5000>",
    "<b_42> <c_888>",
    "<a_9> <a_10>  <z_1> <d_2048>",  # an empty word between two spaces
    "user_3 <e_4> <E_4>",
]
CASES = [
    "<a_101> <b_42> <c_999>",
    "<b_42> <z_9999> <a_101>",  # an unseen code
    "<a_101><b_42>",  # one word
    "  <a_9>\n<a_10>\t<a_5000>  ",
    "[BOS] <a_9> [EOS]",
    "",
    "hello <a_9>",
    "<a_9",
    "<E_4> <e_4> user_3",
]


def llama_rec(dataset):
    """What its create_rq_code_tokenizer does: words between single spaces, sorted, behind the special tokens."""
    words = sorted({word for text in dataset for word in text.split(" ")})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]",
                                   eos_token="[EOS]", model_max_length=512, padding_side="left")


def main(caravan, folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as rows:
        rows.write("".join(json.dumps({"text": text}) + "\n" for text in DATASET))
        rows.flush()
        subprocess.run([caravan, "items", "tokenizer", "-f", rows.name, "-o", folder, "--overwrite"], check=True)
    rust = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    fast = PreTrainedTokenizerFast.from_pretrained(folder)
    theirs = llama_rec(DATASET)
    assert (fast.pad_token, fast.unk_token, fast.bos_token, fast.eos_token) == tuple(SPECIAL)
    assert fast.model_max_length == 512 and fast.padding_side == "left" and fast.get_vocab() == theirs.get_vocab()
    cases = [{"text": t, "llama_rec": theirs(t)["input_ids"], "tokenizers": rust.encode(t).ids,
              "transformers": fast(t)["input_ids"]} for t in CASES]
    with open(os.path.join(folder, "ids.json"), "w") as out:
        json.dump({"dataset": DATASET, "cases": cases}, out, indent=1)


main(*sys.argv[1:])
