"""Running commands as a user would, and jets without physics."""

import atexit
import contextlib
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import uproot

from kd_trainer.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
PROGRESS = re.compile(r"\d+%\||\d(it|jet|file|cell|event)s? \[|\?(it|jet|file|cell|event)s?/s")
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def run(*args, check=True, cwd=ROOT, env=None):
    """Run a command from the root of the repository; if it fails, its output is in the assertion."""
    args = [str(arg) for arg in args]
    env = {**os.environ, **{k: str(v) for k, v in (env or {}).items()}}
    result = subprocess.run(args, cwd=cwd, env=env, capture_output=True, text=True)
    assert not check or result.returncode == 0, f"{' '.join(args)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


def run_cells(notebook):
    """Run the code cells of a notebook in this process; the names that they define."""
    names = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), notebook.name, "exec"), names)
    return names


def copy_repository(folder):
    """Copy the repository's files to a folder, which is made; without sampling weights that a user has made here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train_kd.sh", "train_scripts", "networks", "data", "kd_trainer", "setup.cfg", "constraints.txt"):
        run("cp", "-a", ROOT / name, folder / name)
    for weights in (folder / "data").glob("*/*.auto.yaml"):
        weights.unlink()


def kd_trainer(*args, check=True):
    """python -m kd_trainer, in this process: starting Python takes longer than most commands."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    assert not check or code == 0, err.getvalue()
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


def failure(*args):
    """The one line of error of python -m kd_trainer, besides bars of progress."""
    result = kd_trainer(*args, check=False)
    said = [line for line in re.split("[\r\n]+", result.stderr) if line and not PROGRESS.search(line)]
    assert result.returncode == 1 and len(said) == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stdout
    return said[0]


def weaver(*args, check=True, cwd=ROOT, env=None):
    """The weaver command on the CPU, in a process of its own, see `fork_server`."""
    return run(fork_bin() / "weaver", "--gpus", "", *args, check=check, cwd=cwd, env=env)


def script(*args, check=True, cwd=ROOT, env=None):
    """`run` for a shell script: its `weaver` and its `python -m kd_trainer` are forks of `fork_server`."""
    env = env or {}
    path = f"{fork_bin()}:{env.get('PATH', os.environ['PATH'])}"
    return run(*args, check=check, cwd=cwd, env={**env, "PATH": path})


@functools.cache
def fork_bin():
    """A folder with the commands `weaver` and `python`, and the server behind them, which ends with this process.

    It has the hash seed of the scripts: weaver walks through sets of group names, in an order that hashes decide.
    """
    folder = Path(tempfile.mkdtemp(prefix="weaver-kd-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    here = Path(__file__).parent
    server = subprocess.Popen(
        [sys.executable, here / "fork_server.py", folder / "socket"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"}, text=True,
    )  # fmt: skip
    assert server.stdout.readline() == "ready\n", "the server of tests/fork_server.py did not start"
    client = f'"{sys.executable}" -I -S "{here}/fork_client.py" "{folder}/socket"'
    for name, lines in {
        "weaver": f'exec {client} weaver "$@"',
        "python": f'if [[ "$1 $2" == "-m kd_trainer" ]]; then exec {client} kd_trainer "${{@:3}}"; fi\n'
        f'exec "{sys.executable}" "$@"',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{lines}\n")
        (folder / name).chmod(0o755)
    return folder


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Program:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def random_jets(number=40, particles=100, seed=5):
    """Jets with particles around and below every threshold, in no order, with all branches of all datasets."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, particles, number)
    total = counts.sum()
    pt = np.exp(rng.uniform(np.log(0.3), np.log(200), total))
    jet_eta, jet_phi = rng.uniform(-2, 2, number), rng.uniform(-np.pi, np.pi, number)
    eta = np.repeat(jet_eta, counts) + rng.normal(0, 0.3, total)
    phi = np.repeat(jet_phi, counts) + rng.normal(0, 0.3, total)
    kind = rng.integers(0, 5, total)
    flat = {
        "part_px": pt * np.cos(phi),
        "part_py": pt * np.sin(phi),
        "part_pz": pt * np.sinh(eta),
        "part_energy": np.sqrt((pt * np.cosh(eta)) ** 2 + 0.02),
        "part_pid": np.choose(kind, [211, 130, 22, 11, 13]) * rng.choice([-1, 1], total),
        "part_deta": rng.normal(0, 0.3, total),
        "part_dphi": rng.normal(0, 0.3, total),
        "part_charge": np.where(np.isin(kind, (1, 2)), 0, rng.choice([-1, 1], total)).astype("int32"),
        **{f"part_is{name}": kind == i for i, name in enumerate(
            ["ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"])},
        **{f"part_{name}": rng.normal(0, 1, total) for name in ("d0val", "dzval")},
        **{f"part_{name}": rng.uniform(0, 1, total) for name in ("d0err", "dzerr")},
    }
    record = {k: ak.unflatten(v.astype("float32") if v.dtype == float else v, counts) for k, v in flat.items()}
    jet = {name: rng.uniform(100, 400, number).astype("float32") for name in ("energy", "sdmass")}
    jet |= {f"tau{i}": rng.uniform(0, 1, number).astype("float32") for i in (1, 2, 3, 4)}
    jet |= {"pt": rng.uniform(300, 900, number).astype("float32"), "eta": jet_eta, "phi": jet_phi, "nparticles": counts}
    record |= {f"jet_{k}": v for k, v in jet.items()}
    label = rng.integers(0, 10, number)
    record |= {f"label_{name}": (label == i).astype("int32") for i, name in enumerate(CLASSES)}
    record["jet_label"] = np.arange(number) % 188
    record["label"] = np.arange(number) % 2
    return ak.Array(record)


def scores_of(table):
    """(N, K) scores of tagged jets."""
    return np.stack([ak.to_numpy(table[name]) for name in table.fields if name.startswith("score_")], axis=1)


def write_splits(folder, particles=30, **numbers):
    """SPLIT/jets.parquet with so many random jets for each split, in a folder, which is returned."""
    for seed, (split, number) in enumerate(numbers.items()):
        (folder / split).mkdir(parents=True)
        ak.to_parquet(random_jets(number, particles, seed), folder / split / "jets.parquet")
    return folder


def write_root(path, columns, tree="tree"):
    """A ROOT file with the columns of an awkward array, or of a mapping."""
    columns = {name: columns[name] for name in getattr(columns, "fields", columns)}
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: values.type if isinstance(values, ak.Array) else (values.dtype, values.shape[1:])
                           for name, values in columns.items()})  # fmt: skip
        file[tree].extend(columns)


def write_hdf5(path, jets, particles, **options):
    """An HDF5 file of jets; lists are cut or filled with 1 to so many particles."""
    with h5py.File(path, "w") as file:
        for name in jets.fields:
            values = jets[name]
            if values.ndim > 1:
                values = ak.fill_none(ak.pad_none(values, particles, clip=True), 1)
            file.create_dataset(name, data=ak.to_numpy(values), **options)


def flip(path, start, number=1):
    """Flip all bits of some bytes of a file."""
    content = bytearray(path.read_bytes())
    content[start : start + number] = bytes(x ^ 0xFF for x in content[start : start + number])
    path.write_bytes(content)


def damage_page(path, branch, group=0, value=False):
    """Flip bits of a branch's data page in a row group of a parquet file: of its header, or of a value.

    The metadata of the file stay. Values show it only if the page has a checksum.
    """
    chunks = pq.ParquetFile(path).metadata.row_group(group)
    (chunk,) = (c for c in map(chunks.column, range(chunks.num_columns)) if c.path_in_schema.split(".")[0] == branch)
    flip(Path(path), chunk.data_page_offset + value * chunk.total_compressed_size // 2, 2 if value else 12)
    assert pq.read_metadata(path).num_rows
