#!/usr/bin/env python3
"""`mpirun -n 2 caravan train` against one process: the same weights and losses, exact resume, clean stops.

usage: tests/cli/train_parallel.py PROGRAM       exit code 77: there is no mpirun, or the program was built without MPI
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from train_resume import CONFIG, metrics, write_examples

SKIPPED = 77
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
               "OMPI_MCA_odls_base_sigkill_timeout": "5", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
               "OMPI_MCA_btl": "self,vader"}


class Runs:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def command(self, processes, output, *more):
        mpirun = ["mpirun", "-n", str(processes)] if processes > 1 else []
        return [*mpirun, self.program, "train", f"{self.folder}/run.toml", "--output", f"{self.folder}/{output}", "-q",
                "-t", "1", *more]

    def start(self, *arguments):
        return subprocess.Popen(self.command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    def train(self, *arguments, expect=0):
        process = self.start(*arguments)
        out, error = process.communicate(timeout=200)
        assert process.returncode == expect, (arguments, process.returncode, out, error)
        return error

    def weights(self, output):
        data = (self.folder / output / "final/model.safetensors").read_bytes()
        begin = 8 + struct.unpack("<Q", data[:8])[0]
        return struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])


def distance(a, b):
    """|a - b| / |b|"""
    assert len(a) == len(b)
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b)) ** 0.5


def check_same_losses(folder, ours, theirs):
    for a, b in zip(metrics(folder / ours), metrics(folder / theirs), strict=True):
        assert a.keys() == b.keys()
        for key, value in b.items():
            assert abs(a[key] - value) <= 1e-4 * abs(value), (key, a, b)


def check_equal_to_one_process(runs):
    plain = ["--model.hidden_dropout", "0"]  # two processes draw other masks than one
    runs.train(1, "one", *plain)
    said = runs.train(2, "two", *plain)
    assert said.strip() == "", said
    runs.train(2, "sharded", *plain, "--parallel.shard_optimizer", "true")
    far = distance(runs.weights("two"), runs.weights("one"))
    assert far < 2e-5, far  # 60 steps of AdamW and clipping; single steps: parallel_test.cc
    check_same_losses(runs.folder, "two", "one")
    assert runs.weights("sharded") == runs.weights("two")
    tensors = [(runs.folder / name / "checkpoints/step-00000060/training.safetensors").read_bytes()
               for name in ("two", "sharded")]
    names = [sorted(json.loads(t[8:8 + struct.unpack("<Q", t[:8])[0]])) for t in tensors]
    assert names[0] == names[1], "the sharded checkpoint is not complete"
    # Stopped in two processes, finished in one.
    stop(runs, "switched", signal.SIGTERM, *plain, "--parallel.shard_optimizer", "true")
    runs.train(1, "switched", *plain, "--resume")
    assert distance(runs.weights("switched"), runs.weights("one")) < 2e-5
    return far


def stop(runs, output, number, *more):
    """Starts two processes and stops them after a while; True where they were still running."""
    process = runs.start(2, output, *more)
    started = time.monotonic()
    while process.poll() is None and not (runs.folder / output / "metrics.jsonl").exists():
        assert time.monotonic() - started < 120, "no first step"
        time.sleep(0.01)
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    met = "trained:" not in out  # mpirun's exit code says nothing: it is not 0 either where all was done by then
    if met:
        assert f"To go on: mpirun -n 2 caravan train {runs.folder / output}/config.toml --resume" in error, (process.returncode, out, error)
        assert error.count("caravan:") == 1, error
    return met


def check_exact_resume(runs):
    more = ["--parallel.shard_optimizer", "true", "--training.steps", "1000", "--evaluation.every", "300", "--save.every", "200"]  # with dropout
    runs.train(2, "straight", *more)
    met = stop(runs, "stopped", signal.SIGTERM, *more)
    runs.train(2, "stopped", *more, "--resume")
    assert runs.weights("stopped") == runs.weights("straight"), "other weights after a stop"
    assert metrics(runs.folder / "stopped") == metrics(runs.folder / "straight"), "other losses after a stop"
    return met


def check_failures(runs):
    # All of them see it: one message.
    said = runs.train(2, "failed", "--data.train", "nowhere.jsonl", expect=66)
    assert said.count("caravan:") == 1 and "nowhere.jsonl" in said, said
    # One alone: everything ends, and it says which.
    script = runs.folder / "one_fails.sh"
    script.write_text('#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && set -- "$@" --data.train nowhere.jsonl\nexec "$@"\n')
    script.chmod(0o755)
    command = ["mpirun", "-n", "2", str(script), *runs.command(1, "failed")]
    done = subprocess.run(command, env={**ENVIRONMENT, "OMPI_MCA_odls_base_sigkill_timeout": "1"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 66 and "process 1 of 2: nowhere.jsonl" in done.stderr, (done.returncode, done.stderr)


def check_killed_process(runs):
    """kill -9 of one process ends the other; the run resumes from its last checkpoint."""
    more = ["--training.steps", "400"]
    process = runs.start(2, "killed", *more)
    folder = runs.folder / "killed/checkpoints"
    started = time.monotonic()
    while process.poll() is None and not (folder.exists() and any(p.name.startswith("step-") for p in folder.iterdir())):
        assert time.monotonic() - started < 120, "no checkpoint"
        time.sleep(0.01)
    children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    found = [int(line.split()[0]) for line in children.splitlines() if line.split()[1] == "caravan"]
    if process.poll() is None and found:
        os.kill(found[-1], signal.SIGKILL)
    process.communicate(timeout=120)
    runs.train(2, "killed", *more, "--resume")
    assert (runs.folder / "killed/final/model.safetensors").exists()


def main():
    program = os.path.abspath(sys.argv[1])
    module = pathlib.Path(program).parent / "../lib/libcaravan_mpi.so"
    if shutil.which("mpirun") is None or not module.exists():
        print("skipped: there is no mpirun, or the program was built without MPI")
        return SKIPPED
    try:  # a machine may have Open MPI and still forbid what it needs (sockets, shared memory)
        works = subprocess.run(["mpirun", "-n", "2", "true"], env=ENVIRONMENT, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        print("skipped: `mpirun -n 2 true` fails here")
        return SKIPPED
    with tempfile.TemporaryDirectory() as name:
        runs = Runs(program, pathlib.Path(name))
        (runs.folder / "run.toml").write_text(CONFIG.format(folder=runs.folder))
        write_examples(runs.folder / "train.jsonl", 150, 1)
        write_examples(runs.folder / "validation.jsonl", 20, 2)
        far = check_equal_to_one_process(runs)
        met = check_exact_resume(runs)
        check_failures(runs)
        check_killed_process(runs)
        print(f"two processes equal one within {far:.1e}; {'resumed exactly' if met else 'the run ended before its stop'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
