"""weaver-kd init, from a clone and from a wheel."""

import os
import shutil
import stat
import sys

import pytest
from helpers import ROOT, failure, kd_trainer, run

from kd_trainer import resources

SOURCES = ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
           "kd_trainer", "networks", "data", "train_scripts")  # fmt: skip


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment of the commands of a wheel, built from an sdist, in a folder where there is no repository."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        run("cp", "-a", ROOT / name, folder / "source")
    (folder / "source" / "data" / "JetClass" / "JetClass_l1.1234.auto.yaml").write_text("left by make_weight")
    build = "from setuptools.build_meta import build_sdist; build_sdist('..')"
    run(sys.executable, "-c", build, cwd=folder / "source")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    (sdist,) = folder.glob("*.tar.gz")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, sdist)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", folder / "site", wheel)
    shutil.rmtree(folder / "source")
    return {"PYTHONPATH": folder / "site", "PATH": f"{folder / 'site' / 'bin'}:{os.environ['PATH']}"}


def test_wheel_lays_out_what_the_clone_has(installed, tmp_path):
    run("weaver-kd", "init", tmp_path, cwd="/", env=installed)
    assert files(tmp_path) == {"train_kd.sh", *map(str, resources.shipped(ROOT))}
    for name in resources.shipped(ROOT):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


def test_scripts_run_without_a_repository(installed, tmp_path):
    run("weaver-kd", "init", tmp_path, cwd="/", env=installed)
    dry = run("./train_kd.sh", "train", "--dry-run", cwd=tmp_path, env={**installed, "DATASET": "JetClass"})
    assert "--network-config networks/distill.py" in dry.stdout
    done = run("./train_kd.sh", "make_weight", cwd=tmp_path, env={**installed, "DATASET": "demo"})
    assert "nothing to do" in done.stdout
    where = "import kd_trainer; print(kd_trainer.__file__)"
    source = run("bash", "-c", f'source train_scripts/setup.sh; python -c "{where}"', cwd=tmp_path, env=installed)
    assert source.stdout.startswith(str(installed["PYTHONPATH"]))
    run("weaver-kd", "pair", "--student", "data/JetClass/JetClass_l1.yaml", "-o", "run", cwd=tmp_path, env=installed)
    assert (tmp_path / "run" / "student.yaml").is_file()


def test_scripts_do_not_install_a_layout(tmp_path):
    kd_trainer("init", tmp_path)
    bare = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ""}
    result = run("bash", "-c", "source train_scripts/setup.sh", cwd=tmp_path, env=bare, check=False)
    assert result.returncode == 1 and "activate the environment that has weaver-kd" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_repeated(tmp_path):
    folder = tmp_path / "new"
    kd_trainer("init", folder)
    assert os.readlink(folder / "train_kd.sh") == "train_scripts/train_kd.sh"
    assert (folder / "train_kd.sh").stat().st_mode & stat.S_IXUSR
    (folder / "networks" / "PFN.py").unlink()  # as if it had been ended half-way
    (folder / "train_kd.sh").unlink()
    assert kd_trainer("init", folder).stdout.startswith("1 files written")
    assert (folder / "networks" / "PFN.py").is_file() and (folder / "train_kd.sh").is_file()


def test_keeps_files_that_differ(tmp_path):
    mine = tmp_path / "networks" / "PFN.py"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "train_kd.sh").write_text("mine too")
    message = f"{mine} and 1 more would be replaced: give --overwrite, or choose another folder"
    assert message in failure("init", tmp_path)
    assert mine.read_text() == "mine" and files(tmp_path) == {"networks/PFN.py", "train_kd.sh"}
    kd_trainer("init", tmp_path, "--overwrite")
    assert mine.read_bytes() == (ROOT / "networks" / "PFN.py").read_bytes()
    assert (tmp_path / "train_kd.sh").is_symlink()
