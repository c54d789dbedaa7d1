"""Missing packages of the extras of setup.cfg: python -m kd_trainer.requirements EXTRA..."""

import configparser
import importlib.metadata
import sys
from collections.abc import Iterable

from packaging.requirements import Requirement

from kd_trainer import resources

SETUP = resources.root() / "setup.cfg"  # exists in a clone only


def missing(*extras: str) -> list[str]:
    """Requirements of weaver-kd with these extras that are not installed, in the format of pip: 'pytest>=8'."""
    wanted = {f"{one.name}{one.specifier}": one for one in _requirements(extras)}
    return [text for text, one in wanted.items() if not _is_met(one)]


def _requirements(extras: Iterable[str]) -> list[Requirement]:
    if SETUP.is_file():
        config = configparser.ConfigParser(interpolation=None)
        config.read(SETUP, encoding="utf-8")
        lists = [config["options"]["install_requires"], *(config["options.extras_require"][name] for name in extras)]
        every = [Requirement(line) for text in lists for line in text.strip().splitlines()]
    else:
        every = [Requirement(line) for line in importlib.metadata.requires("weaver-kd") or []]
    markers = [{"extra": name} for name in ("", *extras)]
    return [one for one in every if not one.marker or any(map(one.marker.evaluate, markers))]


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def main(extras: list[str]) -> int:
    """Print the missing packages in one line on stderr; returns the exit code."""
    lacking = missing(*extras)
    if lacking:
        packages = " ".join(f"'{one}'" for one in lacking)
        print(f"{sys.prefix} lacks packages of weaver-kd: pip install {packages}", file=sys.stderr)
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
