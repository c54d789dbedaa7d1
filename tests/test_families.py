"""Families of the 188 classes of JetClass-II."""

import numpy as np
import pytest
import yaml
from helpers import CLASSES, ROOT

from kd_trainer.families import ORDER, columns_of, confusion, family, part

NAMES = yaml.safe_load((ROOT / "data" / "JetClassII" / "JetClassII_full.yaml").read_text())["labels"]["names"]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("X_bb", "X bb"), ("X_bc", "X other qq"), ("X_mm", "X ll"), ("X_tauhtaum", "X tau tau"), ("X_gg", "X gg"),
        ("X_YY_bbcq", "YY 4-prong with bb"), ("X_YY_qqqb", "YY 4-prong"), ("X_YY_ccb", "YY 3-prong"),
        ("X_YY_bbb", "YY 3-prong with bb"), ("X_YY_bbee", "YY 2-prong + ll"), ("X_YY_bbe", "YY ll, one lost"),
        ("X_YY_gmm", "YY ll, one lost"), ("X_YY_gtauhtauh", "YY tau tau"), ("X_YY_bcmv", "YY qq l nu"),
        ("X_YY_qqtauhv", "YY qq tau nu"), ("QCD_bbccs", "QCD bb"), ("QCD_bcc", "QCD b"), ("QCD_ccs", "QCD cc"),
        ("QCD_cs", "QCD c"), ("QCD_ss", "QCD light"), ("QCD_light", "QCD light"), ("QCD", "QCD"), ("X_7", "X_7"),
        ("QCD_", "QCD_"), ("X_YY_", "X_YY_"),
    ],
)  # fmt: skip
def test_family(name, expected):
    assert family(name) == expected


def test_all_classes_are_in_twenty_families():
    columns = columns_of(NAMES)
    assert tuple(columns) == ORDER
    assert sorted(sum(columns.values(), [])) == list(range(188))
    assert [len(columns[name]) for name in ("X bb", "YY tau tau", "QCD bb")] == [1, 30, 9]


def test_other_classes_are_families_of_their_own():
    assert columns_of(CLASSES) == {name: [i] for i, name in enumerate(CLASSES)}
    assert {part(name) for name in CLASSES} == {""}


def test_parts():
    """The labels of the files: 0 to 14 Res2P, to 160 Res34P, to 187 QCD."""
    assert [part(name) for name in NAMES] == ["Res2P"] * 15 + ["Res34P"] * 146 + ["QCD"] * 27


def test_confusion():
    """A jet belongs to the family with the largest sum of scores, not to that of the class with the largest score."""
    labels = np.array([0, 0, 2, 1])
    scores = np.array([[0.4, 0.0, 0.3, 0.3], [0.9, 0.1, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0]])
    found = confusion(labels, scores, [[0], [2, 3], [1]])
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    found = confusion(labels[:2], scores[:2], [[0], [1, 2, 3]])
    np.testing.assert_allclose(found, [[0.5, 0.5], [np.nan, np.nan]])
