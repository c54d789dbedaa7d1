"""The table and the plot of data efficiency, from prediction files."""

import json

import awkward as ak
import numpy as np
import pytest
from helpers import ROOT, failure, kd_trainer

CONFIG = ROOT / "data" / "TopLandscape" / "TopLandscape_kin.yaml"


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """Files of two seeds each, of a tagger that is better the more it has learnt."""
    folder = tmp_path_factory.mktemp("predictions")
    labels = np.arange(400) % 2
    for start, power in (("scratch", 1.0), ("finetune", 2.0)):
        for jets in (20, 200):
            for seed in (1, 2):
                rng = np.random.default_rng([int(power), jets, seed])
                score = 1 / (1 + np.exp(rng.normal(size=400) - power * np.log10(jets) * (1 - labels) + power))
                columns = {"scores": np.stack([score, 1 - score], axis=1), "_label_": labels}
                ak.to_parquet(ak.Array(columns), folder / f"{start}_{jets}_{seed}.parquet")
    return folder


def arguments(folder, start, jets):
    return f"{start}:{jets}=" + ",".join(str(folder / f"{start}_{jets}_{seed}.parquet") for seed in (1, 2))


def test_table_and_plot(predictions, tmp_path):
    points = [arguments(predictions, start, jets) for jets in (200, 20) for start in ("scratch", "finetune")]
    points.append(points[1].replace("finetune:", "finetune, 100 unlabelled:"))
    options = ("--data-config", CONFIG, "--title", "PFN", "--replicas", 20, "-o", tmp_path / "out")
    result = kd_trainer("efficiency", *points, *options)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {f"efficiency.{kind}" for kind in ("json", "md", "png", "pdf")}
    results = json.loads((out / "efficiency.json").read_text())
    found = {(point["labels"], point["start"]): point for point in results["points"]}
    assert list(found) == [(20, "scratch"), (20, "finetune"), (200, "scratch"), (200, "finetune"),
                           (200, "finetune, 100 unlabelled")]  # fmt: skip
    accuracy = []
    for seed in (1, 2):
        table = ak.from_parquet(predictions / f"finetune_20_{seed}.parquet")
        accuracy.append(np.mean(np.argmax(table.scores.to_numpy(), axis=1) == table._label_.to_numpy()))
    figure = found[20, "finetune"]["accuracy"]
    assert figure["value"] == pytest.approx(np.mean(accuracy))
    assert figure["seed_error"] == pytest.approx(abs(accuracy[0] - accuracy[1]) / 2)
    assert figure["total"] == pytest.approx(np.hypot(figure["statistical"], figure["seed_error"]))
    gain = found[200, "finetune"]["gain"]["accuracy_difference"]
    assert gain["value"] == pytest.approx(
        found[200, "finetune"]["accuracy"]["value"] - found[200, "scratch"]["accuracy"]["value"]
    )
    assert gain["total"] > 0 and found[20, "scratch"]["gain"] is None
    assert found[200, "finetune, 100 unlabelled"]["gain"] == found[200, "finetune"]["gain"]
    assert "gain in accuracy over scratch" in result.stdout and "| 20 " in (out / "efficiency.md").read_text()
    assert results["caveat"].startswith("Caution: only the number ")  # the files have no observers
    assert results["caveat"] in result.stdout and results["caveat"] in (out / "efficiency.md").read_text()


def test_numbers_of_jets_from_files(predictions, tmp_path, monkeypatch):
    """Numbers of jets with and without labels, as `kd_trainer subset` writes them."""
    monkeypatch.setattr("kd_trainer.pretrain.efficiency.draw", lambda *_: [])  # takes seconds
    for name, jets in (("unlabelled_1", 5000), ("labelled_0.1", 20)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"jets": jets, "of": 9999}))
    labelled, unlabelled = tmp_path / "labelled_0.1.json", tmp_path / "unlabelled_1.json"
    points = [arguments(predictions, "scratch", 20).replace(":20=", f":{labelled}="),
              arguments(predictions, "finetune", 20).replace(":20=", f":{unlabelled}:{labelled}=")]  # fmt: skip
    kd_trainer("efficiency", *points, "--data-config", CONFIG, "--replicas", 20, "-o", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "efficiency.json").read_text())
    found = [(point["start"], point["labels"]) for point in results["points"]]
    assert found == [("scratch", 20), ("finetune, 5000 unlabelled", 20)]


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"of": 3}'])
def test_a_file_without_the_number_of_jets(content, predictions, tmp_path):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    wrong = arguments(predictions, "scratch", 20).replace(":20=", f":{path}=")
    line = failure("efficiency", wrong, "-o", tmp_path / "out")
    trouble = "is not there" if content is None else "is not a file that `kd_trainer subset` has written"
    assert line == f"kd_trainer efficiency: {path} {trouble}"


@pytest.mark.parametrize("name", ["finetune", "finetune:few", ":20", "finetune:0"])
def test_names_of_points(name, predictions, tmp_path):
    wrong = arguments(predictions, "scratch", 20).replace("scratch:20", name, 1)
    assert f"'{name}' is not START:LABELS" in failure("efficiency", wrong, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
