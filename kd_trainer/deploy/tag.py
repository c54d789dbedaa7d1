"""python -m kd_trainer tag: write the scores of the jets in files, together with some of their branches."""

import argparse
import fnmatch
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import awkward as ak
import numpy as np
from tqdm import tqdm

from kd_trainer.arguments import check_at_least
from kd_trainer.datasets import delphes
from kd_trainer.deploy.events import tag_events
from kd_trainer.deploy.reading import check_files, read_chunks
from kd_trainer.deploy.score_files import FORMATS, writer
from kd_trainer.deploy.tagger import Tagger
from kd_trainer.errors import InputError, named
from kd_trainer.jet_files import contents, files_of


def kept_branches(common: AbstractSet[str], patterns: Sequence[str] | None, tagger: Tagger) -> list[str]:
    """Names of the branches to copy, among those of all files: observers and labels, or those that match the patterns.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    options = tagger.exported.options
    if patterns is None:
        labels = options["labels"]
        wanted = [*(options.get("observers") or []), *(labels["value"] if labels["type"] == "simple" else [])]
        return [name for name in dict.fromkeys(wanted) if name in common]
    for pattern in patterns:
        if not fnmatch.filter(common, pattern):
            raise InputError(f"--keep {pattern}: there is no such branch in all of the files")
    return sorted({name for pattern in patterns for name in fnmatch.filter(common, pattern)})


def tag(
    tagger: Tagger,
    paths: Sequence[str],
    output: Path,
    *,
    keep: Sequence[str] | None = None,
    selected: bool = False,
    rows: int = 20_000,
) -> tuple[int, int]:
    """Write scores of all jets of some files.

    Parameters
    ----------
    paths, output : input files, and the file to write, parquet or ROOT.
    keep : list of patterns, or None
        Branches to copy, see `kept_branches`.
    selected : bool
        Leave out the jets that fail the selection of the data config.
    rows : int
        Number of jets in memory at a time.

    Returns
    -------
    (int, int)
        Jets written, and how many of them are flagged.

    Raises
    ------
    InputError
        If a file cannot be used. Nothing is written then.
    """
    config = tagger.exported.config
    total = check_files(paths, config)
    kept = kept_branches(set.intersection(*(contents(path, config.treename)[0] for path in paths)), keep, tagger)
    written = flagged = 0
    progress = tqdm(total=total, unit="jet")
    with progress, writer(output) as append:
        for path in paths:
            for events in read_chunks(path, config, rows, kept):
                with named(path):
                    jets = tagger.prepare(events, selected)
                scores = tagger.score(jets)
                records = {name: events[name][jets.rows] for name in kept}
                clash = records.keys() & set(scores.fields)
                if clash:
                    raise InputError(f"--keep: the scores would replace {', '.join(sorted(clash))}")
                with named(path):
                    append(ak.zip({**records, **{name: scores[name] for name in scores.fields}}, depth_limit=1))
                written += len(jets.rows)
                flagged += int(np.count_nonzero(scores["flag"]))
                progress.update(len(events))
    return written, flagged


def main(argv: Sequence[str]) -> None:
    """Check the arguments, tag, and say what was written."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer tag",
        description="Write the scores of all jets of some files with a converted model, in the order of the files. "
        "Jets that fail the selection of the data config are scored too, unless --selected is given. For Delphes "
        "files, the output has one entry per event, with jet_pt, jet_probs_<i>, jet_hidneurons_<i> as in the output of "
        "Sophon's analyser.",
    )
    add = parser.add_argument
    add("model_dir", metavar="MODEL_DIR", help="folder with model.onnx, preprocess.json, data_config.yaml")
    add("files", nargs="+", metavar="FILE", help="ROOT or parquet with the branches of the data config, or Delphes")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="file to write: .parquet or .root")
    add("--keep", nargs="*", metavar="BRANCH",
        help="branches to copy, * for any text (default: observers and labels of the data config)")  # fmt: skip
    add("--delphes", action="store_true", help="the files are Delphes events (default: if they have a tree Delphes)")
    add("--jets", metavar="BRANCH", help=f"Delphes: jet collection (default: {delphes.JETS})")
    add("--eta", choices=delphes.ETAS, help="Delphes: eta of the particles, see convert (default: stored)")
    add("--selected", action="store_true", help="leave out jets that fail the selection of the data config")
    add("--model", default="model.onnx", metavar="FILE", help="model file in the folder (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="of ONNX Runtime (default: all cores)")
    add("--batch-size", type=int, default=1024, metavar="B", help="default: %(default)s")
    add("--chunk", type=int, default=20_000, metavar="N", help="jets in memory at a time (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.output.suffix not in FORMATS:
        raise InputError(f"-o {args.output}: the output has to be .parquet or .root")
    check_at_least(1, args, "batch_size", "chunk", "threads")
    files = files_of(args.files)
    if any(Path(path).resolve() == args.output.resolve() for path in files):
        raise InputError(f"-o {args.output} is one of the input files")
    tagger = Tagger(args.model_dir, model=args.model, threads=args.threads, batch_size=args.batch_size)
    if args.delphes or all(delphes.is_delphes(path) for path in files):
        options = delphes.Options(args.jets or delphes.JETS, args.eta or "stored")
        kept = kept_branches({f"jet_{name}" for name in delphes.COLUMNS}, args.keep, tagger)
        kept = [name for name in kept if name != "jet_pt"]  # it is always written
        written, flagged = tag_events(
            tagger, files, args.output, options, kept=kept, selected=args.selected, rows=args.chunk
        )
    else:
        if args.jets or args.eta:
            raise InputError(f"--{'jets' if args.jets else 'eta'} is for Delphes files")
        written, flagged = tag(tagger, files, args.output, keep=args.keep, selected=args.selected, rows=args.chunk)
    more = f", {flagged} of them flagged (see docs/howto/export.md)" if flagged else ""
    print(f"{args.output}: {written} jets{more}")
