"""The tier gen: inputs of a teacher from generated particles, on which no detector-level input depends."""

import awkward as ak
import numpy as np
import pytest
import yaml
from helpers import CLASSES, ROOT, kd_trainer, random_jets
from weaver.utils.dataset import DataConfig
from weaver_inputs import data_config, fed, table_of

DATASETS = ("JetClass", "JetClassII")
PIDS = np.array([211, 321, 2212, 130, 2112, 22, 11, 13])
KINDS = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")


def config_path(dataset, tier="gen"):
    return ROOT / "data" / dataset / f"{dataset}_{tier}.yaml"


def jets_with_truth(number=40, particles=200, seed=6):
    """Jets of `random_jets` with generated particles that have nothing to do with the reconstructed ones."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, particles, number)
    total = counts.sum()
    pt = np.exp(rng.uniform(np.log(0.01), np.log(200), total))
    eta = np.repeat(rng.uniform(-2, 2, number), counts) + rng.normal(0, 0.3, total)
    phi = np.repeat(rng.uniform(-np.pi, np.pi, number), counts) + rng.normal(0, 0.3, total)
    flat = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta) + 0.1,
            **{name: rng.normal(0, 2, total) for name in ("x", "y", "z")}}  # fmt: skip
    record = {f"genpart_{name}": ak.unflatten(v.astype("float32"), counts) for name, v in flat.items()}
    pid = rng.choice(PIDS, total) * np.where(rng.uniform(size=total) < 0.5, -1, 1)
    record["genpart_pid"] = ak.unflatten(np.where(abs(pid) == 22, 22, pid).astype("int32"), counts)
    jets = random_jets(number)
    for name, values in record.items():
        jets[name] = values
    return jets


@pytest.mark.parametrize("dataset", DATASETS)
def test_inputs_are_those_of_the_generated_particles(dataset, tmp_path):
    jets = jets_with_truth()
    config = data_config(dataset, "gen")
    got, names = fed(jets, config, tmp_path), config.input_dicts["pf_features"]
    column = {name.removeprefix("gen_").replace("_scale", ""): got["pf_features"][:, i] for i, name in enumerate(names)}
    for i, jet in enumerate(jets):
        get = {name: ak.to_numpy(jet[f"genpart_{name}"]).astype(float) for name in ("px", "py", "pz", "energy", *"xyz")}
        pid = ak.to_numpy(jet.genpart_pid)
        order = np.argsort(-np.hypot(get["px"], get["py"]), kind="stable")[:128]
        total = {name: get[name].sum() for name in ("px", "py", "pz", "energy")}  # of all, not of the 128 hardest
        n = len(order)
        get, pid = {name: values[order] for name, values in get.items()}, pid[order]
        jet_pt, jet_phi = np.hypot(total["px"], total["py"]), np.arctan2(total["py"], total["px"])
        jet_eta = np.arcsinh(total["pz"] / jet_pt)
        pt, phi = np.hypot(get["px"], get["py"]), np.arctan2(get["py"], get["px"])
        eta = np.arcsinh(get["pz"] / pt)
        scale = 500 / jet_pt if dataset == "JetClassII" else 1.0
        deta, dphi = (eta - jet_eta) * np.where(jet_eta < 0, -1, 1), (phi - jet_phi + np.pi) % (2 * np.pi) - np.pi
        assert got["pf_mask"][i].sum() == n
        vectors = [get[name] * scale for name in ("px", "py", "pz", "energy")]
        np.testing.assert_allclose(got["pf_vectors"][i][:, :n], vectors, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got["pf_points"][i][:, :n], [deta, dphi], atol=2e-5)
        expected = {
            "pt_log": np.clip((np.log(pt * scale) - 1.7) * 0.7, -5, 5),
            "logptrel": np.clip((np.log(pt / jet_pt) + 4.7) * 0.7, -5, 5),
            "logerel": np.clip((np.log(get["energy"] / total["energy"]) + 4.7) * 0.7, -5, 5),
            "d0": np.tanh(get["x"] * np.sin(phi) - get["y"] * np.cos(phi)),
            "dz": np.tanh(get["z"] - (get["x"] * np.cos(phi) + get["y"] * np.sin(phi)) * get["pz"] / pt),
            "charge": np.sign(pid) * np.select(
                [np.isin(abs(pid), [211, 321, 2212]), np.isin(abs(pid), [11, 13])], [1, -1], 0),
        }  # fmt: skip
        for name, values in expected.items():
            np.testing.assert_allclose(column[name][i, :n], values, atol=2e-4, err_msg=name)
        flags = np.stack([column[f"is{kind}"][i, :n] for kind in KINDS])
        assert (flags.sum(axis=0) == 1).all()
    assert all(np.isfinite(values).all() for values in got.values())


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_input_rests_on_the_detector(dataset, tmp_path):
    jets = jets_with_truth()
    changed = ak.copy(jets)
    for name in jets.fields:
        if name.startswith("part_") or (name.startswith("jet_") and name not in ("jet_label", "jet_pt", "jet_sdmass")):
            changed[name] = jets[name] * 2 + 1
    changed["jet_pt"], changed["jet_sdmass"] = jets.jet_pt * 1.01, jets.jet_sdmass * 1.01  # selection reads them
    before, after = (fed(x, data_config(dataset, "gen"), tmp_path) for x in (jets, changed))
    for group in before:
        np.testing.assert_array_equal(before[group], after[group], err_msg=group)


@pytest.mark.parametrize("dataset", DATASETS)
def test_tier_differs_in_variables_and_inputs_only_and_has_the_groups_of_full(dataset):
    gen, full = (yaml.safe_load(config_path(dataset, tier).read_text()) for tier in ("gen", "full"))
    assert list(gen) == list(full)
    assert all(gen[key] == full[key] for key in set(gen) - {"new_variables", "inputs"})
    assert list(gen["inputs"]) == list(full["inputs"])
    assert {spec["length"] for spec in gen["inputs"].values()} == {128}
    features = [variable[0] for variable in full["inputs"]["pf_features"]["vars"]]
    expected = [name.replace("part_", "gen_") for name in features if not name.endswith("err")]
    assert [variable[0] for variable in gen["inputs"]["pf_features"]["vars"]] == expected


def test_it_pairs_with_a_detector_level_student_and_reads_simulated_jets(jets, tmp_path):
    kd_trainer("pair", "--student", config_path("JetClass", "l1"), "--teacher", config_path("JetClass"), "-o", tmp_path)
    config = DataConfig.load(str(tmp_path / "paired.yaml"), load_observers=False)
    files = [jets / "val" / f"{name}_000.parquet" for name in CLASSES[:2]]
    table, _ = table_of(config, *files, training=True)
    assert table["_pf_features"].shape[2] == 16 and table["_teacher_pf_features"].shape[1:] == (15, 128)
    vectors, mask = table["_teacher_pf_vectors"].astype(float), table["_teacher_pf_mask"]
    px, py = ((vectors[:, i] * mask[:, 0]).sum(axis=1) for i in (0, 1))
    generated = ak.concatenate([ak.from_parquet(path, columns=["genjet_pt"]).genjet_pt for path in files])
    np.testing.assert_allclose(np.hypot(px, py), generated, rtol=1e-2)


def test_it_reads_the_public_jets(shared, tmp_path):
    path = shared / "real" / "JetClassII_example.parquet"
    got = fed(ak.from_parquet(path), data_config("JetClassII", "gen"), tmp_path)
    assert all(np.isfinite(values).all() for values in got.values())
    pt = np.hypot(got["pf_vectors"][:, 0], got["pf_vectors"][:, 1]) * got["pf_mask"][:, 0]
    assert np.median(pt.sum(axis=1)) == pytest.approx(500, rel=0.2)
