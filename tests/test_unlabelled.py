"""Jets without labels and blends with train_kd.sh."""

import os
import re

import awkward as ak
import pytest
from distillation import short
from helpers import ROOT, random_jets, script
from weaver_inputs import untrained

TINY = short(40, 40, 20)
STALE = "1 input files have changed since their soft targets were computed: "
STUDENT = "TopLandscape_PFN-1k_l1_kd_seed1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Jets of two classes, others without branches for labels, and an untrained teacher of the hlt tier."""
    folder = tmp_path_factory.mktemp("jets")
    for i, name in enumerate(("train/jets", "val/jets", "more/a", "more/b")):
        jets = random_jets(number=64, particles=30, seed=i)
        if name.startswith("more"):
            jets = jets[[field for field in jets.fields if "label" not in field]]
        (folder / name).parent.mkdir(exist_ok=True)
        ak.to_parquet(jets, folder / f"{name}.parquet")
    config = ROOT / "data" / "TopLandscape" / "TopLandscape_hlt.yaml"
    untrained(folder / "hlt.pt", config, "PFN", phi_dims=[16, 16], rho_dims=[16])
    return folder


@pytest.fixture(scope="module")
def train_kd(clone, folder):
    """train_kd(mode, *arguments, **settings), called from the folder with the jets."""

    def call(mode, *args, check=True, **settings):
        settings = {"DATASET": "TopLandscape", "DATADIR": folder, "TEACHER": "PFN-1k", "STUDENT": "PFN-1k", **settings}
        return script(clone / "train_kd.sh", mode, *args, check=check, cwd=folder, env=settings)

    return call


def test_jets_without_labels_beside_others_then_a_blend(clone, folder, train_kd):
    beside = {"UNLABELLED": "more/*.parquet", "UNLABELLED_FRACTION": "0.75"}
    train_kd("teacher", *TINY)
    (record,) = (clone / "training").glob("TopLandscape_PFN-1k_*_seed1/net_record.json")
    hidden = record.rename(record.with_name("hidden.json"))
    named = {"TEACHER_WEIGHTS": record.with_name("net_best_epoch_state.pt")}
    unfinished = train_kd("cache", check=False, CACHE="kin", **named)
    assert unfinished.returncode == 1 and f"the training {record.parent.name} is not complete" in unfinished.stderr
    hidden.rename(record)
    train_kd("cache", CACHE="kin")
    missing = train_kd("train", *TINY, check=False, CACHE="kin", **beside)
    assert missing.returncode == 1 and f"there is no cache in {folder}/kin_unlabelled" in missing.stderr
    assert not (clone / "training" / STUDENT / "net_record.json").exists()

    train_kd("cache", CACHE="kin", **beside)
    train_kd("train", *TINY, CACHE="kin", **beside)
    log = (clone / "logs" / STUDENT / "train.log").read_text().rpartition("INFO: args:")[2]  # of the last attempt
    assert "5 of 20 jets of a batch have labels" in log and "ERROR" not in log
    assert "soft targets from the cache" in log
    assert len(re.findall(r"Epoch #0 distillation: task_loss [\d.]+, kd_loss [\d.]+", log)) == 1

    for path in (folder / "more" / "b.parquet", folder / "train" / "jets.parquet"):
        before = path.stat().st_mtime_ns
        os.utime(path, ns=(before, before + 10**10))
        stale = train_kd("train", *TINY, check=False, CACHE="kin", RUN="stale", **beside)
        assert stale.returncode == 1 and STALE in stale.stderr.splitlines()[-1]
        os.utime(path, ns=(before, before))

    train_kd("cache", CACHE="hlt", TEACHER_TIER="hlt", TEACHER_WEIGHTS="hlt.pt", **beside)
    blend = {"BLEND": "kin=0.8 hlt=0.2", "CACHE": "both", "RUN": "blended"}
    missing = train_kd("train", *TINY, check=False, **blend, **beside)
    assert missing.returncode == 1 and f"there is no cache in {folder}/both" in missing.stderr
    train_kd("cache", **blend, **beside)
    train_kd("train", *TINY, "-o", "kd_temperature", 1.0, **blend, **beside)
    log = (clone / "logs" / "blended" / "train.log").read_text().rpartition("INFO: args:")[2]
    assert "5 of 20 jets of a batch have labels" in log and "ERROR" not in log
    more = train_kd("train", *TINY, check=False, **blend | {"RUN": "more"}, TRAIN_FILES="train/*.parquet val/*.parquet")
    lacking = f"{folder}/both has no soft targets for 1 of 2 files, for example {folder}/val/jets.parquet"
    assert lacking in more.stderr
