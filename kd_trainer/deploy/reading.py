"""Read jets of files for a converted model: check the files first, then read them in parts."""

from collections.abc import Iterable, Iterator, Sequence

import awkward as ak
from weaver.utils.dataset import DataConfig

from kd_trainer.deploy.inputs import Jets, prepare
from kd_trainer.errors import named, some
from kd_trainer.jet_files import checked_rows, chunks, name_in_file, needed_branches


def check_files(paths: Sequence[str], config: DataConfig) -> int:
    """Number of jets in the files; InputError if one cannot be read, lacks branches or has no jets."""
    return checked_rows(paths, needed_branches(config, training=False), config.treename)


def read_chunks(path: str, config: DataConfig, rows: int, others: Iterable[str] = ()) -> Iterator[ak.Array]:
    """Yield the jets of a file, `rows` at a time, with the branches that a config reads and `others`."""
    for events in chunks(path, needed_branches(config, training=False) | set(others), rows, config.treename):
        yield _logical_names(events, config)


def read_jets(paths: Sequence[str], config: DataConfig, number: int, others: Iterable[str] = ()) -> ak.Array:
    """About `number` jets as a record array: the first jets of each file, an equal number of each."""
    check_files(paths, config)
    share = -(-number // len(paths))
    return ak.concatenate([_first(read_chunks(path, config, share, others), share) for path in paths])


def read_inputs(
    paths: Sequence[str], config: DataConfig, number: int, others: Iterable[str] = (), selected: bool = False
) -> tuple[ak.Array, Jets]:
    """`read_jets`, and the network inputs of the jets (`inputs.prepare`). Errors name only the first file."""
    events = read_jets(paths, config, number, others)
    with named(some(paths, 1)):
        return events, prepare(events, config, selected)


def _first(parts: Iterable[ak.Array], number: int) -> ak.Array:
    """The first jets of parts; parts can be short, because they end at row groups."""
    found, jets = [], 0
    for part in parts:
        found.append(part[: number - jets])
        jets += len(found[-1])
        if jets == number:
            break
    return ak.concatenate(found)


def _logical_names(events: ak.Array, config: DataConfig) -> ak.Array:
    """Rename the branches to the names in the data config (`branch_magic`)."""
    for name in config.test_load_branches - set(events.fields):
        events[name] = events[name_in_file(name, config)]
    return events
