"""The simulator from its command line: physics of a small sample, files, resuming, wrong input."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import awkward as ak
import numpy as np
import pytest

from kd_trainer.datasets import storage
from kd_trainer.errors import InputError
from kd_trainer.simulate import command as simulate
from kd_trainer.simulate import production
from kd_trainer.simulate.processes import PROCESSES
from kd_trainer.simulate.samples import STREAMS, pythia_seed

CLASSES = tuple(PROCESSES)
JETS = 80  # as in conftest
LISTS = ["px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge"]
FLAGS = ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
BRANCHES = [f"part_{name}" for name in LISTS + FLAGS] + [f"label_{name}" for name in CLASSES]
BRANCHES += [f"jet_{name}" for name in ("pt", "eta", "phi", "energy", "nparticles", "sdmass")]
BRANCHES += [f"jet_tau{i}" for i in (1, 2, 3, 4)] + [f"aux_genpart_{name}" for name in ("pt", "eta", "phi", "pid")]


@pytest.fixture(scope="session")
def sample(simulated):
    """The jets of each class: dict of awkward arrays."""
    return {name: ak.from_parquet(simulated / f"{name}_000.parquet") for name in CLASSES}


@pytest.fixture(scope="session")
def all_jets(sample):
    return ak.concatenate(list(sample.values()))


def wrap(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi


def start(folder):
    """A long run in a process group of its own: the process, its log and its output directory."""
    log, output = folder / "log", folder / "jets"
    command = [sys.executable, "-m", "kd_trainer", "simulate", "-o", str(output), "--classes", "Wqq"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--jets", "100000", "--workers", "1"], stdout=stream, stderr=stream, start_new_session=True,
            # a run of the tests in the background ignores Ctrl-C, and its children would too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    return process, log, output


def wait_until(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def group_ends(group):
    """Whether no process of the group is left within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def end_group(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class TestColumns:
    def test_branches_of_jetclass(self, all_jets):
        assert set(BRANCHES) <= set(all_jets.fields)
        assert ak.type(all_jets.part_px).content.content.primitive == "float32"
        assert ak.type(all_jets.part_isMuon).content.content.primitive == "bool"
        assert ak.type(all_jets.label_QCD).content.primitive == "int32"

    def test_one_label_a_file(self, sample):
        for name, jets in sample.items():
            assert len(jets) == JETS
            assert all(ak.all(jets[f"label_{other}"] == (other == name)) for other in CLASSES)

    def test_everything_is_finite(self, all_jets):
        for name in all_jets.fields:
            assert ak.all(np.isfinite(all_jets[name])), name

    def test_jet_is_the_sum_of_its_particles(self, all_jets):
        jets = all_jets
        px, py, pz, energy = (ak.to_numpy(ak.sum(jets[f"part_{x}"], axis=1)) for x in ("px", "py", "pz", "energy"))
        pt = np.hypot(px, py)
        assert pt == pytest.approx(ak.to_numpy(jets.jet_pt), rel=1e-4)
        assert np.arcsinh(pz / pt) == pytest.approx(ak.to_numpy(jets.jet_eta), abs=1e-3)
        assert wrap(np.arctan2(py, px) - ak.to_numpy(jets.jet_phi)) == pytest.approx(0, abs=1e-3)
        assert energy == pytest.approx(ak.to_numpy(jets.jet_energy), rel=1e-4)
        assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)

    def test_conventions_of_particles(self, all_jets):
        jets = all_jets
        pt = np.hypot(jets.part_px, jets.part_py)
        assert ak.all(pt[:, 1:] <= pt[:, :-1])
        sign = ak.where(jets.jet_eta > 0, 1, -1)
        assert ak.max(abs((np.arcsinh(jets.part_pz / pt) - jets.jet_eta) * sign - jets.part_deta)) < 1e-4
        assert ak.max(abs(wrap(np.arctan2(jets.part_py, jets.part_px) - jets.jet_phi - jets.part_dphi))) < 1e-4
        assert ak.all(abs(jets.part_dphi) <= np.pi)
        assert ak.all(sum(ak.values_astype(jets[f"part_{flag}"], int) for flag in FLAGS) == 1)
        neutral = jets.part_isPhoton | jets.part_isNeutralHadron
        assert ak.all((jets.part_charge == 0) == neutral) and ak.all(abs(jets.part_charge) <= 1)
        for name in ("d0err", "dzerr"):
            assert ak.all((jets[f"part_{name}"] == 0) == neutral)

    def test_generator_particles(self, all_jets):
        jets = all_jets
        pt = np.hypot(ak.sum(jets.genpart_px, axis=1), ak.sum(jets.genpart_py, axis=1))
        assert ak.to_numpy(pt) == pytest.approx(ak.to_numpy(jets.genjet_pt), rel=1e-4)
        assert ak.all(ak.num(jets.genpart_px) == jets.genjet_nparticles)
        assert not ak.any((abs(jets.genpart_pid) == 12) | (abs(jets.genpart_pid) == 14) | (abs(jets.genpart_pid) == 16))
        assert ak.all(jets.genpart_t >= 0) and ak.max(abs(jets.genpart_x)) > 100
        assert ak.all(np.hypot(jets.genjet_eta - jets.jet_eta, wrap(jets.genjet_phi - jets.jet_phi)) < 0.8)


class TestPhysics:
    def test_window(self, all_jets):
        assert ak.all((all_jets.jet_pt >= 500) & (all_jets.jet_pt <= 1000) & (abs(all_jets.jet_eta) < 2))

    def test_pt_spectrum_does_not_tell_the_class(self, sample):
        means = [np.mean(jets.jet_pt) for jets in sample.values()]
        assert min(means) > 650 and max(means) < 750  # the uncertainty is 15 GeV each

    def test_mass_peaks(self, sample):
        """The peak is the median mass of the jets above 60 GeV, where soft drop kept both prongs."""
        mass = {name: ak.to_numpy(jets.jet_sdmass) for name, jets in sample.items()}
        peak = {name: np.median(values[values > 60]) for name, values in mass.items()}
        assert peak["Wqq"] == pytest.approx(82, abs=5)
        assert peak["Zqq"] == pytest.approx(92, abs=6)
        for name in ("Hbb", "Hcc", "Hgg", "H4q"):
            assert peak[name] == pytest.approx(121, abs=9)
        assert peak["Tbqq"] == pytest.approx(171, abs=9)
        assert np.median(mass["QCD"]) < 50
        for name, whole in (("Hqql", "H4q"), ("Tbl", "Tbqq")):  # without the neutrino
            assert np.median(mass[name]) < np.median(mass[whole]) - 15

    def test_resonance(self, sample):
        pids = {"QCD": [0], "Zqq": [23], "Wqq": [-24, 24], "Tbqq": [-6, 6], "Tbl": [-6, 6]}
        for name, jets in sample.items():
            assert np.unique(ak.to_numpy(jets.aux_genpart_pid)).tolist() == pids.get(name, [25])
            if name in ("Hbb", "Hcc", "Hgg", "H4q", "Zqq", "Wqq", "Tbqq"):
                assert np.median(jets.jet_pt / jets.aux_genpart_pt) == pytest.approx(1, abs=0.06)
                distance = np.hypot(jets.jet_eta - jets.aux_genpart_eta, wrap(jets.jet_phi - jets.aux_genpart_phi))
                assert np.median(distance) < 0.05

    def test_multiplicity(self, sample):
        number = {name: np.mean(jets.jet_nparticles) for name, jets in sample.items()}
        assert number["Hgg"] > number["H4q"] > number["Hbb"] > number["Wqq"]
        assert number["Tbqq"] > number["Hbb"] and number["Hbb"] > number["Zqq"]
        assert number["H4q"] > number["Hqql"] and number["Tbqq"] > number["Tbl"]
        assert 35 < number["QCD"] < 60 and number["QCD"] < number["Hgg"]

    def test_substructure(self, sample):
        tau21 = {name: np.nanmedian(jets.jet_tau2 / jets.jet_tau1) for name, jets in sample.items()}
        tau32 = {name: np.nanmedian(jets.jet_tau3 / jets.jet_tau2) for name, jets in sample.items()}
        assert max(tau21["Wqq"], tau21["Zqq"], tau21["Hbb"]) + 0.1 < tau21["QCD"]
        assert tau32["Tbqq"] + 0.1 < min(tau32["QCD"], tau32["Wqq"])

    def test_displaced_tracks(self, sample):
        displaced = {}
        for name, jets in sample.items():
            track = jets.part_charge != 0
            far = abs(ak.where(track, jets.part_d0val, 0)) > 3 * jets.part_d0err
            displaced[name] = np.mean(ak.sum(far & track, axis=1))
        assert displaced["Hbb"] > 1.5 * displaced["Hcc"] and displaced["Hcc"] > 1.2 * displaced["QCD"]
        assert min(displaced["Tbqq"], displaced["Tbl"]) > 1.5 * displaced["QCD"]

    def test_leptons(self, sample):
        def with_lepton(jets):
            lepton = (jets.part_isElectron | jets.part_isMuon) & (np.hypot(jets.part_px, jets.part_py) > 20)
            return np.mean(ak.any(lepton, axis=1)), np.mean(ak.sum(jets.part_charge[lepton], axis=1) > 0)

        for name in ("Hqql", "Tbl"):
            fraction, positive = with_lepton(sample[name])
            assert fraction > 0.75 and 0.2 < positive < 0.7  # both charges
        assert max(with_lepton(sample[name])[0] for name in ("QCD", "Wqq", "Hgg")) < 0.15

    def test_response(self, all_jets):
        response = ak.to_numpy(all_jets.jet_pt / all_jets.genjet_pt)
        assert response.mean() == pytest.approx(1, abs=0.02)
        assert 0.03 < response.std() < 0.08

    def test_composition_of_jets(self, all_jets):
        """Charged particles carry most, photons a quarter, neutral hadrons the rest of the transverse momentum."""
        pt = np.hypot(all_jets.part_px, all_jets.part_py)
        carried = {flag: ak.sum(pt[all_jets[f"part_{flag}"]]) / ak.sum(pt) for flag in FLAGS}
        assert carried["isChargedHadron"] == pytest.approx(0.50, abs=0.07)
        assert carried["isPhoton"] == pytest.approx(0.24, abs=0.04)
        assert carried["isNeutralHadron"] == pytest.approx(0.18, abs=0.05)


class TestFiles:
    def test_metadata(self, simulated):
        stored = storage.read_settings(simulated / "Hqql_000.parquet")
        assert stored["class"] == "Hqql" and stored["jets"] == JETS and stored["seed"] == 100
        assert stored["pythia_seeds"] == [pythia_seed(100, "jetclass", "Hqql", 0, 0)]
        assert len(stored["pythia"]) == 2 and "Beams:eCM = 13000." in stored["pythia"][0]
        assert stored["versions"]["pythia8mc"].startswith("8.")

    def test_same_seed_gives_the_same_file(self, simulated, tmp_path):
        """The same seed gives the same files, also with fewer processes and another order of the parts."""
        arguments = ["--classes", "Wqq", "--jets", str(JETS), "--seed", "100", "--workers", "1"]
        simulate.main(["-o", str(tmp_path), *arguments])
        assert (tmp_path / "Wqq_000.parquet").read_bytes() == (simulated / "Wqq_000.parquet").read_bytes()

    def test_other_file_has_other_jets_and_format(self, sample, tmp_path):
        arguments = ["--classes", "Wqq", "--jets", "8", "--start-file", "3", "--seed", "100", "--format", "root"]
        simulate.main(["-o", str(tmp_path), *arguments, "--workers", "1"])
        assert [path.name for path in tmp_path.iterdir()] == ["Wqq_003.root"]
        from weaver.utils.data.fileio import _read_files

        jets = _read_files([str(tmp_path / "Wqq_003.root")], BRANCHES)
        assert set(jets.fields) == set(BRANCHES) and len(jets) == 8
        assert not set(jets.jet_pt.to_list()) & set(sample["Wqq"].jet_pt.to_list())

    def test_complete_files_are_kept(self, simulated, capsys):
        before = {path: path.stat().st_mtime_ns for path in simulated.iterdir()}
        arguments = ["-o", str(simulated), "--jets", "3", "--jets-of", f"QCD={JETS}", "--seed", "100"]
        assert simulate.main([*arguments, "--classes", "QCD"]) == 0
        assert "1 of them already" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in simulated.iterdir()} == before

    def test_other_settings_are_an_error(self, simulated):
        with pytest.raises(InputError, match=r"QCD_000.parquet was made with other settings \(pythia_seeds, seed\)"):
            simulate.main(["-o", str(simulated), "--jets", str(JETS), "--seed", "8"])

    def test_ctrl_c_leaves_no_partial_file(self, tmp_path):
        process, log, output = start(tmp_path)
        try:
            wait_until(process, lambda: "jet/s" in log.read_text() and "| 0/" not in log.read_text()[-80:])
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(timeout=20) == 130
            assert "stopped" in log.read_text() and "Traceback" not in log.read_text()
            assert list(output.iterdir()) == []
            assert group_ends(process.pid)
        finally:
            end_group(process.pid)

    def test_workers_end_with_a_parent_that_is_killed(self, tmp_path):
        process, log, _ = start(tmp_path)
        try:
            wait_until(process, lambda: "jet/s" in log.read_text())
            process.kill()
            process.wait(timeout=20)
            assert group_ends(process.pid)
        finally:
            end_group(process.pid)


class TestInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--classes", "Hxx"], "unknown class 'Hxx'; valid are: QCD, Hbb"),
            (["--jets", "0"], "--jets has to be at least 1, not 0"),
            (["--files", "-1"], "--files has to be at least 1"),
            (["--workers", "0"], "--workers has to be at least 1"),
            (["--start-file", "-1"], "--start-file cannot be negative"),
            (["--jets-of", "QCD"], "--jets-of takes CLASS=N"),
            (["--jets-of", "Hxx=3"], "unknown class 'Hxx'"),
            (["--jets-of", "QCD=0"], "--jets-of QCD has to be at least 1"),
            (["--classes", "Hbb", "--jets-of", "QCD=5"], "--jets-of QCD has no effect"),
        ],
    )
    def test_wrong_arguments(self, tmp_path, arguments, message):
        with pytest.raises(InputError, match=message):
            simulate.main(["-o", str(tmp_path / "new"), *arguments])
        assert not (tmp_path / "new").exists()

    def test_unwritable_directory(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write to .*file/below"):
            simulate.main(["-o", str(tmp_path / "file" / "below"), "--jets", "1"])

    @pytest.mark.parametrize("package", ["pythia8mc", "fastjet"])
    def test_missing_package(self, tmp_path, monkeypatch, package):
        found = simulate.importlib.util.find_spec
        monkeypatch.setattr(simulate.importlib.util, "find_spec", lambda name: None if name == package else found(name))
        with pytest.raises(InputError, match=rf"{package} is not installed; pip install 'weaver-kd\[demo\]'"):
            simulate.main(["-o", str(tmp_path)])


class TestParts:
    def test_parts_make_up_the_file(self):
        made = {"class": "Hbb", "file": 2, "jets": 2 * production.PART + 1, "seed": 5}
        parts = production.split("jetclass", made)
        assert [part.jets for part in parts] == [production.PART, production.PART, 1]
        assert [part.part for part in parts] == [0, 1, 2]
        assert {(part.name, part.file, part.seed) for part in parts} == {("Hbb", 2, 5)}

    def test_seeds_differ(self):
        every = [pythia_seed(1, *stream, file, part) for stream in STREAMS for file in range(20) for part in range(10)]
        assert len(set(every)) == len(every)
        assert all(1 <= seed <= 900_000_000 for seed in every)

    def test_processes_cover_jetclass(self):
        assert CLASSES == ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
        assert all(process.pt_hat[0] < 500 and process.pt_hat[1] > 1000 for process in PROCESSES.values())
