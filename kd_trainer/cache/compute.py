"""Computation of files of soft targets from input files."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import Layout
from kd_trainer.cache.paths import Target, as_arguments
from kd_trainer.cache.reader import Reader, ahead
from kd_trainer.cache.writer import Writer, whole_file
from kd_trainer.errors import InputError, StopError, one_line
from kd_trainer.teacher.soft_targets import SoftTargets

JETS = 4096  # jets that are read and sorted together


@dataclasses.dataclass(frozen=True)
class Production:
    """How the files of a cache are made."""

    reader: Reader
    teacher: Callable[[dict[str, torch.Tensor], torch.device], SoftTargets]  # of a batch {name: (N, ...)}
    layout: Layout
    origin: dict[str, Any]  # the fingerprint without the entry of the input file
    device: torch.device
    allow_nan: bool = False  # whether jets with NaN in the teacher's inputs are allowed

    def write(
        self, path: str, output: Path, rows: int, progress: Callable[[int], object] = lambda jets: None
    ) -> tuple[int, int]:
        """Write the soft targets of one input file with `rows` jets; `progress` gets numbers of processed jets.

        Returns
        -------
        int, int
            Number of jets written, and number of those with NaN in the teacher's inputs.

        Raises
        ------
        InputError
            If the file cannot be read, has no jets that pass the selection, has jets with NaN although these are not
            allowed, or changes while it is read.
        """
        before = fingerprint.of_input(path)
        read = selected = nan = 0
        with whole_file(output) as file:
            with Writer(file, {**self.origin, "input": before}) as writer:
                for chunk in ahead(self.reader.read(path, JETS)):
                    read, nan = read + chunk.rows, nan + chunk.nan
                    if chunk.table is not None and (self.allow_nan or not nan):
                        table = chunk.table
                        logits = self.teacher(chunk.X, self.device).logits.cpu()
                        for name, column in self.layout.columns(logits).items():
                            table = table.append_column(pa.field(name, column.type, nullable=False), column)
                        selected += len(chunk.table)
                        writer.write(table)
                    progress(chunk.rows)
            if fingerprint.of_input(path) != before:
                raise InputError(f"{path} changed while it was read")
            if nan and not self.allow_nan:
                raise InputError(f"{path}: {nan} of {read} jets have NaN in the teacher's inputs, which weaver would "
                                 "replace by 0: repair the file, or give --allow-nan")  # fmt: skip
            if not selected:
                raise InputError(f"{path} has no jets that pass the selection ({read} read)")
            stored = pq.read_metadata(file.name).num_rows
            if read != rows or stored != selected:
                raise InputError(f"{path}: {read} of {rows} jets were read, and {stored} of {selected} selected jets "
                                 "were written")  # fmt: skip
        return selected, nan

    def write_all(self, work: Mapping[str, Path], rows: Mapping[str, int], bar: tqdm) -> tuple[int, int, list[str]]:
        """Write many files; an error in an input file does not stop the others.

        `work` is {path: output}, `rows` {path: number of jets}. The result is the number of jets written, the number of
        those with NaN in the teacher's inputs, and the errors of skipped files.
        """
        jets, nan, trouble = 0, 0, []
        for path, output in work.items():
            try:
                written = self.write(path, output, rows[path], bar.update)
                jets, nan = jets + written[0], nan + written[1]
            except StopError:
                raise
            except InputError as error:
                trouble.append(str(error))
        return jets, nan, trouble


def is_complete(output: Path, expected: dict[str, Any], *, overwrite: bool = False) -> bool:
    """Whether a file of soft targets exists with the expected fingerprint.

    Raises
    ------
    InputError
        If it has another origin, unless `overwrite` is set.
    """
    if not output.exists():
        return False
    try:
        different = fingerprint.serious(fingerprint.read(output), expected)
        if different:
            raise InputError(f"{output} has another origin ({'; '.join(different)})")
    except InputError as error:
        if overwrite:
            return False
        raise InputError(f"{error}; give --overwrite to replace such files, or another --output") from None
    return True


def read_pages(path: Path) -> None:
    """Read a whole file of soft targets; InputError if it is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = sum(len(batch) for batch in file.iter_batches(JETS))
            if rows == file.metadata.num_rows:
                return
            reason = f"{rows} of {file.metadata.num_rows} jets were read"
    except (OSError, pa.ArrowException) as error:
        reason = one_line(error)
    raise InputError(f"{path} is damaged ({reason}): remove it and run cache again")


def check(targets: Mapping[str, Target], expected: Mapping[str, dict[str, Any]], *, read_all: bool = False) -> int:
    """Print the files of a cache as arguments of weaver, if all have the expected fingerprints.

    With `read_all` all pages are read and compared with their checksums.
    """
    for name, target in targets.items():
        if not is_complete(target.output, expected[name]):
            raise InputError(f"the cache is not complete: there is no {target.output}")
        if read_all:
            read_pages(target.output)
    pages = "all data were read" if read_all else "the data were not read (--all reads them)"
    print(f"the metadata of {len(targets)} files match; {pages}", file=sys.stderr)
    print("\n".join(as_arguments(targets)))
    return 0
