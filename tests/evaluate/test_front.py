"""Accuracy of firmware against its size: means over seeds, what is stored and read again, faults."""

import json

import pytest

from kd_trainer.errors import InputError
from kd_trainer.evaluate.front import designs, draw, main, read_point, summary
from kd_trainer.evaluate.style import COLOURS, load_style


def report(folder, name, accuracy, cost=20000.0):
    figure = {"value": accuracy, "statistical": 0.004}
    values = {"fixed point": {**figure, "value": accuracy}, "floating point": {**figure, "value": accuracy + 0.01}}
    models = dict.fromkeys(values, {"rejection": None})
    sizes = {"cost": cost, "ebops": 5e4, "register_bits": 9, "stages": 9, "clock_ns": 5, "latency_ns": 45}
    path = folder / name
    path.write_text(json.dumps({**sizes, "twin": {"models": models, "balanced_accuracy": values}}))
    return path


def test_means_over_seeds(tmp_path):
    files = [report(tmp_path, f"{i}.json", x, 1e4 * i) for i, x in enumerate((0.5, 0.53), start=1)]
    row = summary(read_point(f"on labels={files[0]},{files[1]}"))
    assert (row["arm"], row["seeds"], row["cost"], row["rejection"][0]) == ("on labels", 2, 1.5e4, None)
    assert row["accuracy"] == pytest.approx((0.515, 0.015))  # of two seeds: half of their difference
    assert row["difference"] == pytest.approx((-0.01, 0))
    (alone,) = [summary(read_point(f"a={files[0]}"))]
    assert alone["accuracy"] == pytest.approx((0.5, 0.004))  # the test jets alone


def test_drawn_and_drawn_again(tmp_path, capsys):
    point = f"distilled={report(tmp_path, '1.json', 0.5)}"
    main([point, "-o", str(tmp_path / "out" / "front")])
    first = capsys.readouterr().out
    assert "| distilled | 1       | 20,000" in first and "0.0100 ± 0.0000" in first
    stored, again = str(tmp_path / "out" / "front.json"), str(tmp_path / "again")
    main([stored, "-o", again, "--published", "16 particles, 3 features"])
    assert capsys.readouterr().out == first
    assert (tmp_path / "again.png").stat().st_size > 10_000


def test_every_arm_is_drawn(tmp_path):
    plt, _ = load_style()
    arms = [f"arm {i}" for i in range(len(COLOURS) + 1)]
    rows = [summary(read_point(f"{arm}={report(tmp_path, '1.json', 0.5)}")) for arm in arms]
    figure = draw(plt, rows, "", "16 particles, 3 features")
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == arms
    plt.close(figure)


def test_published_designs():
    """All by their architecture, or those of a kind by what else is in their names."""
    assert list(designs("")) == ["JEDI-linear", "MLP-Mixer", "Deep Sets", "Deep Sets (HGQ)"]
    assert sum(map(len, designs("").values())) == 26
    found = designs("16 particles, 3 features")
    assert found.pop("JEDI-linear, permutation invariant")[0]["luts"] == 136440
    assert list(found) == ["JEDI-linear", "MLP-Mixer", "Deep Sets", "Deep Sets (HGQ)"]
    with pytest.raises(InputError, match="no published design of the LHC jets has '17 particles' in its name"):
        designs("17 particles")


@pytest.mark.parametrize(("argument", "text"), [
    ("x", "x is not ARM=firmware.json"), ("a=FOLDER/no.json", "no.json is not there"),
    ("a=FOLDER/empty.json", "empty.json is not a firmware.json of kd_trainer firmware with --twin"),
    ("FOLDER/empty.json", "empty.json is not the OUT.json of kd_trainer front"), ("FOLDER/no.json", "is not there"),
])  # fmt: skip
def test_faults(tmp_path, argument, text):
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(InputError, match=text):
        main([argument.replace("FOLDER", str(tmp_path)), "-o", str(tmp_path / "out")])
