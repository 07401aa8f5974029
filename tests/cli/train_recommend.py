#!/usr/bin/env python3
"""A planted rule, from an interaction log to recommendations: item i is followed by item 3 i + 7 mod 25.

SASRec over item ids, a LLaMA over item codes, and one over codes and items whose beams the items' own scores re-order must
put the one right item first for more than 95% of the users.
Usage: train_recommend.py CARAVAN
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ITEMS = 25
SHARED = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
          "hidden_dropout": 0.1}
KINDS = {
    "sasrec": {"model.model_type": "sasrec", "model.tie_word_embeddings": "true", "data.codes": "ids"},
    "codes": {"model.model_type": "llama-rec", "data.codes": "codes.tsv"},
    "codes and items": {"model.model_type": "llama-rec", "model.tie_word_embeddings": "true", "data.codes": "codes.tsv",
                        "data.item_tokens": "true", "training.objective": "codes_and_items", "evaluation.item_weight": 1},
}


def run(caravan, folder, *arguments):
    done = subprocess.run([caravan, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"caravan {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def write_log(folder):
    """300 users who begin anywhere and follow the rule for 7 to 11 items, and codes of two levels."""
    lines = []
    for user in range(300):
        items = [user * 7 % ITEMS]
        while len(items) < 7 + user % 5:
            items.append((3 * items[-1] + 7) % ITEMS)
        lines.append(f"u{user} " + " ".join(f"i{item}" for item in items))
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    rows = [f"i{item}\t{item // 5}\t{item % 5}" for item in range(ITEMS)]
    (folder / "codes.tsv").write_text("id\ta\tb\n" + "\n".join(rows) + "\n")


def first_hits(caravan, folder, name, settings):
    options = {"output": name, "data.kind": "items", "data.dataset": "data", "training.steps": 150,
               "training.batch_tokens": 512, "optimizer.lr": "1e-2"}
    options |= {f"model.{key}": value for key, value in SHARED.items()} | settings
    run(caravan, folder, "train", "-q", "-t", 1, *(part for key, value in options.items() for part in (f"--{key}", value)))
    # The rule has cycles: the right item may be one that the user had.
    text = run(caravan, folder, "eval", "recommend", "-m", f"{name}/final", "--data", "data", "--k", "1", "--seen", "include",
               "--json", "-q", "-t", 1)
    return json.loads(text)["results"][0]["metrics"][0]["recall"]


def main():
    caravan = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_log(folder)
        run(caravan, folder, "items", "prepare", "log.txt", "-o", "data", "-q")
        for kind, settings in KINDS.items():
            hits = first_hits(caravan, folder, kind, settings)
            print(f"{kind}: {hits:.3f} of the test items come first")
            if not hits > 0.95:
                sys.exit(f"{kind}: more than 0.95 is expected")


if __name__ == "__main__":
    main()
