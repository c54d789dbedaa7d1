import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
import yaml
from helpers import CLASSES, ROOT, damage_page, failure, kd_trainer, random_jets, write_root

L1 = ROOT / "data" / "JetClass" / "JetClass_l1.yaml"
FULL = ROOT / "data" / "JetClass" / "JetClass_full.yaml"


@pytest.fixture
def files(jets, tmp_path):
    """A copy of the files that a test may damage."""
    for path in (jets / "val").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def check(*args, run=kd_trainer):
    return run("check", "--data-config", L1, "--data-config", FULL, *args)


def fails(*args):
    return check(*args, run=failure)


def damage(path, change):
    table = ak.from_parquet(path)
    ak.to_parquet(change(table), path)


def with_field(name, function):
    def change(table):
        table[name] = function(table[name])
        return table

    return change


def test_good_files(files):
    result = check(f"signal:{files}/[HTWZ]*.parquet", f"{files}/QCD_*.parquet")
    header, _, signal, qcd = result.stdout.splitlines()[:4]
    assert header.split()[-10:] == list(CLASSES)
    assert signal.split() == ["signal", "9", "144", "0", *["16"] * 9]
    assert qcd.split()[1:] == ["1", "16", "16", *["0"] * 9]


def test_files_without_labels_for_a_teacher_with_other_classes(files, tmp_path):
    """As in `LABELS=no ./train_kd.sh train`: neither the labels of the student nor those of the teacher are needed."""
    for path in files.glob("*.parquet"):
        table = ak.from_parquet(path)
        ak.to_parquet(table[[name for name in table.fields if not name.startswith("label_")]], path)
    config = tmp_path / "run" / "paired.yaml"
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "--unlabelled", "-o", config.parent)
    result = kd_trainer("check", "--data-config", config, f"{files}/*.parquet")
    assert result.stdout.splitlines()[2].split()[1:3] == ["10", "160"]
    assert "lacks label_" in fails(f"{files}/*.parquet")


def test_root_files(files):
    write_root(files / "Hbb_000.root", ak.from_parquet(files / "Hbb_000.parquet"))
    (files / "Hbb_000.parquet").unlink()
    check(f"{files}/*.parquet", f"{files}/*.root")


def test_ntuples_of_root(tmp_path):
    """What uproot writes when nothing else is asked for."""
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mkrntuple("Events", {"jet_pt": np.ones(3)})
    assert "jets.root cannot be read: holds an RNTuple, which weaver" in fails(tmp_path / "jets.root")


@pytest.mark.parametrize(
    "change, message",
    [
        (with_field("part_px", lambda x: x * ak.Array([np.nan, *[1.0] * 15])), "has NaN or infinity in part_px"),
        (with_field("part_energy", lambda x: x / ak.Array([0.0, *[1.0] * 15])), "has NaN or infinity in part_energy"),
        (with_field("label_QCD", lambda x: x + 1), "has jets in no class or in several"),
        (lambda table: table[[f for f in table.fields if f not in ("part_px", "jet_tau1")]], "lacks jet_tau1, part_px"),
    ],
)
def test_damaged_file(files, change, message):
    damage(files / "Hbb_000.parquet", change)
    assert f"Hbb_000.parquet {message}" in fails(f"{files}/*.parquet")


def test_unreadable_file(files):
    (files / "Hbb_000.parquet").write_bytes((files / "Hcc_000.parquet").read_bytes()[:3000])
    assert "Hbb_000.parquet cannot be read" in fails(f"{files}/*.parquet")


def test_class_without_jets(files):
    (files / "Tbl_000.parquet").unlink()
    assert "no jets of 1 of the 10 classes: Tbl" in fails(f"{files}/*.parquet")
    check("--allow-missing-classes", f"{files}/*.parquet")


def test_a_class_at_the_end_of_a_file_is_found(files):
    tables = [ak.from_parquet(path) for path in sorted(files.iterdir())]
    ak.to_parquet(ak.concatenate(tables), files / "all.parquet", row_group_size=50)
    check("--rows", 20, files / "all.parquet")


def test_pattern_without_files(files):
    line = fails(f"{files}/*.parquet", "/no/such/folder/*.root")
    assert line == "kd_trainer check: no file matches /no/such/folder/*.root: is the path (DATADIR) right?"


def test_many_files_by_metadata(files, tmp_path):
    path = tmp_path / "many"
    path.mkdir()
    for i in range(1000):
        (path / f"{i:03d}.parquet").symlink_to(files / f"{CLASSES[i % 10]}_000.parquet")
    assert str(1000 * 16) in kd_trainer("check", "--data-config", L1, f"{path}/*.parquet").stdout


def test_real_jetclass2(shared):
    config = ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"
    path = shared / "real" / "JetClassII_example.parquet"
    result = kd_trainer("check", "--data-config", config, path, check=False)
    table = pq.read_table(path, columns=["jet_label", "jet_pt", "jet_sdmass"]).to_pandas()
    selected = table[(table.jet_sdmass > 20) & (table.jet_sdmass < 500) & (table.jet_pt > 200) & (table.jet_pt < 2500)]
    seen = selected.jet_label.nunique()
    assert f"{seen} of 188" in result.stdout
    assert f"no jets of {188 - seen} of the 188 classes" in result.stderr


PARTS = {"Res2P": (0, 15), "Res34P": (15, 161), "QCD": (161, 188)}  # labels of JetClass-II


def jetclass2(folder, **files):
    """Files of JetClass-II, a jet for each label of (first, end): Res2P_0000=(0, 15)."""
    for name, (first, end) in files.items():
        jets = random_jets(end - first, 10)
        jets["jet_label"] = np.arange(first, end)
        ak.to_parquet(jets, folder / f"{name}.parquet")
    return [f"{name.partition('_')[0]}:{folder}/{name}.parquet" for name in files]


class TestJetClass2:
    """The three parts of the dataset, and families of its classes."""

    def check(self, *files, config="JetClassII_full", run=kd_trainer):
        return run("check", "--data-config", ROOT / "data" / "JetClassII" / f"{config}.yaml", *files)

    def test_groups_and_families(self, tmp_path):
        train = jetclass2(tmp_path, **{f"{name}_0000": labels for name, labels in PARTS.items()})
        more = jetclass2(tmp_path, Res2P_0200=(0, 14), QCD_0280=PARTS["QCD"])
        result = self.check(*train, *(text.partition(":")[2] for text in more))
        groups, families = (table.splitlines()[2:] for table in result.stdout.split("\n\n")[:2])
        assert [row.split()[:5] for row in groups] == [
            ["Res2P", "1", "15", "15", "of"], ["Res34P", "1", "146", "146", "of"], ["QCD", "1", "27", "27", "of"],
            [f"{tmp_path}/Res2P_*", "1", "14", "14", "of"], [f"{tmp_path}/QCD_*", "1", "27", "27", "of"],
        ]  # fmt: skip
        assert len(families) == 20 and families[0].split() == ["X", "bb", "1", "of", "1", "2"]
        assert families[-1].split() == ["QCD", "light", "3", "of", "3", "6"]

    def test_a_student_of_four_classes(self, tmp_path):
        """"other" has jets in two of the three parts: it belongs to none."""
        files = jetclass2(tmp_path, **{f"{name}_0000": labels for name, labels in PARTS.items()})
        assert "X_bb" in self.check(*files, config="XbbXcc_l1").stdout

    def test_absent_classes_and_a_file_of_another_part(self, tmp_path):
        files = jetclass2(tmp_path, Res2P_0000=(0, 15), Res34P_0000=(14, 161))
        line = self.check(*files, run=failure)
        assert "Res34P_0000.parquet has jets of X_tauhtauh, which are no" in line
        assert "no jets of 27 of the 188 classes: QCD_bbccss, " in line and " and 17 more (" in line
        assert "with the scripts, use -o allow_missing_classes True" in line


def test_custom_label_without_names(files, tmp_path):
    config = yaml.safe_load(L1.read_text())
    config["labels"] = {"type": "custom", "value": {"truth": "label_Hbb + 2 * label_Hcc"}}
    (tmp_path / "custom.yaml").write_text(yaml.safe_dump(config))
    result = kd_trainer("check", "--data-config", tmp_path / "custom.yaml", f"{files}/*.parquet")
    assert "3 of ?" in result.stdout


class TestAll:
    """Problems that a check of samples does not find."""

    @pytest.mark.parametrize(
        "change, message",
        [
            (with_field("part_px", lambda x: x * ak.Array([1.0] * 1499 + [np.nan])), "NaN or infinity in part_px (1 "),
            (with_field("part_px", lambda x: ak.concatenate([x[:-1], x[-1:, :-1]])),
             "has lists in part_px whose length differs from that of other branches (1 jets)"),
            (lambda table: with_particles(table, 1), "has 1 jets with empty lists in part_*"),
        ],
    )  # fmt: skip
    def test_the_last_jet_of_a_file(self, files, change, message):
        jets = ak.from_parquet(files / "Hbb_000.parquet")
        ak.to_parquet(change(jets[np.arange(1500) % len(jets)]), files / "Hbb_000.parquet")
        sample = check("--allow-missing-classes", files / "Hbb_000.parquet")
        assert "values were checked in 1 files; --all reads everything)" in sample.stdout
        assert message in fails("--all", "--allow-missing-classes", files / "Hbb_000.parquet")

    def test_a_damaged_page(self, files):
        damage_page(files / "Hbb_000.parquet", "part_px")
        line = fails("--all", "--allow-missing-classes", files / "Hbb_000.parquet")
        assert f"1 problem: {files}/Hbb_000.parquet cannot be read whole: " in line


def with_particles(table, without):
    """The jets, the last ones without particles."""
    keep = ak.Array(np.arange(len(table)) < len(table) - without)
    for name in table.fields:
        if name.startswith("part_"):
            table[name] = table[name][keep & (table[name] == table[name])]
    return table
