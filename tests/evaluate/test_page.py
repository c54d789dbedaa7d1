"""report.html: one self-contained page with the content of report.md, which never runs text of users."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import failure, kd_trainer
from weaver.train import save_parquet

from kd_trainer.evaluate import content, markdown, page
from kd_trainer.evaluate.blocks import Figure, Number, Report, Section, Table
from kd_trainer.evaluate.tables import rejection_cell

SIGNAL = "<script>alert('a | b')</script>"
MODEL = '"><img src onerror> & distilled'
VOID = {"meta", "br", "img", "link"}
REFERENCES = {"href", "xlink:href", "src", "data", "action", "poster", "srcset"}


class Page(HTMLParser):
    """What a page holds: headings, sentences and captions; tables as rows of cells; attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.scripts, self.captions, self.said, self.tables = [], 0, [], [], []
        self.ids, self.references, self.handlers, self.values, self.tags = [], [], [], [], set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.handle_attributes(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag in ("p", "li", "h1", "h2"):
            self.said.append("")
        elif tag == "figcaption":
            self.captions.append("")
        self.scripts += tag == "script"

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.handle_attributes(attrs)

    def handle_attributes(self, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.references += [found[name] for name in found if name in REFERENCES]
        self.references += [of for value in found.values() for of in re.findall(r"url\((.*?)\)", value or "")]
        self.handlers += [name for name in found if name.startswith("on")]
        self.values += [float(found["data-value"])] if "data-value" in found else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> where something else is open"

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")
        elif {"p", "li", "h1", "h2"} & set(self.open):
            self.said[-1] += data
        elif "figcaption" in self.open:
            self.captions[-1] += data


def of_markdown(text):
    """Sentences and tables of report.md, as `Page` has them; captions are sentences after a picture."""
    said, tables, captions, plain = [], [], [], re.compile(r"\\([<|])")
    after_picture = False
    for block in text.rstrip("\n").split("\n\n"):
        if block.startswith("|"):
            rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines() if not line.startswith("|--")]
            tables.append([[plain.sub(r"\1", cell.strip()) for cell in row] for row in rows])
        elif not block.startswith("!["):
            lines = [plain.sub(r"\1", re.sub(r"^(#+|\*) ", "", line)) for line in block.splitlines()]
            (captions if after_picture else said).extend(lines)
        after_picture = block.startswith("![")
    return said, tables, captions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report on models and classes with hostile names, whose trainings are recorded."""
    folder = tmp_path_factory.mktemp("page")
    config = folder / "config.yaml"
    config.write_text(
        "inputs: {pf_features: {length: 2, vars: [[a, null]]}}\n"
        f"labels: {{type: custom, value: {{truth_label: jet_label}}, names: [QCD, {json.dumps(SIGNAL)}]}}"
    )
    labels = np.arange(2000) % 2
    common = np.random.default_rng(0).normal(size=(len(labels), 2))
    for name, strength in (("distilled", 0.8), ("baseline", 0.5)):
        for seed in (1, 2):
            path = folder / f"{name}{seed}" / "pred.parquet"
            path.parent.mkdir()
            scores = np.exp(common + (strength + 0.1 * seed) * np.eye(2)[labels])
            scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
            save_parquet(None, str(path), scores, {"truth_label": labels.astype("f4")}, {"jet_pt": common[:, 0].copy()})
            write_record(path.parent, seed, kd_alpha=float(name == "distilled"))
    kinds = ("distilled", "baseline")
    arguments = [f"{MODEL.replace('distilled', kind)}={folder}/{kind}*/pred.parquet" for kind in kinds]
    output = folder / "report"
    kd_trainer("report", *arguments, "--data-config", config, "-o", output, "--replicas", 10,
               "--title", "</title><script>")  # fmt: skip
    return output


def write_record(folder, seed, **options):
    record = {
        "recipe": {**{f"-o {k}": v for k, v in options.items()}, "start_lr": 0.005, "content of a.py": "ab", "x": None},
        "seed": seed, "epochs": 3, "best_epoch": seed, "versions": {"torch": "2.9"}, "metrics": {}, "sha256": "c",
    }  # fmt: skip
    (folder / "net_record.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_both_files_say_the_same(folder, text):
    found = Page(text)
    said, tables, captions = of_markdown((folder / "report.md").read_text(encoding="utf-8"))
    assert found.open == [] and found.said == said and found.tables == tables and found.captions == captions
    (comparison,) = json.loads((folder / "report.json").read_text())["comparisons"]
    assert said[:2] == ["</title><script>", comparison["conclusion"]]
    assert len(tables) == 7 and len(captions) == 2 and found.tags >= {"svg", "details", "nav", "figure"}


def test_nothing_comes_from_outside(text):
    found = Page(text)
    data = [reference for reference in found.references if not reference.startswith("#")]
    assert len(data) == 1 and data[0].startswith("data:application/json;base64,")
    assert "://" not in text and "@import" not in text
    inside = {reference[1:] for reference in found.references} - {data[0][1:]}
    assert len(inside) > 20 and inside <= set(found.ids) and len(found.ids) == len(set(found.ids))


def test_names_run_nothing(text):
    found = Page(text)
    assert found.scripts == 1 and found.handlers == [] and "img" not in found.tags
    assert SIGNAL not in text and any(SIGNAL in head for head in found.tables[1][0])


def test_download_is_report_json(folder, text):
    (data,) = re.findall(r'download="report.json" href="data:application/json;base64,([^"]*)"', text)
    assert base64.b64decode(data) == (folder / "report.json").read_bytes()


def test_numbers_are_sorted_by_their_values(folder, text):
    models = json.loads((folder / "report.json").read_text())["models"].values()
    wanted = {model[key]["value"] for model in models for key in ("accuracy", "auc", "rejection")}
    assert wanted <= set(Page(text).values)


def test_settings_of_the_trainings(folder):
    _, tables, _ = of_markdown((folder / "report.md").read_text(encoding="utf-8"))
    differing, common = tables[-2:]
    assert ["-o kd_alpha", "1.0", "0.0"] in differing and len(differing) == 2
    assert common[0] == ["setting", "of all models"]
    assert common[1:] == [["seed", "1; 2"], ["epochs", "3"], ["best_epoch", "1; 2"], ["start_lr", "0.005"],
                          ["version of torch", "2.9"]]  # fmt: skip


@pytest.mark.parametrize("record", ["{", "[]", '{"recipe": 1}'])
def test_a_record_that_is_none(folder, tmp_path, record):
    for source in (folder.parent / "distilled1").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "net_record.json").write_text(record)
    arguments = ("--data-config", folder.parent / "config.yaml", "-o", tmp_path / "out", "--replicas", 2)
    line = failure("report", f"a={tmp_path}/pred.parquet", *arguments)
    assert re.fullmatch(
        r"kd_trainer report: \S*/net_record.json is not the record of a training .*: move it to another folder", line
    )


def test_blocks():
    table = Table(["a|b", "n (50 %)"], [["x<y", Number("1.0 ± 0.1", 1.0)], ["z", "–"], ["w", 3]])
    report = Report("T", ["F & G."], [Section("S", ["P.", ["i", "j"], table, Figure("roc", 'C "c".')], folded=True)])
    assert markdown.document(report) == (
        "# T\n\nF & G.\n\n## S\n\nP.\n\n* i\n* j\n\n"
        "| a\\|b   | n (50 %)   |\n|--------|------------|\n| x\\<y   | 1.0 ± 0.1  |\n| z      | –          |\n"
        '| w      | 3          |\n\n![roc](roc.png)\n\nC "c".\n'
    )
    written = page.document(report, {"roc": "<svg></svg>"}, "{}")
    assert '<tr><th scope="row">x&lt;y</th><td class="number" data-value="1.0">1.0 ± 0.1</td></tr>' in written
    assert '<td class="number">–</td>' in written and '<td class="number" data-value="3.0">3</td>' in written
    assert '<svg role="img" aria-label="C &quot;c&quot;."></svg>' in written and "n (50&nbsp;%)</th>" in written
    assert rejection_cell({"value": None, "lower_limit_95": 34.2}).value == 34.2


def test_without_records_the_settings_are_not_known():
    models = {"a": {"files": ["p"], "trainings": [None], "network": None, "options": None, "data_config": None}}
    blocks = content.settings({"models": models, "versions": {"numpy": "2"}}).blocks
    assert blocks[2].startswith("The training settings") and blocks[3:] == ["This report was made with numpy 2."]
