"""Soft targets that come with the jets: verified before the first batch, then only unpacked."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer import configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import LOGITS, TOP_LOGITS, Layout
from kd_trainer.cache.origin import Blend, Source
from kd_trainer.classes import names_of
from kd_trainer.configs import PREFIX
from kd_trainer.errors import InputError
from kd_trainer.teacher.precision import PRECISIONS
from kd_trainer.teacher.soft_targets import SoftTargets

COMPARED = ("new_variables", "inputs", "preprocess", "labels", "weights")  # a selection may go on selecting


def reads_cache(data_config: DataConfig) -> bool:
    """Whether a DataConfig reads soft targets from the files."""
    return LOGITS in data_config.inputs or TOP_LOGITS in data_config.inputs


class CachedTeacher:
    """Soft targets (N, K) of a batch, from the columns that `cache` has written; called like a `Teacher`.

    Parameters
    ----------
    data_config : DataConfig
        The one in training: `cached.yaml`.
    origin : Source or Blend
        What the cache must have been made from.

    Raises
    ------
    InputError
        If the data config does not read a cache, or another one than that of the origin, or if the teachers of a blend
        are not what they were.
    """

    def __init__(self, data_config: DataConfig, origin: Source | Blend) -> None:
        if not reads_cache(data_config):
            raise InputError(
                f"-o kd_cache {origin.name} is given, but the data config reads no cached soft targets: use cached.yaml"
            )
        groups = {name: spec for name, spec in data_config.inputs.items() if name.startswith(PREFIX)}
        expected = DataConfig(print_info=False, **configs.cached(origin.options(), groups))
        for key in COMPARED:
            if fingerprint.canonical(expected.options[key]) != fingerprint.canonical(data_config.options[key]):
                raise InputError(
                    f"`{key}` of the data config is not that of {origin.name}: "
                    "run cache again (complete files are kept)"
                )
        self.made_of = origin.made_of()
        self.description = origin.description
        self.groups = groups
        self.classes = len(names_of(data_config.labels))
        self.layout: Layout | None = None

    def verify(self, paths: Sequence[str]) -> None:
        """Look at the fingerprint of each file, and that its input file is what it was.

        Raises
        ------
        InputError
            Naming what differs, and the first files that do.
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
                f"{len(bad)} of {len(paths)} files of the cache were made from something else; "
                f"{path}: {'; '.join(texts)}; run cache again"
            )
        self.layout = columns = Layout(**layout)
        if columns.groups() != self.groups:
            raise InputError("the data config reads other columns than the cache has: use its own cached.yaml")
        gone = fingerprint.check_inputs(stored.values())
        if gone:
            _logger.info("%d of %d input files of the cache are not here, so they cannot be compared with it",
                         gone, len(stored))  # fmt: skip
        computed = [entry for one in stored.values() for entry in (one, *one.get("members", {}).values())]
        precisions = {entry.get("precision", PRECISIONS[0]) for entry in computed}
        approximate = [f"computed in {name}" for name in sorted(precisions - {PRECISIONS[0]})]
        folders = sorted({str(Path(path).parent.parent) for path in paths})
        loose = {text for one in stored.values() for text in fingerprint.differences(one, expected).values()}
        self.description += (
            f"; soft targets from the cache {', '.join(folders)} ({len(paths)} files, "
            f"{f'the {columns.top} largest' if columns.top else 'all'} of {self.classes} logits, "
            f"{columns.dtype}{', '.join(['', *approximate])})"
        )
        if loose:
            _logger.warning("The cache was written with another %s", "; ".join(sorted(loose)))

    def __call__(self, X: Mapping[str, torch.Tensor], device: torch.device | str) -> SoftTargets:
        """Soft targets in fp32 for a batch X, on `device`."""
        columns = {name: X[name].to(device, non_blocking=True) for name in self.groups}
        if self.layout is None:
            raise RuntimeError("the files of the cache have not been verified")
        return SoftTargets(self.layout.logits(columns))
