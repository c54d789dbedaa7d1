"""Runs that are killed at random moments and restarted, compared with an uninterrupted run. Not for pytest.

    python tests/kills.py demo|study|simulate|cache|train|script [--kills 20] [--signals KILL,TERM,INT]
                          [--targets top,group,one,all]

demo      ./train_kd.sh demo in small
study     train_scripts/study.sh run, a study of two arms
simulate  python -m kd_trainer simulate, several files
cache     ./train_kd.sh cache of several files
train     one training: the weaver command of ./train_kd.sh train, with soft targets from a cache
script    the same through ./train_kd.sh train

A round is a copy of the repository in which the command is begun, killed, begun again, ..., and at last left alone;
rounds follow until there were as many kills as asked for. Signals go to the process that was started (top), to its
process group (group), to one of its descendants (one) or to all of them at once (all). 10 s later nothing that was
started may be left; of a training at most the epoch that was begun is lost; at the end results and names of files are
those of the run that nothing has interrupted. Exit code 1 if something of this does not hold.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import awkward as ak
import numpy as np
import psutil
import pyarrow.parquet as pq
import torch
import uproot
from helpers import copy_repository, random_jets, run, write_splits

MARK = "KILLS_OF"  # in the environment of all that is started here
PATIENCE = 10  # seconds until nothing may be left
SETTINGS = {"JETS": "12", "COMMENT": "_kills", "STUDENT": "dense", "SEED": "1", "DATASET": "demo"}
TARGETS = ("top", "group", "one", "all")
APART = {"__pycache__", ".snakemake", "runs", "attempts"}  # folders whose files have times in their names
TRAINING = ("--num-epochs", "8", "--batch-size", "64", "--samples-per-epoch", "6400", "--samples-per-epoch-val", "640")


class Demo:
    """./train_kd.sh demo with few jets."""

    outputs = ("datasets", "training", "cache")

    def prepare(self, folder):
        """The command, for a copy of the repository."""
        return ["./train_kd.sh", "demo", "--num-epochs", "2", "--batch-size", "32"]


STUDY = """
dataset: demo
defaults: {DATADIR: datasets/demo}
weaver: --num-workers 0 --num-epochs 2 --batch-size 64 --samples-per-epoch 1280 --samples-per-epoch-val 320
models: {ParT-small: --num-epochs 1}
teachers: {full: {model: ParT-small, tier: full}}
students: [dense]
tiers: [l1]
seeds: [1, 2]
baseline: labels
arms: {labels: {}, full: {teacher: full, options: {kd_alpha: 1.0}}}
"""


class Study:
    """train_scripts/study.sh run on jets without physics."""

    outputs = ("training", "cache")

    def prepare(self, folder):
        """Jets and the study; then the command."""
        jets(folder, train=2000, val=400, test=400)
        (folder / "two.yaml").write_text(STUDY)
        return ["train_scripts/study.sh", "run", "two.yaml"]


class Simulate:
    """python -m kd_trainer simulate: several files of several classes."""

    outputs = ("datasets",)

    def prepare(self, folder):
        """The command."""
        few = ("--jets", "40", "--files", "4", "--workers", "2")
        return [sys.executable, "-m", "kd_trainer", "simulate", "jetclass", *few, "-o", "datasets/made"]


class Cache:
    """./train_kd.sh cache of several files."""

    outputs = ("cache",)

    def prepare(self, folder):
        """Jets and teacher; then the command."""
        jets(folder, train=2000, val=400)
        for seed in range(8):
            path = folder / "datasets" / "demo" / "train" / f"more{seed}.parquet"
            ak.to_parquet(random_jets(1500, particles=40, seed=seed + 9), path)
        run("./train_kd.sh", "teacher", *TRAINING, "--num-epochs", "1", cwd=folder, env=SETTINGS)
        return ["./train_kd.sh", "cache"]


def jets(folder, **numbers):
    """A file of jets without physics for each split of the demo's dataset."""
    write_splits(folder / "datasets" / "demo", particles=40, **numbers)


class Train:
    """A training on jets without physics, with the soft targets of a hardly trained teacher."""

    outputs = ("training",)

    def __init__(self, through_script=False):
        self.through_script = through_script

    def prepare(self, folder):
        """Jets, teacher and cache; then the command."""
        jets(folder, train=2000, val=400)
        run("./train_kd.sh", "teacher", *TRAINING, "--num-epochs", "1", cwd=folder, env=SETTINGS)
        run("./train_kd.sh", "cache", cwd=folder, env=SETTINGS)
        command = ["./train_kd.sh", "train", *TRAINING]
        if self.through_script:
            return command
        plan = run(*command[:2], "--dry-run", *command[2:], cwd=folder, env=SETTINGS)
        *before, training = plan.stdout.splitlines()[1:]
        for line in before:
            run("bash", "-c", line, cwd=folder, env={"PYTHONPATH": folder})
        return ["bash", "-c", f"exec {training}"]


CASES = {"demo": Demo, "study": Study, "simulate": Simulate, "cache": Cache, "train": Train,
         "script": functools.partial(Train, through_script=True)}  # fmt: skip


def main():
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--per-round", type=int, default=10, metavar="N", help="kills until the command is left alone")
    parser.add_argument("--signals", type=lambda text: text.split(","), default=["KILL", "TERM", "INT"])
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of moments, signals and targets")
    parser.add_argument("--folder", type=Path, help="where the copies go and stay (default: a temporary folder); "
                        "the reference that an earlier call has left there is used again")  # fmt: skip
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and its children would
    os.environ |= {"PYTHONHASHSEED": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        return Kills(args, args.folder or Path(temporary)).all()


class Kills:
    """The rounds of one case."""

    def __init__(self, args, folder):
        self.per_round = args.per_round
        self.kills, self.folder, self.random = args.kills, folder, random.Random(args.seed)
        self.case = CASES[args.case]()
        self.turns = list(itertools.product(args.targets, args.signals))
        self.random.shuffle(self.turns)
        self.turn = itertools.cycle(self.turns)
        self.count = collections.Counter()
        self.slowest = 0.0
        self.faults = []

    def all(self):
        """The reference, then rounds; returns the exit code."""
        begun = time.monotonic()
        known = self.folder / "reference.json"
        if known.exists():
            self.command, self.duration, self.expected = json.loads(known.read_text())
        else:
            copy_repository(self.folder / "prepared")
            self.command = self.case.prepare(self.folder / "prepared")
            reference = Round(self, "reference")
            self.duration = reference.finish()
            self.expected = reference.results()
            known.write_text(json.dumps([self.command, self.duration, self.expected]))
        say(f"command: {shlex.join(self.command)}")
        say(f"reference: {self.duration:.0f} s, {len(self.expected)} results")
        for number in itertools.count(1):
            if sum(self.count.values()) >= self.kills:
                break
            Round(self, f"round{number}").killed()
        say(f"{sum(self.count.values())} kills in {number - 1} rounds and {time.monotonic() - begun:.0f} s: "
            + ", ".join(f"{target} {name} {n}" for (target, name), n in sorted(self.count.items())))  # fmt: skip
        say(f"the last process ended at most {self.slowest:.1f} s after its signal, or after the end of the command")
        for fault in self.faults:
            say(f"FAULT {fault}")
        say("all is well" if not self.faults else f"{len(self.faults)} faults")
        return 1 if self.faults else 0


class Round:
    """One copy of the repository, and the command in it."""

    def __init__(self, kills, name):
        self.kills, self.name = kills, name
        self.folder = kills.folder / name
        run("cp", "-a", kills.folder / "prepared", self.folder)
        (self.folder / "attempts").mkdir()
        self.attempts = 0
        self.last_epoch = -1  # that was begun
        self.mark = uuid.uuid4().hex

    def start(self):
        """The command in a process group of its own, its output in a file."""
        self.attempts += 1
        self.log = self.folder / "attempts" / f"{self.attempts}.log"
        env = {**os.environ, **SETTINGS, "PYTHONPATH": str(self.folder), MARK: self.mark}
        with open(self.log, "w") as log:
            return subprocess.Popen(
                self.kills.command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def killed(self):
        """Begin the command and kill it until it is done, then compare."""
        left = self.kills.duration
        most = min(self.kills.kills - sum(self.kills.count.values()), self.kills.per_round)
        for turn in range(most):  # the kills of a round are spread over what is left of the run
            moment = self.kills.random.uniform(0, 2 * left / (most - turn + 1))
            if self.attempt(moment):
                break
            left = max(left - 0.7 * moment, 0.2 * self.kills.duration)
        else:
            self.finish()
        self.compare()

    def attempt(self, moment):
        """One start and its kills; returns whether the command was done before or in spite of them."""
        process = self.start()
        hit = False
        while True:
            try:
                process.wait(moment)
                break
            except subprocess.TimeoutExpired:
                target, name = next(self.kills.turn)
            what = self.send(process, target, signal.Signals[f"SIG{name}"])
            if what is None:  # there was no descendant at this moment
                continue
            hit = True
            self.kills.count[target, name] += 1
            say(f"{self.name}.{self.attempts}: {name} to {what} after {moment:.1f} s")
            if target == "one":  # the others may go on with other work
                continue
            now = time.monotonic()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.fault(f"{name} to {what}: still there")
            self.ended(now)
            process.wait()
            return process.returncode == 0
        self.ended(time.monotonic())
        say(f"{self.name}.{self.attempts}: ended with {process.returncode}")
        if process.returncode and not hit:
            self.fault(f"ended with {process.returncode} by itself")
        return process.returncode == 0

    def send(self, process, target, number):
        """Send a signal; returns a name of what it was sent to."""
        if target == "top":
            process.send_signal(number)
        elif target == "group":
            os.killpg(process.pid, number)
        else:
            found = [other for other in self.alive() if other.pid != process.pid]
            if target == "one":
                found = self.kills.random.sample(found, min(1, len(found)))
                if not found:
                    return None
                words = found[0].cmdline()
                target = f"one ({' '.join(os.path.basename(word) for word in words[:4])[:60]})" if words else "one"
            else:
                found.append(process)
            for other in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    other.send_signal(number)
        return target

    def alive(self):
        """All processes that have been started by this round and have not ended."""
        found = []
        for process in psutil.process_iter():
            try:
                if f"{MARK}={self.mark}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes():
                    found.append(process)
            except OSError:
                continue
        return found

    def ended(self, since):
        """Wait until nothing is left, and look at the epochs of the attempt."""
        while (left := self.alive()) and time.monotonic() < since + PATIENCE:
            time.sleep(0.1)
        self.kills.slowest = max(self.kills.slowest, time.monotonic() - since)
        if left:
            self.fault(f"left after {PATIENCE} s: {[' '.join(process.cmdline())[:200] for process in left]}")
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        if not isinstance(self.kills.case, Demo):
            epochs = [int(text) for text in re.findall(r"Epoch #(\d+) training", self.log.read_text())]
            if epochs and not self.last_epoch <= epochs[0] <= self.last_epoch + 1:
                self.fault(f"epoch {self.last_epoch} was begun, then epoch {epochs[0]}")
            self.last_epoch = max(epochs, default=self.last_epoch)

    def finish(self):
        """The command without interruption; returns the seconds that it took."""
        begun = time.monotonic()
        process = self.start()
        if process.wait():
            self.fault(f"ended with {process.returncode}: {self.log.read_text()[-3000:]}")
        taken = time.monotonic() - begun
        self.ended(time.monotonic())
        return taken

    def compare(self):
        """Results against those of the reference."""
        found, expected = self.results(), self.kills.expected
        for path in sorted(expected.keys() - found.keys()):
            self.fault(f"no {path}")
        for path in sorted(found.keys() - expected.keys()):
            self.fault(f"{path} is left")
        for path in sorted(found.keys() & expected.keys()):
            if found[path] != expected[path]:
                self.fault(f"{path} differs")
        say(f"{self.name}: {self.attempts} starts, {len(found)} files compared, {len(self.kills.faults)} faults so far")

    def results(self):
        """{path: digest of what it says, '' for files that tell times}."""
        found = {}
        for name in self.kills.case.outputs:
            for path in (self.folder / name).rglob("*"):
                relative = path.relative_to(self.folder)
                if path.is_file() and not APART & set(relative.parts):
                    found[str(relative)] = digest(path)
        return found

    def fault(self, text):
        """Note it, with the place."""
        say(f"FAULT {self.name}.{self.attempts}: {text}")
        self.kills.faults.append(f"{self.name}.{self.attempts}: {text}")


def digest(path):
    """SHA-256 of what a file of results says, '' of other files."""
    sha = hashlib.sha256()
    if path.name.endswith("_state.pt"):
        for name, tensor in sorted(torch.load(path, weights_only=True).items()):
            sha.update(name.encode() + tensor.numpy().tobytes())
    elif path.name == "pred.root":
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(library="np")
        for name, values in sorted(arrays.items()):
            sha.update(name.encode() + np.ascontiguousarray(values).tobytes())
    elif path.suffix == ".parquet":
        sha.update(repr(pq.read_table(path).to_pylist()).encode())
    elif path.name in ("report.json", "net_record.json"):
        sha.update(json.dumps(without_times(json.loads(path.read_text())), sort_keys=True).encode())
    else:
        return ""
    return sha.hexdigest()


def without_times(content):
    """JSON without latency, versions and the times of files in recipes."""
    if isinstance(content, dict):
        return {
            key: without_times(value)
            for key, value in content.items()
            if not re.search("latency|recipe|sha256|time", key)
        }
    return [without_times(value) for value in content] if isinstance(content, list) else content


def say(text):
    """A line, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
