"""Which background rejections are quoted for a set of classes."""

import numpy as np
import pytest

from kd_trainer.errors import InputError
from kd_trainer.evaluate.working_points import background_columns, default_background, working_points

JETCLASS = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
MANY = ["X_bb", "X_cc", *(f"X_{i}" for i in range(20)), "QCD_b", "QCD_light"]


def keys(names, background, *, chosen=None, absent=()):
    present = [name not in absent for name in names]
    return [point.key for point in working_points(names, background, present, chosen)]


def test_jetclass():
    points = {p.signal: p.efficiency for p in working_points(JETCLASS, "QCD", np.ones(10, bool))}
    assert list(points) == JETCLASS[1:]
    assert (points.pop("Hqql"), points.pop("Tbl")) == (0.99, 0.995)
    assert set(points.values()) == {0.5}
    assert keys(JETCLASS, "QCD")[0] == "Hbb@50%"


def test_two_classes():
    assert keys(["top", "QCD"], "QCD") == ["top@30%", "top@50%"]


def test_many_classes():
    labels = ("X_bb vs QCD", "X_cc vs QCD", "X_cc vs X_bb")
    assert keys(MANY, "QCD") == [f"{label}@{percent}%" for label in labels for percent in (30, 50)]
    assert keys(MANY, "QCD", absent=["X_bb"]) == ["X_cc@30%", "X_cc@50%"]
    every = [f"X_{i}@50%" for i in range(20)]
    assert keys(MANY, "QCD", absent=["X_bb", "X_cc"]) == every
    assert keys(MANY[2:], "QCD") == every


def test_chosen_signals():
    assert keys(JETCLASS, "QCD", chosen=["Tbl", "Hbb/Hcc"]) == ["Tbl vs QCD@99.5%", "Hbb vs Hcc@50%"]
    assert keys(MANY, "QCD", chosen=["X_3", "X_3"]) == ["X_3@30%", "X_3@50%"]
    points = [f"X_7 vs {background}@{percent}%" for background in ("QCD", "X_3") for percent in (30, 50)]
    assert keys(MANY, "QCD", chosen=["X_7", "X_7/X_3"]) == points


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("Hxx", "--signals Hxx: there is no class 'Hxx'"),
        ("QCD", "--signals QCD: QCD is part of the background QCD"),
        ("Hbb/H", "--signals Hbb/H: Hbb is part of the background H"),
        ("Hbb/Hyy", "no class has 'Hyy' in its name"),
        ("Hbb/Tbl", "--signals Hbb/Tbl: the signal or the background has no test jets"),
    ],
)
def test_wrong_signals(chosen, message):
    with pytest.raises(InputError, match=message):
        keys(JETCLASS, "QCD", chosen=[chosen], absent=["Tbl"])


def test_background_by_name_or_part_of_it():
    assert background_columns(["Hbb", "QCD", "QCD_b"], "QCD") == [1]
    assert background_columns(["Hbb", "QCD_light", "QCD_b"], "label_QCD") == [1, 2]
    with pytest.raises(InputError, match="every class has 'jet'"):
        background_columns(["jet_isQ", "jet_isG"], "jet")


def test_default_background():
    assert default_background(["jet_isTop", "jet_isQCD"]) == "QCD"
    assert default_background(["jet_isQ", "jet_isG"]) == "jet_isG"
    assert default_background(["a", "b", "c"]) == "QCD"
