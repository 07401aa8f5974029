#!/usr/bin/env python3
"""Kills `caravan train` at random instants and resumes it: the result must be that of a run that was left alone.

usage: tests/cli/train_resume.py PROGRAM [KILLS]
"""
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

CONFIG = """
seed = 11
[model]
model_type = "llama"
vocab_size = 40
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
hidden_dropout = 0.1
tie_word_embeddings = true
[data]
train = "{folder}/train.jsonl"
validation = "{folder}/validation.jsonl"
[training]
steps = 60
batch_tokens = 256
accumulation = 2
ema_decay = 0.95
[optimizer]
lr = 3e-3
[schedule]
name = "wsd"
warmup_steps = 5
[evaluation]
every = 20
[save]
every = 7
keep_last = 2
[log]
every = 4
"""


def write_examples(path, count, seed):
    draw = random.Random(seed)
    with open(path, "w") as file:
        for _ in range(count):
            ids = [draw.randrange(40), draw.randrange(40)]
            for _ in range(draw.randrange(4, 20)):
                ids.append((ids[-1] + 7) % 40)
            file.write(json.dumps({"ids": ids}) + "\n")


def command(program, folder, output, *more):
    return [program, "train", f"{folder}/run.toml", "--output", f"{folder}/{output}", "-q", "-t", "1", *more]


def metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "timing"} for row in rows]


def kill_and_resume(program, folder, kills):
    """Returns how many of the kills met a living process."""
    met, more = 0, []
    for n in range(kills):
        process = subprocess.Popen(command(program, folder, "killed", *more))
        started = time.monotonic()
        # After start-up, somewhere in the run: some kills fall into the writing of a checkpoint.
        while process.poll() is None and not (folder / "killed/metrics.jsonl").exists() and time.monotonic() - started < 60:
            time.sleep(0.01)
        time.sleep(random.Random(n).uniform(0.0, 0.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            met += 1
        process.wait()
        # A run that was killed before its first step left no checkpoint: --resume begins it then.
        more = ["--resume"]
    return met


def main():
    program, kills = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 6
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "run.toml").write_text(CONFIG.format(folder=folder))
        write_examples(folder / "train.jsonl", 150, 1)
        write_examples(folder / "validation.jsonl", 20, 2)
        subprocess.run(command(program, folder, "whole"), check=True)
        met = kill_and_resume(program, folder, kills)
        subprocess.run(command(program, folder, "killed", "--resume"), check=True)

        # Ctrl-C: the step is finished, everything is saved, the exit code says so.
        process = subprocess.Popen(command(program, folder, "stopped"), stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not (folder / "stopped/metrics.jsonl").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
        if process.returncode == 130:
            assert f"caravan train {folder}/stopped/config.toml --resume" in said, said
            subprocess.run([program, "train", "--resume", "--output", f"{folder}/stopped", "-q"], check=True)

        whole = (folder / "whole/final/model.safetensors").read_bytes()
        for other in ("killed", "stopped"):
            assert metrics(folder / "whole") == metrics(folder / other), f"{other}: other losses were logged"
            assert whole == (folder / other / "final/model.safetensors").read_bytes(), f"{other}: other weights"
        left = [p.name for p in (folder / "killed/checkpoints").iterdir()]
        assert len(left) <= 2, f"what interrupted saves left behind was not removed: {left}"
        rows = metrics(folder / "whole")
        assert rows[-2]["loss"] < 0.7 * rows[0]["loss"], "nothing was learned"
        print(f"{met} of {kills} kills met a running process; the results are bit-identical")


if __name__ == "__main__":
    main()
