"""Jets for a benchmark: random jets in the layout of JetClass, or jets of files, written to files for weaver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pyarrow.parquet as pq

from kd_trainer.bench.network import multiplicities
from kd_trainer.datasets import storage
from kd_trainer.jet_files import checked_rows, first_rows

if TYPE_CHECKING:
    from kd_trainer.bench.setting import Setting

LONGEST = 128  # particles in a jet of JetClass
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
KINDS = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")


def random_events(jets: int, particles: int | None = None, seed: int = 0) -> ak.Array:
    """Records of jets with the branches of JetClass in GeV, and `jet_label` from 0 to 187 as in JetClass-II.

    Parameters
    ----------
    particles : int or None
        Number of particles in every jet; None draws numbers as in JetClass, about 45.
    """
    rng = np.random.default_rng(seed)
    counts = np.full(jets, particles) if particles else multiplicities(rng, jets, LONGEST)
    total = counts.sum()
    pt = rng.exponential(10, total) + 2.5  # above the thresholds of the trigger tiers
    deta, dphi = rng.normal(0, 0.2, (2, total))
    axis = {"eta": rng.uniform(-2, 2, jets), "phi": rng.uniform(-np.pi, np.pi, jets)}
    eta, phi = np.repeat(axis["eta"], counts) + deta, np.repeat(axis["phi"], counts) + dphi
    kind = rng.choice(len(KINDS), total, p=(0.55, 0.1, 0.3, 0.025, 0.025))
    part = {
        "px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta),
        "energy": np.hypot(pt * np.cosh(eta), 0.14), "deta": deta * np.sign(np.repeat(axis["eta"], counts)),
        "dphi": dphi, "charge": np.where((kind == 1) | (kind == 2), 0, rng.choice([-1, 1], total)),
        **{f"is{name}": (kind == i).astype("float32") for i, name in enumerate(KINDS)},
        **{name: rng.normal(0, 1, total) for name in ("d0val", "dzval")},
        **{name: rng.uniform(0, 1, total) for name in ("d0err", "dzerr")},
    }  # fmt: skip
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    momentum = {name: np.add.reduceat(part[name], starts) for name in ("px", "py", "energy")}
    jet = axis | {"pt": np.hypot(momentum["px"], momentum["py"]), "energy": momentum["energy"], "nparticles": counts}
    jet |= {name: rng.uniform(0, 1, jets) for name in ("tau1", "tau2", "tau3", "tau4")}
    jet |= {"sdmass": rng.uniform(20, 200, jets)}
    label = rng.integers(0, len(CLASSES), jets)
    return ak.Array(
        {f"part_{name}": ak.unflatten(values.astype("float32"), counts) for name, values in part.items()}
        | {f"jet_{name}": values.astype("float32") for name, values in jet.items()}
        | {f"label_{name}": (label == i).astype("int32") for i, name in enumerate(CLASSES)}
        | {"jet_label": rng.integers(0, 188, jets).astype("int32")}
    )


def events_of(files: Sequence[str], branches: Iterable[str], jets: int, treename: str | None = None) -> ak.Array:
    """Jets of files, the same number of each, in random order; they are repeated if there are too few.

    Raises
    ------
    InputError
        If a file cannot be read or lacks a branch.
    """
    checked_rows(files, branches, treename)
    found = ak.concatenate([first_rows(path, branches, -(-jets // len(files)), treename) for path in files])
    return found[np.random.default_rng(0).permutation(np.arange(max(jets, len(found))) % len(found))[:jets]]


def write(path: Path, events: ak.Array) -> str:
    """Write jets with new numbers to a parquet or ROOT file; returns the path as text."""
    events = events[[name for name in events.fields if name != "event_number"]]
    storage.write(path, [storage.to_table(ak.to_packed(events))], {"command": "bench"})
    return str(path)


def write_two(folder: Path, kind: str, events: ak.Array) -> list[str]:
    """Write two or more jets to two files of a kind, parquet or root; returns the paths.

    Weaver 0.5 cannot read parts of a single parquet file.
    """
    half = len(events) // 2
    return [write(folder / f"jets_{i}.{kind}", part) for i, part in enumerate((events[:half], events[half:]))]


def column_bytes(paths: Iterable[str], prefix: str = "") -> float:
    """Compressed bytes per jet of those columns of parquet files whose names begin with a prefix."""
    files = [pq.read_metadata(path) for path in paths]
    groups = [file.row_group(i) for file in files for i in range(file.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    total = sum(column.total_compressed_size for column in columns if column.path_in_schema.startswith(prefix))
    return total / sum(file.num_rows for file in files)


def events(files: Sequence[str], setting: Setting, jets: int, particles: int | None = None) -> ak.Array:
    """Jets for a setting: from files, or random jets if there are no files."""
    if not files:
        return random_events(jets, particles)
    return events_of(files, setting.branches(), jets, setting.data_config("paired").treename)
