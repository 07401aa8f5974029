"""Ids that Hugging Face gives with the files of `caravan items tokenizer`: tests/golden/codes/tokenizer/.

Made with tokenizers 0.23.3 and transformers 5.23.0.
Usage: python scripts/golden/code_tokenizer.py build/release/bin/caravan tests/golden/codes/tokenizer
"""

import json
import os
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

DATASET = [
    "<a_101><b_42><c_999> <a_7><b_3>",
    "<a_5> <b_3> <c_0> <d_12>\t<a_101>",
    "<a_0><b_0><c_0><d_0><e_4>",
]
CASES = [
    "<a_101><b_42><c_999>",
    "<a_101> <b_42> <c_999>",
    "  <a_7>\n<b_3>  ",
    "<a_8><b_42>",  # an unseen code
    "<z_1> <a_5>",  # an unseen level
    "<s><a_7></s>",
    "<a_7><sep><a_5><pad><pad>",
    "",
    "hello <a_5>world<b_3>",
    "<a_5",
    "<A_5>",
]


def main(caravan, folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
        text.write("\n".join(DATASET) + "\n")
        text.flush()
        options = ["--special-tokens", "<sep>", "--add-bos", "--add-eos", "--overwrite"]
        subprocess.run([caravan, "items", "tokenizer", "-f", text.name, "-o", folder, *options], check=True)
    rust = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    fast = PreTrainedTokenizerFast.from_pretrained(folder)
    assert (fast.bos_token, fast.eos_token, fast.unk_token, fast.pad_token) == ("<s>", "</s>", "<unk>", "<pad>")
    assert fast.model_max_length == 512 and "<sep>" in fast.all_special_tokens + list(fast.additional_special_tokens if hasattr(fast, "additional_special_tokens") else ["<sep>"])
    cases = [{"text": t, "tokenizers": rust.encode(t).ids, "transformers": fast(t)["input_ids"]} for t in CASES]
    with open(os.path.join(folder, "ids.json"), "w") as out:
        json.dump({"dataset": DATASET, "cases": cases}, out, indent=1)


main(*sys.argv[1:])
