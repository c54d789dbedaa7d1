"""weaver-kd init: copy networks, data configs and scripts into an existing weaver setup."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from kd_trainer import resources
from kd_trainer.errors import InputError, some
from kd_trainer.files import replacing

LINK, SCRIPT = "train_kd.sh", Path("train_scripts") / "train_kd.sh"


def lay_out(folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Copy the shipped files into a folder; returns those that were written, relative to the folder.

    The folder is created if it does not exist. Equal files are not touched, others are replaced only with `overwrite`.

    Raises
    ------
    InputError
        If the folder has files with other content; then nothing is written.
    """
    source = resources.root()
    new = [name for name in resources.shipped(source) if not _is_same(source / name, folder / name)]
    link = folder / LINK
    linked = link.is_symlink() and link.readlink() == SCRIPT
    others = [name for name in new if (folder / name).exists()] + [LINK] * (link.exists() and not linked)
    if others and not overwrite:
        names = [str(folder / name) for name in others]
        raise InputError(f"{some(names, 1)} would be replaced: give --overwrite, or choose another folder")
    for name in new:
        with replacing(folder / name) as temporary:
            shutil.copyfile(source / name, temporary)
            temporary.chmod(0o755 if temporary.read_bytes().startswith(b"#!") else 0o644)
    if not linked:
        with replacing(link) as temporary:
            temporary.symlink_to(SCRIPT)
    return new


def _is_same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="weaver-kd init", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder for networks/, data/ and train_scripts/")
    parser.add_argument("--overwrite", action="store_true", help="replace files that differ from those of this version")
    args = parser.parse_args(argv)
    new = lay_out(args.folder, overwrite=args.overwrite)
    print(f"{len(new)} files written to {args.folder}; see ./train_kd.sh --help there for the next steps")
    return 0
