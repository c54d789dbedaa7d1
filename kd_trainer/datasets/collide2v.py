"""COLLIDE-2V (fastmachinelearning/collide-1m): events in two views -> jets that hold the candidates of both.

Each row is an event. Its columns `<view>_<collection>_<variable>` are lists; the views are FullReco (offline) and L1T
(Level-1). The files do not link the jets of the two views: they are matched by their distance.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.datasets.collide2v_view import (
    CANDIDATE,
    ENOUGH,
    JET,
    View,
    check_sums,
    column_of,
    four_momenta,
    lists_of,
)
from kd_trainer.datasets.kinematics import Columns, wrap
from kd_trainer.datasets.matching import pairs
from kd_trainer.datasets.public_formats import Opened, require
from kd_trainer.errors import InputError
from kd_trainer.files import read_yaml

EVENTS = 250  # read at once; an event has 130 kB
VIEWS = {"": "FullReco", "l1": "L1T"}  # by the prefix of the output columns
PARTICLE = (*JET, "PID", "Status", "IsPU")
FLAVOURS = {"b": (5,), "c": (4,), "light": (1, 2, 3), "gluon": (21,)}
CONES = {"AK4": 0.4, "AK8": 0.8}
NEUTRINOS = (12, 14, 16)
FINITE = tuple(
    f"{prefix}part_{name}" for prefix in VIEWS for name in ("px", "py", "pz", "energy", "d0val", "dzval", "puppiw")
)


class Options(NamedTuple):
    """How events become jets; `classes`: patterns of processes by class. None defines classes by the jet flavour."""

    collection: str = "AK4"
    radius: float = 0.2
    unit: str = "mm"
    gen: bool = False
    classes: dict[str, list[str]] | None = None


def read_classes(path: Path) -> dict[str, list[str]]:
    """Read patterns of processes by class from a YAML file; InputError if it holds something else."""
    found = read_yaml(path, "classes")
    good = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(patterns, list) and all(isinstance(x, str) for x in patterns)
        for name, patterns in found.items()
    )
    if not good or len(found) < 2:
        raise InputError(f"{path} has to define two or more classes, each with a list of processes")
    return found


def process_of(source: Path) -> str:
    """Process of a file <process>-NEVENT10000-RS<seed>.parquet, else of its folder; energy and programs are removed."""
    name = source.stem if "-NEVENT" in source.stem else source.resolve().parent.name
    return re.sub("(_13TeV.*)?(-NEVENT.*)?$", "", name, count=1)


class Views:
    """Reader of one file: it makes the jets and counts what was left out."""

    def __init__(self, source: Path, options: Options) -> None:
        self.source, self.options, self.process = source, options, process_of(source)
        self.jet = f"JetPuppi{options.collection}"
        self.counts: Counter[str] = Counter()
        self.distance = 0.0  # sum over the matched jets
        self.heights: list[np.ndarray] = []  # of the vertices, in mm

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[Opened]:
        """Read the needed columns of the events of a file, a few events at a time.

        Yields
        ------
        (int, function)
            Rows are events: records of lists of float32 (the files have float16), and of int32 for ConstituentsIdx.
        """
        with pq.ParquetFile(path, pre_buffer=False) as file:  # a pre-buffer would keep all that was read in memory
            present = file.schema_arrow.names
            wanted = list(self._columns("FullReco_GenPart" if "FullReco_GenPart_PT" in present else "Gen_Part"))
            require(path, wanted, present)
            kinds = [_kind(path, file.schema_arrow.field(name)) for name in wanted]
            schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in zip(wanted, kinds)])

            def chunks(step: int) -> Iterator[ak.Array]:
                for batch in file.iter_batches(min(step, EVENTS), columns=wanted):
                    batch = batch.select(wanted)
                    if any(_has_nulls(column) for column in batch.columns):
                        raise InputError(f"{path} has nulls among its values")
                    events = ak.from_arrow(batch.cast(schema))
                    names = {name: re.sub("^FullReco_GenPart", "Gen_Part", name) for name in wanted}
                    yield ak.zip({names[name]: events[name] for name in wanted}, depth_limit=1)

            yield file.metadata.num_rows, chunks

    def _columns(self, particles: str) -> Iterator[str]:
        for view in VIEWS.values():
            yield from (f"{view}_{self.jet}_{name}" for name in (*JET, "ConstituentsIdx"))
            yield from (f"{view}_PUPPIPart_{name}" for name in CANDIDATE)
        yield f"FullReco_{self.jet}_Flavor"
        if self.options.gen:
            yield from (f"Gen_Jet{self.options.collection}_{name}" for name in JET)
            yield from (f"{particles}_{name}" for name in PARTICLE)

    def jets(self, events: ak.Array) -> ak.Array:
        """Matched jets of events, with the candidates of both views by decreasing transverse momentum.

        Parameters
        ----------
        events : (E,) records as `open` yields them, with event_number

        Returns
        -------
        (J,) records
            jet_*, part_* (offline), l1jet_*, l1part_* (Level-1), genjet_*, genpart_* (with `gen`): momenta in GeV,
            d0val and dzval in mm, dzval relative to the vertex of the view; match_dr, label_*, event_number.

        Raises
        ------
        InputError
            If azimuths are no radians, ConstituentsIdx points beyond the particles, or candidates do not add up.
        """
        try:
            return self._jets(events)
        except InputError as error:
            raise InputError(f"{self.source}: {error}") from None

    def _jets(self, events: ak.Array) -> ak.Array:
        found = {prefix: View(events, view, self.jet, self.options.unit) for prefix, view in VIEWS.items()}
        offline, level1 = found[""], found["l1"]
        self.heights.append(offline.height[offline.has_tracks])
        first, second, distance = pairs(level1.jets, level1.number, offline.jets, offline.number, self.options.radius)
        self.counts.update(events=len(events), l1_jets=len(level1.length), jets=len(offline.length), matched=len(first))
        self.distance += float(distance.sum())
        filled = (level1.length[first] > 0) & (offline.length[second] > 0)
        self.counts["empty"] += int((~filled).sum())
        labels = self._labels(column_of(events, f"FullReco_{self.jet}", "Flavor")[second])
        classed = np.any(list(labels.values()), axis=0)
        self.counts["classless"] += int((filled & ~classed).sum())
        kept = filled & classed
        truth: dict[str, Any] = {}
        if self.options.gen:
            truth, there = self._truth(events, offline, second)
            self.counts["without_truth"] += int((kept & ~there).sum())
            kept &= there
        columns: dict[str, Any] = {}
        for (prefix, view), chosen in zip(found.items(), (second, first)):
            columns |= view.columns(prefix, chosen[kept])
        columns |= {name: values[kept] for name, values in truth.items()}
        columns |= {f"label_{name}": flags[kept].astype(np.int32) for name, flags in labels.items()}
        columns["match_dr"] = distance[kept].astype(np.float32)
        columns["event_number"] = ak.to_numpy(events.event_number)[offline.event[second[kept]]]
        return ak.zip(columns, depth_limit=1)

    def _labels(self, flavour: np.ndarray) -> Columns:
        """Flags (J,) of the classes of jets."""
        if self.options.classes is None:
            return {name: np.isin(np.abs(flavour), ids) for name, ids in FLAVOURS.items()}
        mine = [
            name
            for name, patterns in self.options.classes.items()
            if any(fnmatchcase(self.process, p) for p in patterns)
        ]
        if len(mine) != 1:
            raise InputError(f"its process {self.process} is in {len(mine)} classes of --classes, not in exactly one")
        return {name: np.full(len(flavour), name == mine[0]) for name in self.options.classes}

    def _truth(self, events: ak.Array, offline: View, chosen: np.ndarray) -> tuple[dict[str, ak.Array], np.ndarray]:
        """Generated jets matched to offline jets, their particles in the cone, and which jets have such particles."""
        name, cone = f"Gen_Jet{self.options.collection}", CONES[self.options.collection]
        jets, number = lists_of(events, name, JET)
        ours, theirs, _ = pairs(offline.jets, offline.number, jets, number, self.options.radius)
        partner = np.full(len(offline.length), -1)
        partner[ours] = theirs
        partner = partner[chosen]
        particles, counts = lists_of(events, "Gen_Part", PARTICLE)
        stable = (particles["Status"] == 1) & (particles["IsPU"] == 0)
        stable &= ~np.isin(np.abs(particles["PID"]), NEUTRINOS) & (particles["PT"] > 0)
        particles = {key: values[stable] for key, values in particles.items()}
        event = np.repeat(np.arange(len(events)), counts)[stable]
        starts = np.searchsorted(event, np.arange(len(events) + 1))
        places = []
        for jet, of in zip(partner, offline.event[chosen]):
            inside = np.arange(starts[of], starts[of + 1]) if jet >= 0 else np.arange(0)
            away = np.hypot(
                particles["Eta"][inside] - jets["Eta"][jet], wrap(particles["Phi"][inside] - jets["Phi"][jet])
            ) if jet >= 0 else np.zeros(0)  # fmt: skip
            inside = inside[away < cone]
            places.append(inside[np.argsort(-particles["PT"][inside], kind="stable")])
        length = np.array([len(place) for place in places], dtype=int)
        place = np.concatenate([*places, np.arange(0)]).astype(int)
        momenta = {key: ak.unflatten(values[place], length) for key, values in four_momenta(particles).items()}
        there = length > 0
        check_sums("Gen_Part", {k: v[there] for k, v in momenta.items()}, {k: jets[k][partner[there]] for k in JET})
        columns = {f"genpart_{key}": ak.values_astype(values, np.float32) for key, values in momenta.items()}
        columns["genpart_pid"] = ak.unflatten(particles["PID"][place].astype(np.int32), length)
        if len(jets["PT"]):
            columns |= {
                f"genjet_{key.lower()}": jets[key][partner].astype(np.float32) for key in JET
            }  # jets without one are removed by the caller
        return columns, there

    def finish(self) -> dict[str, Any]:
        """Summary of the file after it was read.

        Raises
        ------
        InputError
            If hardly any jets were matched, if the matches look random, or if lengths have another unit.
        """
        counts, options = self.counts, self.options
        where = f"within Delta R = {options.radius}"
        doubt = "check that the rows of both views are the same events, in the same units"
        matched, fewer = counts["matched"], min(counts["l1_jets"], counts["jets"])
        if not matched or fewer >= ENOUGH and matched < 0.1 * fewer:
            raise InputError(
                f"{self.source}: {matched} of the {counts['l1_jets']} L1T jets have one of the {counts['jets']} "
                f"FullReco jets {where}: {doubt}"
            )
        mean = self.distance / matched
        if matched >= ENOUGH and mean > 0.55 * options.radius:
            raise InputError(
                f"{self.source}: the mean distance of matched jets is {mean:.3f}, as for random matches ({where}): "
                f"{doubt}"
            )
        left = [name for name in ("empty", "classless", "without_truth") if counts[name]]
        if matched == sum(counts[name] for name in left):
            raise InputError(f"{self.source}: none of the {matched} matched jets can be used: {_why(counts, left)}")
        heights = np.concatenate(self.heights)
        if len(heights) >= ENOUGH:
            low, high = np.percentile(heights, (16, 84))
            spread = (high - low) / 2
            other = {"mm": "cm", "cm": "mm"}[options.unit]
            if 1.5 < spread < 15 and options.unit == "mm" or spread > 150 and options.unit == "cm":
                raise InputError(
                    f"{self.source}: the spread of its vertices along the beam is {spread:.3g} mm, at the LHC about "
                    f"50 mm: DZ seems to be in {other}, give --length-unit {other}"
                )
        return {"process": self.process, "distance": self.distance, "counts": dict(counts)}


def _kind(path: Path, field: pa.Field) -> pa.DataType:
    """Type as which a column is read; InputError if it does not hold lists of numbers."""
    depth, inner = 0, field.type
    while hasattr(inner, "value_type"):
        depth, inner = depth + 1, inner.value_type
    nested = field.name.endswith("ConstituentsIdx")
    if depth != 1 + nested or not (pa.types.is_integer(inner) or pa.types.is_floating(inner)):
        raise InputError(f"{path} has {field.name} of type {field.type}, not lists of {'lists of ' * nested}numbers")
    values = pa.list_(pa.field("item", pa.int32() if nested else pa.float32(), nullable=False))
    return pa.list_(pa.field("item", values, nullable=False)) if nested else values


def _has_nulls(column: pa.Array) -> bool:
    nested = hasattr(column.type, "value_type")
    return column.null_count > 0 or nested and _has_nulls(column.flatten())


def _why(counts: Mapping[str, int], left: Iterable[str]) -> str:
    what = {"empty": "have no candidates", "classless": "are of no class", "without_truth": "have no generated jet"}
    return ", ".join(f"{counts[name]} {what[name]}" for name in left)
