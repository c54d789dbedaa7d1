"""The Tagger's inputs are those of weaver's loader, bit for bit."""

import awkward as ak
import numpy as np
import pytest
from helpers import ROOT, random_jets
from weaver.utils.dataset import DataConfig
from weaver_inputs import table_of

from kd_trainer import configs
from kd_trainer.deploy.inputs import NO_PARTICLES, NOT_FINITE_INPUT, input_view, label_view, labels, prepare
from kd_trainer.deploy.reading import read_chunks, read_jets
from kd_trainer.deploy.score_files import writer
from kd_trainer.errors import InputError

DATA = ROOT / "data"
L1 = DATA / "JetClass" / "JetClass_l1.yaml"


def weavers_inputs(config, files):
    return table_of(DataConfig.load(str(config)), *files)[0]


def our_inputs(config, files, rows):
    view = input_view(configs.load(config))
    parts = [prepare(events, view).inputs for path in files for events in read_chunks(path, view, rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in view.input_names}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same jets in parquet and in ROOT."""
    folder, events = tmp_path_factory.mktemp("files"), random_jets(60)
    ak.to_parquet(events, folder / "jets.parquet", row_group_size=25)
    with writer(folder / "jets.root") as append:
        append(events)
    return folder / "jets.parquet", folder / "jets.root"


@pytest.mark.parametrize("rows", [25, 1000])
@pytest.mark.parametrize("tier", ["l1", "l1trk", "hlt", "kin", "full"])
def test_bit_for_bit_as_weaver(files, tier, rows):
    for path in files:
        config = DATA / "JetClass" / f"JetClass_{tier}.yaml"
        theirs, ours = weavers_inputs(config, [path]), our_inputs(config, [path], rows)
        assert set(ours) == {"pf_points", "pf_features", "pf_vectors", "pf_mask"}
        for name, values in ours.items():
            assert values.dtype == np.float32
            assert np.array_equal(values.view("uint32"), theirs["_" + name].view("uint32"))


def test_bit_for_bit_on_simulated_jets(val_files):
    theirs, ours = weavers_inputs(L1, val_files), our_inputs(L1, val_files, 50)
    assert all(np.array_equal(x.view("uint32"), theirs["_" + name].view("uint32")) for name, x in ours.items())


def test_labels_are_weavers(val_files):
    view = label_view(configs.load(L1))
    events = read_jets(val_files, view, 160)
    assert np.array_equal(labels(events, view), weavers_inputs(L1, val_files)["_label_"])


def test_slices_and_jets_without_labels():
    view, events = input_view(configs.load(L1)), random_jets(30)
    events = events[[name for name in events.fields if name.startswith("part_")]]
    everything, part = prepare(events, view).inputs, prepare(events[3:17], view).inputs
    chosen = prepare(events[ak.Array([20, 4, 4])], view).inputs
    for name, values in everything.items():
        assert np.array_equal(part[name], values[3:17])
        assert np.array_equal(chosen[name], values[[20, 4, 4]])
    assert prepare(events[:0], view).inputs["pf_features"].shape == (0, 13, 16)


def test_flags():
    events = random_jets(6)
    px = ak.to_list(events.part_px)
    px[1][0], px[2][-1], px[3] = float("nan"), float("inf"), [1e-3] * len(px[3])
    events["part_px"] = ak.values_astype(ak.Array(px), "float32")
    events["part_py"] = ak.where(np.arange(6) == 3, events.part_py * 0, events.part_py)  # nothing of it above 2 GeV
    jets = prepare(events, input_view(configs.load(L1)))
    assert jets.flags.tolist()[1:4] == [NOT_FINITE_INPUT, NOT_FINITE_INPUT, NO_PARTICLES]
    assert not jets.inputs["pf_mask"][3].any() and not jets.inputs["pf_features"][3].any()
    assert not np.isnan(jets.inputs["pf_features"]).any()


def test_selection_is_for_those_who_ask():
    view = input_view({**configs.load(L1), "selection": "jet_pt > 600"})
    events = random_jets(40)
    every, some = prepare(events, view), prepare(events, view, selected=True)
    assert every.rows.tolist() == list(range(40)) and 0 < len(some.rows) < 40
    assert all(np.array_equal(x, every.inputs[name][some.rows]) for name, x in some.inputs.items())


def test_wrong_jets_are_named():
    view, events = input_view(configs.load(L1)), random_jets(5)
    with pytest.raises(InputError, match="^the jets lack part_charge, part_px$"):
        prepare(events[[name for name in events.fields if name not in ("part_px", "part_charge")]], view)
    with pytest.raises(InputError, match="awkward array with a field for each branch"):
        prepare(np.ones(3), view)
    with pytest.raises(InputError, match="^the inputs cannot be computed from these jets: "):
        prepare(ak.with_field(events, events.jet_pt, "part_charge"), view)


def test_standardisation_has_to_be_known():
    options = configs.load(L1)
    options["preprocess"] = {"method": "auto"}
    options["inputs"]["pf_features"]["vars"] = [["cand_pt_log"]]
    with pytest.raises(InputError, match="automatic standardisation"):
        input_view(options)
