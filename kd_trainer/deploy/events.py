"""Scores of the jets in Delphes files: one entry per event, with the same branches as Sophon's analyser."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
from tqdm import tqdm

from kd_trainer.datasets import delphes
from kd_trainer.deploy.score_files import writer
from kd_trainer.deploy.tagger import Tagger
from kd_trainer.errors import named
from kd_trainer.files import reading

TREE = "tree"  # as in Sophon's analyser


def tag_events(
    tagger: Tagger,
    paths: Sequence[str],
    output: Path,
    options: delphes.Options,
    *,
    kept: Sequence[str],
    selected: bool = False,
    rows: int = delphes.EVENTS,
) -> tuple[int, int]:
    """Write the scores of all jets of Delphes files, event by event; result and errors are those of `tag.tag`.

    Parameters
    ----------
    options : choice of the jets, see `delphes.Options`
    kept : names of branches of jets to copy in addition to jet_pt
    rows : largest number of events in memory at a time
    """
    readers = [delphes.Reader(Path(path), options) for path in paths]
    written = flagged = 0
    with tqdm(total=sum(map(_count, readers)), unit="event") as progress, writer(output, TREE, "njet") as append:
        for reader in readers:
            for events in _pieces(reader, rows):
                jets = reader.jets(events)
                with named(reader.source):
                    table, flags = _scored(tagger, jets, kept, selected)
                number = np.bincount(table.pop("event_number") - events.event_number[0], minlength=len(events))
                append(ak.zip({name: ak.unflatten(x, number) for name, x in table.items()}, depth_limit=1))
                written, flagged = written + int(number.sum()), flagged + flags
                progress.update(len(events))
    return written, flagged


def _count(reader: delphes.Reader) -> int:
    with reading(reader.source), reader.open(reader.source) as (events, _):
        return events


def _pieces(reader: delphes.Reader, rows: int) -> Iterator[ak.Array]:
    """The events of a file, with their numbers."""
    start = 0
    with reading(reader.source), reader.open(reader.source) as (_, chunks):
        for events in chunks(rows):
            yield ak.with_field(events, np.arange(start, start + len(events)), "event_number")
            start += len(events)


def _scored(tagger: Tagger, jets: ak.Array, kept: Sequence[str], selected: bool) -> tuple[dict[str, np.ndarray], int]:
    """Columns (J,) of jets, first those of Sophon's analyser in its order; and the number of flagged jets."""
    prepared = tagger.prepare(jets, selected)
    scores = tagger.score(prepared)
    jets = jets[prepared.rows]
    names = [name for name in scores.fields if name.startswith("score_")]
    columns = {"event_number": jets.event_number, "jet_pt": jets.jet_pt}
    columns |= {f"jet_probs_{i}": scores[name] for i, name in enumerate(names)}
    if "embedding" in scores.fields:
        columns |= {f"jet_hidneurons_{i}": x for i, x in enumerate(ak.to_numpy(scores.embedding).T)}
    columns |= {name: jets[name] for name in kept}
    columns |= {name: scores[name] for name in (*names, "flag")}
    return {name: np.ascontiguousarray(x) for name, x in columns.items()}, int(np.count_nonzero(scores.flag))
