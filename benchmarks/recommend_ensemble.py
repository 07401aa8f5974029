#!/usr/bin/env python3
"""What several recommenders give together: the mean of their log probabilities orders the items that any of them found.

    benchmarks/recommend_ensemble.py --data runs/beauty/data --models runs/beauty/generative-seed0/final ...

By the field's protocol: the last item of every user with three or more, full ranking, seen items excluded. An item that one
model's beams did not find counts as a little less likely than the last one that they did. Prints recall and NDCG at 10 of each
model and of all together. Standard library only.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def read_users(data):
    """(history, target) by item ids, of everybody who has a test item."""
    ids = [json.loads(line)["id"] for line in open(data / "items.jsonl")]
    for line in open(data / "sequences.jsonl"):
        items = json.loads(line)["items"]
        if len(items) >= 3:
            yield [ids[i] for i in items[:-1]], ids[items[-1]]


def found_by(args, model, users):
    """For each user the items found, with their scores."""
    with tempfile.TemporaryDirectory() as folder:
        histories, answers = pathlib.Path(folder) / "histories.jsonl", pathlib.Path(folder) / "answers.jsonl"
        histories.write_text("".join(json.dumps({"user": str(i), "history": h}) + "\n" for i, (h, _) in enumerate(users)))
        subprocess.run([args.caravan, "recommend", "-q", "-m", model, "-i", histories, "-o", answers, "-k", str(args.beams),
                        "--beams", str(args.beams), "-t", str(args.threads)], check=True)
        rows = [json.loads(line) for line in open(answers)]
    return [dict(zip(row["items"], row["scores"])) for row in rows]


def together(lists):
    floors = [min(scores.values(), default=0.0) - 1.0 for scores in lists]
    items = set().union(*lists)
    return {item: sum(scores.get(item, floor) for scores, floor in zip(lists, floors)) / len(lists) for item in items}


def measure(scores, users):
    recall = ndcg = 0.0
    for found, (_, target) in zip(scores, users):
        if target in found:
            rank = sum(score > found[target] for score in found.values())
            if rank < 10:
                recall += 1
                ndcg += 1 / math.log2(rank + 2)
    return recall / len(users), ndcg / len(users)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caravan", default=str(HERE.parent / "build/release/bin/caravan"))
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--beams", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    users = list(read_users(args.data))
    found = [found_by(args, model, users) for model in args.models]
    for name, scores in [*zip(args.models, found), ("together", [together(lists) for lists in zip(*found)])]:
        print("{}: R@10 {:.4f}, N@10 {:.4f}".format(name, *measure(scores, users)))


if __name__ == "__main__":
    main()
