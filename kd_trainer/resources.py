"""Networks, data configs and scripts of the package: at the top of a clone, or inside the installed package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IN_WHEEL = PACKAGE / "_files"
SHIPPED = ("networks/*.py", "data/*/*.yaml", "train_scripts/**/*")


def root() -> Path:
    """The folder that holds networks/, data/ and train_scripts/."""
    return IN_WHEEL if IN_WHEEL.is_dir() else PACKAGE.parent


def shipped(folder: Path) -> list[Path]:
    """Paths, relative to the folder, of all its files that belong to the package, without outputs of runs."""
    found = (path for pattern in SHIPPED for path in folder.glob(pattern) if path.is_file())
    names = sorted(path.relative_to(folder) for path in found if not path.name.endswith(".auto.yaml"))
    return [name for name in names if not any(part[0] in "._" for part in name.parts)]
