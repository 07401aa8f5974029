#!/usr/bin/env python3
"""Trains and measures recommenders by the field's protocol: leave-one-out, full ranking, seen items excluded.

    benchmarks/recommend_quality.py --log Beauty.txt --items items.tsv --work runs/beauty --runs sasrec,generative
    benchmarks/recommend_quality.py --work runs/beauty --runs sasrec --seeds 0,1,2 --test

The experiments stand in recommend_quality.toml beside this file (--experiments names another). What is there already is
not made again, a training run that was stopped goes on where it was: start the same command again at any time. What to
keep is decided by the validation item alone; --test then measures the chosen setting of each run once on the test item.
Prints a Markdown table and writes it to WORK/results.md. Standard library only.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent


def run_caravan(args, *command):
    """Runs the program; returns its stdout and the processor seconds it took."""
    line = [args.caravan, *map(str, command)]
    print("+", " ".join(line), flush=True)
    began = resource_seconds()
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout, resource_seconds() - began


def resource_seconds():
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def options_of(table):
    for key, value in table.items():
        flag = "--" + key
        if isinstance(value, bool):
            value = str(value).lower()
        yield from (flag, str(value))


def prepare(args):
    data = args.work / "data"
    args.work.mkdir(parents=True, exist_ok=True)
    if not (data / "dataset.json").exists():
        if not args.log:
            raise SystemExit(f"{data} does not exist yet: --log (and --items) name what it is made of")
        items = ["--items", args.items] if args.items else []
        run_caravan(args, "items", "prepare", args.log, *items, "-o", data)
    return data


def codes_of(args, data, experiments, name):
    """The codes' path, or "ids"."""
    if name == "ids":
        return name
    folder = args.work / f"codes-{name}"
    if not (folder / "codes.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        run_caravan(args, "items", "build", "--data", data, "-o", folder, "-t", args.threads,
                    *options_of(experiments["codes"][name]))
    return folder / "codes.json"


def train(args, data, codes, settings, folder):
    """Processor seconds of training, over all the times that it was started."""
    spent_file = folder / "seconds.json"
    spent = json.loads(spent_file.read_text()) if spent_file.exists() else 0.0
    if (folder / "final" / "config.json").exists():
        return spent
    mode = ["--resume"] if (folder / "checkpoints").exists() else []
    fixed = {"output": folder, "data.kind": "items", "data.dataset": data, "data.codes": codes, "save.every": 500}
    _, seconds = run_caravan(args, "train", "-q", "-t", args.threads, *mode, *options_of(fixed | settings))
    spent_file.write_text(json.dumps(spent + seconds))
    return spent + seconds


def evaluate(args, data, folder, split, beams, weight):
    """R and N at 5 and 10."""
    part = f"{split}{args.max_users if split == 'validation' and args.max_users else ''}"
    kept = folder / f"{part}-beams{beams}-weight{weight}.json"
    if not kept.exists():
        extra = [] if weight is None else ["--item-weight", weight]
        if split == "validation" and args.max_users:
            extra += ["--max-users", args.max_users]
        text, _ = run_caravan(args, "eval", "recommend", "-m", folder / "final", "--data", data, "--split", split,
                              "--beams", beams, "--json", "-t", args.threads, *extra)
        kept.write_text(text)
    return numbers(json.loads(kept.read_text())["results"][0])


def numbers(result):
    by_k = {m["k"]: m for m in result["metrics"]}
    return [by_k[5]["recall"], by_k[5]["ndcg"], by_k[10]["recall"], by_k[10]["ndcg"]]


def mean(rows):
    return [statistics.mean(column) for column in zip(*rows)]


def row(name, split, values, deviation, minutes):
    cells = [f"{v:.4f}"[1:] + (f" ± {d:.4f}" if d else "") for v, d in zip(values, deviation)]
    return f"| {name} | {split} | " + " | ".join(cells) + f" | {minutes} |"


def resolve(runs, name):
    """A run's settings over those of the run that it is `like`."""
    run = runs[name]
    if "like" not in run:
        return run
    base = resolve(runs, run["like"])
    return base | run | {"train": base["train"] | run.get("train", {})}


def measure_run(args, data, experiments, name):
    """Table rows of one run over all seeds."""
    run = resolve(experiments["runs"], name)
    codes = codes_of(args, data, experiments, run["codes"])
    folders, seconds = [], []
    for seed in args.seeds:
        folder = args.work / f"{name}-seed{seed}"
        seconds.append(train(args, data, codes, run["train"] | {"seed": seed}, folder))
        folders.append(folder)
    minutes = f"{statistics.mean(seconds) / 60:.1f}"
    rows, best = [], None
    for beams in run["beams"]:
        for weight in run.get("item_weights", [None]):
            found = [evaluate(args, data, f, "validation", beams, weight) for f in folders]
            what = f"{name}, beams {beams}" + ("" if weight is None else f", item weight {weight}")
            rows.append(row(what, "validation", mean(found), spread(found), minutes))
            if best is None or mean(found)[3] > best[0]:
                best = (mean(found)[3], beams, weight, what)
    if args.test:
        found = [evaluate(args, data, f, "test", best[1], best[2]) for f in folders]
        rows.append(row(f"**{best[3]}**", "test", mean(found), spread(found), minutes))
    return rows


def spread(found):
    return [statistics.stdev(column) if len(found) > 1 else 0.0 for column in zip(*found)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caravan", default=str(HERE.parent / "build/release/bin/caravan"))
    parser.add_argument("--log", help="interactions, for `caravan items prepare`")
    parser.add_argument("--items", help="item descriptions")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for everything that is made")
    parser.add_argument("--experiments", type=pathlib.Path, default=HERE / "recommend_quality.toml")
    parser.add_argument("--runs", help="names, separated by commas (default: all)")
    parser.add_argument("--seeds", default="0", help="separated by commas (default: 0)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-users", type=int, default=0, help="validation: a sample of the users (default: all)")
    parser.add_argument("--test", action="store_true", help="measure the chosen settings on the test item")
    args = parser.parse_args()
    args.seeds = [int(seed) for seed in args.seeds.split(",")]
    experiments = tomllib.loads(args.experiments.read_text())
    names = args.runs.split(",") if args.runs else list(experiments["runs"])
    for name in names:
        if name not in experiments["runs"]:
            raise SystemExit(f"{args.experiments} has no run '{name}'; it has {', '.join(experiments['runs'])}")
    data = prepare(args)
    began, lines = time.time(), []
    for name in names:
        lines += measure_run(args, data, experiments, name)
    table = "| run | item | R@5 | N@5 | R@10 | N@10 | training, CPU min |\n|---|---|---|---|---|---|---|\n" + "\n".join(lines)
    (args.work / "results.md").write_text(table + "\n")
    print(f"\n{table}\n\n{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
