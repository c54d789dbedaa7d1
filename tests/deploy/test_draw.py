"""Pictures of single jets with the likeliest classes."""

import awkward as ak
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import failure, kd_trainer, random_jets

from kd_trainer.deploy import draw
from kd_trainer.deploy.draw import Likely, likely


def test_likely():
    scores = ak.Array({"score_label_a": [0.1, 0.6], "score_b": [0.7, 0.3], "score_c": [0.2, 0.1], "flag": [0, 0]})
    found = likely(scores, 2, ["c", ""])
    assert [of.names for of in found] == [["b", "c"], ["a", "b"]] and found[0].truth == "c"
    np.testing.assert_allclose([of.scores for of in found], [[0.7, 0.2], [0.6, 0.3]])


@pytest.fixture
def drawn(monkeypatch):
    """The figures of `draw`, to look at what is in them."""
    figures = []
    make = draw.draw
    monkeypatch.setattr(draw, "draw", lambda *given: figures.append(make(*given)) or figures[-1])
    return figures


def test_jets_of_files(model_dir, val_files, tmp_path, drawn):
    """Those asked for, in their order, with the names of their true classes."""
    where = [path.stem for path in val_files].index("Hbb_000")
    output = tmp_path / "new" / "jets.png"
    rows = [where * 16 + 2, 0, where * 16 + 17]
    kd_trainer("draw", model_dir, *val_files, "-o", output, "--rows", *rows, "--top", 3)
    assert output.stat().st_size > 20_000 and [path.name for path in output.parent.iterdir()] == ["jets.png"]
    (figure,) = drawn
    titles = [ax.get_title().split(",")[0] for ax in figure.axes[::2]]
    assert titles == ["Hbb" if i == where else name for i, name in
                      zip((0, where, where + 1), (path.stem.removesuffix("_000") for path in
                          (val_files[0], val_files[where], val_files[where + 1])))] + [""]  # fmt: skip
    assert len(figure.axes[1].patches) == 3  # bars
    jet = ak.from_parquet(val_files[0])[0]
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == len(jet.part_px)


def test_generated_particles():
    """Decay products are drawn, X and Y are not; eta is multiplied by the sign of the jet's eta."""
    jets = random_jets(1, 20)
    for name, values in {
        "eta": [0.0, 0.3, -0.2, 3.0], "phi": [0.0, 0.1, 0.1, 0.0], "pid": [25, 5, -15, 4],
        "isResDecayProd": [False, True, True, True], "isTauDecayProd": [False] * 4, "isQcdParton": [False] * 4,
    }.items():  # fmt: skip
        jets[f"aux_genpart_{name}"] = ak.Array([values])
    jets["jet_eta"], jets["jet_phi"] = [-0.1], [np.pi]
    jets["aux_genpart_phi"] = jets.aux_genpart_phi - np.pi  # across the seam
    figure = draw.draw(plt, jets, [Likely(["a", "b"], [0.6, 0.4], "")])
    stars = figure.axes[0].collections[-1]
    np.testing.assert_allclose(stars.get_offsets(), [[-0.4, 0.1], [0.1, 0.1]], atol=1e-6)
    assert [text.get_text() for text in figure.axes[0].texts] == ["b", "$\\tau$"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-o", "jets.jpg"], "-o jets.jpg: the picture has to be .png or .pdf"),
        (["--rows", 2, 160], "--rows 160: the files have 160 jets, counted from 0"),
        (["--rows", -1], "--rows -1: jets are counted from 0"),
        (["--top", 0], "--top"),
    ],
)
def test_refused(model_dir, val_files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in failure("draw", model_dir, *val_files, "-o", "jets.png", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_without_directions(model_dir, val_files, tmp_path):
    jets = ak.from_parquet(val_files[0])
    ak.to_parquet(jets[[name for name in jets.fields if name != "part_deta"]], tmp_path / "jets.parquet")
    line = failure("draw", model_dir, tmp_path / "jets.parquet", "-o", tmp_path / "jets.png")
    assert line.endswith("jets.parquet lacks part_deta")
