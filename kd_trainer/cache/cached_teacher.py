"""Soft targets that are read together with the jets, and verified before the first batch."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer import configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import LOGITS, TOP_LOGITS, Layout
from kd_trainer.cache.origin import CONFIG, Blend, Source, read_origin
from kd_trainer.classes import names_of, of_student
from kd_trainer.configs import PREFIX
from kd_trainer.errors import InputError
from kd_trainer.teacher.precision import PRECISIONS
from kd_trainer.teacher.soft_targets import SoftTargets

COMPARED = ("new_variables", "inputs", "preprocess", "labels", "weights")  # not the selection: it may be stricter


def reads_cache(data_config: DataConfig) -> bool:
    """Whether a DataConfig reads soft targets from files."""
    return LOGITS in data_config.inputs or TOP_LOGITS in data_config.inputs


class CachedTeacher:
    """Soft targets (N, K) of a batch from the columns of a cache; called like a `Teacher`.

    Parameters
    ----------
    folder : Path
        Folder of the cache.
    origin : Source, Blend or None
        The required origin of the cache; None accepts the origin that the cache records.

    Raises
    ------
    InputError
        If the folder contains no cache, or if the teachers or the paired config have changed.
    """

    def __init__(self, folder: Path, origin: Source | Blend | None = None) -> None:
        origin = origin or read_origin(folder)
        self.config = DataConfig(print_info=False, **configs.load(folder / CONFIG))
        self.groups = {name: spec for name, spec in self.config.inputs.items() if name.startswith(PREFIX)}
        self.folder = folder
        self.check(origin.options(), origin.name)
        self.made_of = origin.made_of()
        self.description = origin.description
        self.classes = len(names_of(self.config.labels))
        self.layout: Layout | None = None

    def check(self, options: configs.Options, path: str) -> None:
        """Raise InputError unless a data config, with or without teacher inputs, reads jets in the way of the cache."""
        complete = configs.complete(configs.defined(options))
        expected = DataConfig(print_info=False, **configs.cached(complete, self.groups))
        ours, theirs = configs.defined(self.config.options), expected.options
        if not any(name.startswith(PREFIX) for name in options["inputs"]):
            ours = {**ours, "labels": of_student(ours["labels"])}
        for key in COMPARED:
            if fingerprint.canonical(theirs[key]) != fingerprint.canonical(ours[key]):
                raise InputError(
                    f"`{key}` of {path} differs from {self.folder / CONFIG}: run cache again with the present data "
                    "configs (complete files are kept)"
                )

    def verify(self, paths: Sequence[str], inputs: Sequence[str] = ()) -> None:
        """Check the fingerprint of each file, and that its input file has not changed.

        Parameters
        ----------
        paths : list of str
            Files of the cache.
        inputs : list of str
            Their input files; if empty, those of the fingerprints, which need not exist any more.

        Raises
        ------
        InputError
            Names the differences, and the first files that differ.
        """
        with ThreadPoolExecutor(8) as pool:
            stored = dict(zip(paths, pool.map(fingerprint.read, paths)))
        layout = next(iter(stored.values()))["layout"]
        if layout["classes"] != self.classes:
            raise InputError(f"the cache has {layout['classes']} classes, the data config has {self.classes}")
        expected = fingerprint.of_files(self.made_of, layout)
        bad = {path: fingerprint.serious(one, expected) for path, one in stored.items()}
        bad = {path: texts for path, texts in bad.items() if texts}
        if bad:
            path, texts = next(iter(bad.items()))
            raise InputError(
                f"{len(bad)} of {len(paths)} files of the cache have another origin; "
                f"{path}: {'; '.join(texts)}; run cache again"
            )
        self.layout = columns = Layout(**layout)
        if columns.groups() != self.groups:
            raise InputError("the data config reads columns that the cache lacks: use the cached.yaml of the cache")
        moved = [{**one, "input": {**one["input"], "path": str(Path(path).absolute())}}
                 for one, path in zip(stored.values(), inputs)]  # fmt: skip
        gone = fingerprint.check_inputs(moved or list(stored.values()))
        if gone:
            _logger.info("%d of %d input files of the cache do not exist here, so they cannot be verified",
                         gone, len(stored))  # fmt: skip
        computed = [entry for one in stored.values() for entry in (one, *one.get("members", {}).values())]
        precisions = {entry.get("precision", PRECISIONS[0]) for entry in computed}
        approximate = [f"computed in {name}" for name in sorted(precisions - {PRECISIONS[0]})]
        loose = {text for one in stored.values() for text in fingerprint.differences(one, expected).values()}
        self.description += (
            f"; soft targets from the cache {self.folder} ({len(paths)} files, "
            f"{f'the {columns.top} largest' if columns.top else 'all'} of {self.classes} logits, "
            f"{columns.dtype}{', '.join(['', *approximate])})"
        )
        if loose:
            _logger.warning("The cache was written with other versions: %s", "; ".join(sorted(loose)))

    def __call__(self, X: Mapping[str, torch.Tensor], device: torch.device | str) -> SoftTargets:
        """Soft targets in fp32 for a batch X, on `device`."""
        columns = {name: X[name].to(device, non_blocking=True) for name in self.groups}
        if self.layout is None:
            raise RuntimeError("the files of the cache have not been verified")
        return SoftTargets(self.layout.logits(columns))
