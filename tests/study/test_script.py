"""train_scripts/study.sh, run as a user runs it."""

import pytest
import yaml
from helpers import ROOT, script


def study(*args, cwd=ROOT, **env):
    return script(ROOT / "train_scripts" / "study.sh", *args, check=False, cwd=cwd, env=env)


def test_help():
    result = study("--help")
    assert result.returncode == 0
    for word in ("simulate", "run", "list", "report", "document", "DATADIR", "PROFILE", "JOBS"):
        assert word in result.stdout


@pytest.mark.parametrize(
    "args, message",
    [
        (("train", "top"), "unknown mode 'train'"),
        (("run",), "name a study: demo jetclass public top unlabelled, or a file"),
        (
            ("run", "tops"),
            "there is no study train_scripts/studies/tops.yaml: name a file, or demo jetclass public top",
        ),
        (("run", "mine.yaml"), "there is no study "),
    ],
)
def test_wrong_calls(args, message, tmp_path):
    result = study(*args, cwd=tmp_path)
    assert result.returncode != 0 and message in result.stderr.splitlines()[-1]


def test_what_is_not_there_yet(tmp_path):
    result = study("document", "top", COMMENT="_none")
    missing = "there is no training/study_top_none/results.json: run train_scripts/study.sh report top first"
    assert result.returncode != 0 and missing in result.stderr


def test_dry_run_prints_the_command(tmp_path):
    result = study("run", "top", "--dry-run", "--rulegraph", cwd=tmp_path, DATADIR="jets", JOBS=3, PROFILE="slurm")
    assert result.stdout.splitlines()[-1] == (
        "train_scripts/guard.py training/study_top/.lock snakemake --snakefile train_scripts/Snakefile "
        "--profile train_scripts/profiles/slurm --cores 3 --rulegraph --config "
        f"study=train_scripts/studies/top.yaml done= DATADIR={tmp_path}/jets"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", ["slurm", "htcondor"])
def test_profiles_know_what_each_step_needs(profile, tmp_path):
    """What snakemake would ask a cluster for."""
    found = study("list", "demo", DATADIR=tmp_path, PROFILE=profile)
    said = found.stdout + found.stderr
    assert found.returncode == 0, said
    content = yaml.safe_load((ROOT / "train_scripts" / "profiles" / profile / "config.yaml").read_text())
    assert {"teacher", "train", "baseline", "cache", "test", "latency"} <= set(content["set-resources"])
    assert set(content["set-threads"]) == set(content["set-resources"])


def test_a_wrong_study_is_one_line(tmp_path):
    (tmp_path / "wrong.yaml").write_text("dataset: demo\narms: {}\n")
    found = study("list", "wrong.yaml", cwd=tmp_path)
    lines = [line for line in (found.stdout + found.stderr).splitlines() if "wrong.yaml: the study has no" in line]
    assert found.returncode != 0 and lines == [
        f"Snakefile: study {tmp_path}/wrong.yaml: the study has no entry 'students'"
    ]
