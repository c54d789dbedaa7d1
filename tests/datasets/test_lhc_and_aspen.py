"""LHC jets of hls4ml and AspenOpenJets: conversion of files that are written here in the public layouts."""

import json
import tracemalloc

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
from distillation import short
from hdf5_layouts import aspen_arrays, lhc_arrays, write
from helpers import ROOT, failure, kd_trainer, script
from weaver.utils.dataset import DataConfig
from weaver_inputs import table_of, untrained

from kd_trainer.datasets import conversion

TINY = short(60, 20, 20)
ARRAYS = {"lhcjet": lhc_arrays, "aspen": aspen_arrays}


@pytest.fixture(scope="module")
def aspen(tmp_path_factory):
    """A folder with 300 converted jets, and what they were made of."""
    folder = tmp_path_factory.mktemp("aspen")
    arrays = aspen_arrays()
    arrays["jet_kinematics"][0, 3] = -1  # no soft-drop mass
    write(folder / "RunG_batch0.h5", arrays)
    kd_trainer("convert", "aspen", folder, "-o", folder / "jets")
    return folder / "jets", arrays


def fails(form, folder):
    """The one line of a conversion that fails."""
    line = failure("convert", form, folder, "-o", folder / "out")
    assert not list((folder / "out").iterdir())
    return line.partition("1 of 1 files were not converted: ")[2].removeprefix(f"{folder}/")


def test_lhc_jets(tmp_path):
    arrays = lhc_arrays()
    arrays["jetConstituentList"][7] = 0
    write(tmp_path / "jetImage_0_150p_0_10000.h5", arrays)
    assert "wrote 299 jets; 1 rows" in kd_trainer("convert", "lhcjet", tmp_path, "-o", tmp_path).stdout
    jets = ak.from_parquet(tmp_path / "jetImage_0_150p_0_10000.parquet")
    rows = [i for i in range(300) if i != 7]
    assert jets.event_number.to_list() == rows and jets.label.to_list() == [i % 5 for i in rows]
    p = arrays["jetConstituentList"][rows].astype(float)
    for i, name in enumerate(("px", "py", "pz", "energy")):
        assert np.allclose(ak.flatten(jets[f"part_{name}"]), p[..., i][p[..., 3] != 0], rtol=1e-6)
        assert np.allclose(ak.sum(jets[f"part_{name}"], axis=1), p[..., i].sum(axis=1), rtol=1e-4, atol=1e-2)
    assert np.allclose(jets.jet_pt, np.hypot(*p[..., :2].sum(axis=1).T), rtol=1e-5)
    before = (tmp_path / "jetImage_0_150p_0_10000.parquet").stat().st_mtime_ns
    assert "1 files, 1 of them already" in kd_trainer("convert", "lhcjet", tmp_path, "-o", tmp_path).stdout
    assert (tmp_path / "jetImage_0_150p_0_10000.parquet").stat().st_mtime_ns == before


def test_aspen(aspen):
    folder, arrays = aspen
    jets = ak.from_parquet(folder / "RunG_batch0.parquet")
    assert jets.event_number.to_list() == list(range(300)) and not [x for x in jets.fields if "label" in x]
    cands = arrays["PFCands"].astype(float)
    kept = cands[..., 10] > 0
    assert jets.jet_nparticles.to_list() == kept.sum(axis=1).tolist()
    weighted = cands[..., :4] * cands[..., 10:]
    assert np.allclose(jets.jet_energy, weighted[..., 3].sum(axis=1), rtol=1e-5)
    assert np.allclose(jets.jet_pt, np.hypot(*weighted[..., :2].sum(axis=1).T), rtol=1e-5)
    assert np.allclose(jets.jet_sdmass, arrays["jet_kinematics"][:, 3]) and jets.jet_sdmass[0] == -1
    assert np.allclose(jets.jet_tau3, arrays["jet_tagging"][:, 3])
    pt = np.hypot(jets.part_px, jets.part_py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])

    order = np.argsort(-np.hypot(weighted[5, :, 0], weighted[5, :, 1]))[: kept[5].sum()]
    of, jet = cands[5, order], jets[5]
    assert np.allclose(jet.part_px, weighted[5, order, 0], rtol=1e-6)
    track = of[:, 4] != -1
    for name, i, factor in (("d0val", 4, -10), ("d0err", 5, 10), ("dzval", 6, 10), ("dzerr", 7, 10)):
        assert np.allclose(jet[f"part_{name}"], np.where(track, of[:, i] * factor, 0), rtol=1e-6)
    assert jet.part_charge.to_list() == of[:, 8].tolist()
    kinds = {"ChargedHadron": (211,), "NeutralHadron": (130, 1), "Photon": (22, 2), "Electron": (11,), "Muon": (13,)}
    for name, ids in kinds.items():
        assert jet[f"part_is{name}"].to_list() == np.isin(abs(of[:, 9]), ids).tolist()


def test_aspen_has_the_types_of_jetclass2(aspen, shared):
    made = pq.read_schema(aspen[0] / "RunG_batch0.parquet")
    for field in pq.read_schema(shared / "real" / "JetClassII_example.parquet"):
        if field.name.startswith(("part_", "jet_")) and field.name != "jet_label":
            kind = made.field(field.name).type
            assert getattr(kind, "value_type", kind) == getattr(field.type, "value_type", field.type), field.name


@pytest.mark.parametrize("form", ARRAYS)
def test_memory_is_that_of_a_piece(form, tmp_path, monkeypatch):
    """40 pieces: they make up the file, and never use as much memory as half of the largest array."""
    arrays = ARRAYS[form](2000)
    write(tmp_path / "a.h5", arrays, compression="gzip", compression_opts=1)
    largest = max(values.nbytes for values in arrays.values())
    kd_trainer("convert", form, tmp_path, "-o", tmp_path / "whole")
    monkeypatch.setattr(conversion, "STEP", 50)
    tracemalloc.start()
    kd_trainer("convert", form, tmp_path, "-o", tmp_path / "pieces")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < largest / 2
    pieces, whole = (pq.ParquetFile(tmp_path / name / "a.parquet") for name in ("pieces", "whole"))
    assert pieces.read().equals(whole.read()) and pieces.metadata.num_row_groups == 2


def change(name, index, value):
    def apply(arrays):
        arrays[name][index] = value

    return apply


def swap(arrays):
    """Another order of columns: pt where px is expected."""
    name = max(arrays, key=lambda name: arrays[name].nbytes)
    arrays[name] = arrays[name][..., ::-1].copy()


def far_off(arrays):
    arrays["jet_kinematics"][:, 1] += 1


LHC_SHAPES = "a.h5 has jetConstituentList of shape (300, 150, 15), not numbers of shape (N, P, 16)"
ASPEN_SHAPES = "a.h5 has PFCands of shape (300, 150, 10), not numbers of shape (N, P, 11)"


@pytest.mark.parametrize(
    ("form", "spoil", "message"),
    [
        ("lhcjet", lambda a: a.pop("jets"), "a.h5 lacks jets"),
        ("lhcjet", lambda a: a.update(jetConstituentList=a["jetConstituentList"][..., 1:]), LHC_SHAPES),
        ("lhcjet", lambda a: a.update(jets=a["jets"][1:]), "a.h5 has arrays of different length: jets 299, jetCons"),
        ("lhcjet", change("jets", (9, 53), 0.5), "a.h5 has no single class in row 9"),
        ("lhcjet", change("jetConstituentList", (8, 1, 0), np.nan), "a.h5 has NaN or infinity in part_px of row 8"),
        ("lhcjet", swap, "a.h5 has particles whose pt does not agree with px and py (wrong columns) in row 0"),
        ("lhcjet", change("jetConstituentList", ..., 0), "a.h5 has no jets with particles"),
        ("aspen", lambda a: a.pop("PFCands"), "a.h5 lacks PFCands"),
        ("aspen", lambda a: a.update(PFCands=a["PFCands"][..., 1:]), ASPEN_SHAPES),
        ("aspen", lambda a: a.update(jet_tagging=np.bytes_(["x"])), "a.h5 has jet_tagging of shape (1,), not numbers"),
        ("aspen", change("PFCands", (8, 1, 4), np.inf), "a.h5 has NaN or infinity in PFCands in row 8"),
        ("aspen", change("PFCands", (8, 1, 10), 7), "a.h5 has PUPPI weights (column 10 of PFCands) outside [0, 1] in "),
        ("aspen", change("PFCands", (8, 1, 9), 310), "a.h5 has unknown PDG ids (column 9 of PFCands) in row 8"),
        ("aspen", far_off, "a.h5 has particles that do not add up to their jets: the median distance of the axes is"),
        ("aspen", lambda a: a.update({name: values[:0] for name, values in a.items()}), "a.h5 has no jets"),
    ],
)  # fmt: skip
def test_bad_files(form, spoil, message, tmp_path):
    arrays = ARRAYS[form]()
    spoil(arrays)
    write(tmp_path / "a.h5", arrays)
    line = fails(form, tmp_path)
    assert line.startswith(message), line


@pytest.mark.parametrize("form", ARRAYS)
def test_truncated(form, tmp_path):
    write(tmp_path / "a.h5", ARRAYS[form](50))
    content = (tmp_path / "a.h5").read_bytes()
    for part in (b"", b"not HDF5", content[: len(content) // 2]):
        (tmp_path / "a.h5").write_bytes(part)
        assert fails(form, tmp_path).startswith("a.h5 cannot be read: ")


def test_from_the_public_layout_to_a_distilled_student(clone, tmp_path):
    """One command each; the networks are small, the rest is what a user gets without settings."""
    for split, seed in (("train", 1), ("train", 2), ("test", 3)):
        (tmp_path / "raw" / split).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "raw" / split / f"jetImage_{seed}_150p_0_10000.h5", lhc_arrays(100, seed))
    settings = {"DATASET": "LHCJets", "DATADIR": tmp_path / "jets", "TEACHER": "PFN-1k", "STUDENT": "PFN-1k"}
    for split in ("train", "test"):
        kd_trainer("convert", "lhcjet", tmp_path / "raw" / split, "-o", tmp_path / "jets" / split)
    for mode, args in {"teacher": TINY, "train": TINY, "baseline": TINY, "test": (), "report": ()}.items():
        script(clone / "train_kd.sh", mode, *args, cwd=tmp_path, env=settings)
    log = (clone / "logs" / "LHCJets_PFN-1k_kin16_kd_seed1" / "train.log").read_text()
    assert "kd_loss" in log and "ERROR" not in log
    folder = clone / "training" / "LHCJets_report"
    results = json.loads((folder / "report.json").read_text())
    assert results["published"]["benchmark"] == "LHCJets"
    text = (folder / "report.md").read_text()
    assert "LHCJets_kin, 150 particles" in text and "LHCJets_kin16, 16 particles" in text and "W@50%" in text


def test_real_jets_for_the_configs_of_jetclass2(aspen, tmp_path):
    """What UNLABELLED and pretrain read: the paired config of two tiers, and that of one, without labels."""
    path = aspen[0] / "RunG_batch0.parquet"
    student, teacher = (ROOT / "data" / "JetClassII" / f"JetClassII_{tier}.yaml" for tier in ("l1", "full"))
    kd_trainer("pair", "--student", student, "--teacher", teacher, "--unlabelled", "-o", tmp_path)
    kd_trainer("unlabelled", "--data-config", teacher, "-o", tmp_path / "unlabelled.yaml")
    for name in ("paired", "unlabelled"):
        kd_trainer("check", "--all", "--data-config", tmp_path / f"{name}.yaml", path)
        config = DataConfig.load(str(tmp_path / f"{name}.yaml"), load_observers=False)
        table, indices = table_of(config, path, training=True)
        assert 250 < len(indices) < 300  # with a soft-drop mass
        assert all(np.isfinite(table["_" + group]).all() for group in config.input_names)


def test_training_on_real_jets(clone, aspen, tmp_path):
    """Pre-training of a teacher, and a student that learns all from one."""
    config = ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"
    untrained(tmp_path / "full.pt", config, "PFN", phi_dims=[16, 16], rho_dims=[16])
    settings = {"DATASET": "AspenOpenJets", "DATADIR": aspen[0], "TEACHER": "PFN-1k", "STUDENT": "PFN-1k"}
    tiny = (*TINY, "--fetch-step", 1)
    script(clone / "train_kd.sh", "pretrain", *tiny, cwd=tmp_path, env=settings)
    assert (clone / "training" / "AspenOpenJets_PFN-1k_full_seed1_pretrained" / "net_best_epoch_state.pt").exists()
    script(clone / "train_kd.sh", "train", *tiny, cwd=tmp_path,
           env={**settings, "LABELS": "no", "TEACHER_WEIGHTS": "full.pt"})  # fmt: skip
    log = (clone / "logs" / "AspenOpenJets_PFN-1k_l1_kd_seed1" / "train.log").read_text()
    assert "kd_loss" in log and "ERROR" not in log
