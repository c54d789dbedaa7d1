"""The shell drivers, run as a user runs them."""

import os
import shlex
import shutil
import subprocess

import psutil
import pytest
from helpers import ROOT, copy_repository, run, script, wait_for

MODES = (
    *("make_weight", "teacher", "pretrain", "finetune", "cache"),
    *("train", "baseline", "test", "report", "convert", "firmware", "latency", "demo"),
)


def train_kd(*args, cwd=ROOT, **env):
    return script(ROOT / "train_kd.sh", *args, check=False, cwd=cwd, env=env)


def dry_run(mode, *args, **env):
    """The commands of a mode, each a list of words as a shell would split it."""
    result = run(ROOT / "train_kd.sh", mode, "--dry-run", *args, env=env)
    cd, *commands = result.stdout.splitlines()
    assert cd == f"cd {ROOT} && source train_scripts/setup.sh"
    return [shlex.split(command) for command in commands]


def value(command, name):
    """What follows an option in a command; the last one counts."""
    return command[len(command) - command[::-1].index(name)]


def network_options(command):
    return {command[i + 1]: command[i + 2] for i, word in enumerate(command) if word == "-o"}


def test_help():
    result = train_kd("--help")
    assert result.returncode == 0
    for word in (*MODES, "DATASET", "DATADIR", "COMMENT", "DDP_NGPUS", "TEACHER_WEIGHTS", "STUDENT", "TIER", "RESTART",
                 "BLEND", "UNLABELLED", "UNLABELLED_FRACTION"):  # fmt: skip
        assert word in result.stdout
    assert "(default: JetClassII)" in result.stdout


@pytest.mark.parametrize(
    "mode, env, message",
    [
        ("distil", {}, "unknown mode 'distil'"),
        ("train", {"DATASET": "JetClassIII"}, "unknown DATASET 'JetClassIII': valid are AspenOpenJets Collide2V "),
        ("train", {"TIER": "l2"}, "unknown tier 'l2' of JetClassII: valid are full gen hlt kin kinpid l1"),
        ("train", {"STUDENT": "PNF"}, "unknown STUDENT 'PNF': valid are "),
        ("train", {"TEACHER": "Part"}, "unknown TEACHER 'Part': valid are "),
        ("baseline", {"DATADIR": "/no/such"}, "no file matches /no/such/Pythia/Res2P_0000.parquet"),
        ("teacher", {"DATASET": "JetClass", "DATADIR": "/no/such"}, "no file matches /no/such/Pythia/train_100M/HToBB"),
        ("train", {"DDP_NGPUS": "2"}, "DDP_NGPUS is 2, but there is no CUDA device here"),
        ("train", {"RESTART": "maybe"}, "RESTART is 'maybe': it must be one of: no yes changed"),
        ("teacher", {"FILES": "some"}, "FILES is 'some': it must be one of: found"),
        ("train", {"LABELS": "none"}, "LABELS is 'none': it must be one of: no yes"),
        ("cache", {"LABELS": "no", "UNLABELLED": "a.parquet"}, "LABELS is no: the training files already have no"),
        ("train", {"UNLABELLED_FRACTION": "1"}, "it must lie between 0 and 1, for example 0.9"),
        ("train", {"UNLABELLED_FRACTION": "0.0"}, "UNLABELLED_FRACTION is '0.0': it must lie between 0 and 1"),
        ("train", {"UNLABELLED_FRACTION": "most"}, "UNLABELLED_FRACTION is 'most': it must lie between 0 and 1"),
        ("cache", {"BLEND": "a=1 b=1"}, "BLEND needs its own CACHE: name its folder"),
        ("train", {"BLEND": "a=1 b=1", "CACHE": "none"}, "BLEND needs its own CACHE: name its folder"),
        ("train", {"BLEND": "a=1 b=1", "CACHE": "c", "TEACHER_WEIGHTS": "a.pt"}, "leave out TEACHER_WEIGHTS"),
        ("train", {"BLEND": "a=1 b=1", "CACHE": "c", "LABELS": "no"}, "LABELS is no: a blend cannot replace"),
        ("train", {"CLASSES": "/no/such.yaml"}, "CLASSES=/no/such.yaml: there is no such file"),
        ("baseline", {"RUN": "one", "SEED": "1 2"}, "RUN=one names one run, but SEED='1 2' makes several"),
        ("finetune", {}, "name it with PRETRAINED="),
        ("train", {"PRETRAINED": "/no/such.pt"}, "PRETRAINED=/no/such.pt: there is no such file"),
        ("cache", {"CACHE": "none"}, "CACHE is none: name a folder for the soft targets"),
        ("convert", {"COMMENT": "_none"}, "_kd_seed1_none/net_best_epoch_state.pt: train it first"),
    ],
)
def test_bad_settings(mode, env, message, tmp_path):
    """Numbers are in tests/faults/test_settings.py."""
    result = train_kd(mode, cwd=tmp_path, **env)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


def test_missing_teacher(jets):
    result = train_kd("train", DATASET="demo", DATADIR=jets, COMMENT="_none")
    assert result.returncode != 0 and "train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=" in result.stderr


def test_nothing_to_test(jets, tmp_path):
    (tmp_path / "test").symlink_to(jets / "val")
    settings = {"DATASET": "demo", "DATADIR": tmp_path, "COMMENT": "_none"}
    result = train_kd("test", **settings)
    assert result.returncode == 1 and "there is nothing to test: train a teacher and a student first" in result.stderr
    result = train_kd("test", **settings, PREDICT="kd")
    assert result.returncode == 1 and "net_best_epoch_state.pt: train it first" in result.stderr


def test_given_teacher_is_not_trained(tmp_path):
    (tmp_path / "mine.pt").write_text("")
    result = train_kd("teacher", DATASET="demo", TEACHER_WEIGHTS="mine.pt", cwd=tmp_path)
    assert result.stdout == f"TEACHER_WEIGHTS={tmp_path}/mine.pt is the teacher: nothing to train\n"


def test_no_weights_to_make():
    assert "nothing to do" in train_kd("make_weight", DATASET="demo").stdout


@pytest.mark.parametrize("mode", ["make_weight", "pretrain", "finetune"])
def test_a_dry_run_prints_commands_and_comments_only(mode, tmp_path):
    (tmp_path / "mine.pt").write_text("")
    done = train_kd(mode, "--dry-run", DATASET="demo", PRETRAINED=tmp_path / "mine.pt")
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0 and last.startswith("# " if mode == "make_weight" else "weaver ")


@pytest.mark.parametrize("dataset, teacher", [("JetClassII", "Sophon"), ("JetClass", "ParT"), ("TopLandscape", "ParT")])
def test_commands_of_a_distillation(dataset, teacher):
    """What `train` would run, for three datasets: pair the data configs, look at the files, train with weaver."""
    commands = dry_run("train", "--num-epochs", 3, "-o", "kd_alpha", 0.4, DATASET=dataset, DATADIR="/jets")
    pair, check, mkdir, weaver = commands
    tier = "kin" if dataset == "TopLandscape" else "full"
    run_name = f"{dataset}_InteractionNet_l1_kd_seed1"
    assert check[:4] == ["python", "-m", "kd_trainer", "check"] and pair[3] == "pair" and mkdir[0] == "mkdir"
    assert check[4] == f"--data-config=training/{run_name}/paired.yaml" and check[5][0] != "-"
    allowed = dry_run("train", "-o", "allow_missing_classes", "True", DATASET=dataset, DATADIR="/jets")
    assert allowed[1] == [*check[:5], "--allow-missing-classes", *check[5:]]
    assert value(pair, "--student") == f"data/{dataset}/{dataset}_l1.yaml"
    assert value(pair, "--teacher") == f"data/{dataset}/{dataset}_{tier}.yaml"
    assert weaver[0] == "weaver" and value(weaver, "--num-epochs") == "3"
    assert value(weaver, "--data-config") == f"training/{run_name}/paired.yaml"
    assert value(weaver, "--data-config-val") == f"training/{run_name}/student.yaml"
    assert value(weaver, "--model-prefix") == f"training/{run_name}/net"
    options = network_options(weaver)
    assert options["student"] == "'networks/InteractionNet.py'" and options["teacher"] == f"'networks/{teacher}.py'"
    assert options["teacher_weights"] == f"'training/{dataset}_{teacher}_{tier}_seed1/net_best_epoch_state.pt'"
    assert options["kd_alpha"] == "0.4" and options["seed"] == "1" and options["restart"] == "'no'"
    files = weaver[weaver.index("--data-train") + 1 : weaver.index("--data-val")]
    assert len(files) == {"JetClassII": 1340, "JetClass": 10, "TopLandscape": 1}[dataset]
    assert all(file.rpartition(":")[2].startswith("/jets/") for file in files)


PUBLISHED = {  # of JetClass-II: training, validation, test
    "Res2P": [(0, 199), (200, 249), (250, 299)],
    "Res34P": [(0, 859), (860, 1074), (1075, 1289)],
    "QCD": [(0, 279), (280, 349), (350, 419)],
}


def published(use, named):
    prefix = "{0}:" if named else ""
    return [(prefix + "/jets/Pythia/{0}_{1:04d}.parquet").format(name, i)
            for name, ranges in PUBLISHED.items() for i in range(ranges[use][0], ranges[use][1] + 1)]  # fmt: skip


def after(command, name):
    """The words that follow an option, up to the next."""
    rest = command[command.index(name) + 1 :]
    return rest[: next((i for i, word in enumerate(rest) if word.startswith("-")), None)]


@pytest.mark.parametrize("program", ["train_kd.sh", "train_scripts/train_sophon.sh", "train_scripts/train_ssl.sh"])
def test_published_files_of_jetclass2(program):
    settings = {"DATASET": "JetClassII", "DATADIR": "/jets", "PRETRAIN_DATASET": "JetClassII"}
    mode = "scratch" if "ssl" in program else "train"
    lines = run(ROOT / program, mode, "--dry-run", env=settings).stdout.splitlines()
    *_, check, _, weaver = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert after(weaver, "--data-train") == published(0, named=True)
    assert after(weaver, "--data-val") == published(1, named=False)
    assert [word for word in check if word.endswith("t")][:1675] == published(0, True) + published(1, False)
    if mode == "scratch":
        assert after(weaver, "--data-test") == published(2, named=False)


def test_a_small_sophon_teaches_a_student_of_four_of_its_classes(tmp_path):
    """The teacher has a data config of its own: the student's dataset needs no tier of that name."""
    done = run(ROOT / "train_scripts/train_sophon.sh", "train", "--dry-run", env={"MODEL": "Sophon-small"})
    assert value(shlex.split(done.stdout.splitlines()[-1]), "--model-prefix") == "training/JetClassII_Sophon-small/net"
    (weights := tmp_path / "sophon.pt").write_text("")
    config, classes = "data/JetClassII/JetClassII_full.yaml", "train_scripts/studies/classes/XbbXcc.yaml"
    settings = {"DATASET": "XbbXcc", "TEACHER": "Sophon-small", "TEACHER_CONFIG": config, "CLASSES": classes}
    *_, pair, _, _, weaver = dry_run("train", TEACHER_WEIGHTS=weights, **settings)
    assert value(pair, "--student") == "data/JetClassII/XbbXcc_l1.yaml"
    assert value(pair, "--teacher") == str(ROOT / config)
    assert value(pair, "--classes") == str(ROOT / classes)
    assert "'embed_dims': [64,64]" in network_options(weaver)["teacher_options"]
    (*_, report) = dry_run("report", **settings)
    assert after(report, "--signals") == ["X_bb", "X_cc", "X_cc/X_bb"]


@pytest.fixture
def part_of_jetclass2(tmp_path):
    """Two training, one validation file of each part."""
    (tmp_path / "Pythia").mkdir()
    for name, ((first, _), (val, _), _) in PUBLISHED.items():
        for number in (first, first + 3, val):
            (tmp_path / "Pythia" / f"{name}_{number:04d}.parquet").touch()
    return tmp_path


def test_a_part_of_jetclass2(part_of_jetclass2):
    settings = {"DATADIR": part_of_jetclass2, "FILES": "found"}
    result = run(ROOT / "train_kd.sh", "make_weight", "--dry-run", env=settings)
    weaver = shlex.split(result.stdout.splitlines()[-1])
    files = [f"{part_of_jetclass2}/Pythia/{name}.parquet" for name in
             ("Res2P_0000", "Res2P_0003", "Res34P_0000", "Res34P_0003", "QCD_0000", "QCD_0003",
              "Res2P_0200", "Res34P_0860", "QCD_0280")]  # fmt: skip
    assert after(weaver, "--data-train") == files
    train, val = result.stderr.splitlines()
    assert train == "found: " + ", ".join(
        f"2 of the {last + 1} files {name}_0000.parquet to {name}_{last:04d}.parquet"
        for name, ((_, last), *_) in PUBLISHED.items()
    )
    assert val.startswith("found: 1 of the 50 files Res2P_0200.parquet to ")
    (part_of_jetclass2 / "Pythia" / "Res34P_0860.parquet").unlink()
    result = train_kd("make_weight", **settings)
    text = f"none of the 215 files Res34P_0860.parquet to Res34P_1074.parquet is in {part_of_jetclass2}/Pythia: each"
    assert result.returncode == 1 and text in result.stderr.splitlines()[-1]
    assert run(ROOT / "train_kd.sh", "report", "--dry-run", env=settings).stderr == ""  # reads none


def test_a_part_of_jetclass2_without_the_setting(part_of_jetclass2):
    result = train_kd("make_weight", DATADIR=part_of_jetclass2)
    missing = f"{part_of_jetclass2}/Pythia/Res2P_0001.parquet"
    assert result.stderr == (
        "kd_trainer check: 247 of the 250 files of Res2P, 1072 of the 1075 files of Res34P, 347 of the 350 files of "
        f"QCD are missing, for example {missing}: download them, or use the existing ones (FILES=found)\n"
    )


def test_a_make_weight_with_missing_classes():
    """The option that makes `check` pass is not given to the network."""
    for program in ("train_kd.sh", "train_scripts/train_sophon.sh"):
        words = ("make_weight", "--dry-run", "-o", "allow_missing_classes", "True", "-o", "num_layers", "2")
        *_, check, weaver = map(shlex.split, run(ROOT / program, *words, env={"DATADIR": "/jets"}).stdout.splitlines())
        assert "--allow-missing-classes" in check and network_options(weaver)["num_layers"] == "2"
        assert "allow_missing_classes" not in network_options(weaver)


def test_commands_of_many(tmp_path):
    """Students, seeds, an ensemble, other files and a quote in a path."""
    files = [word[0] for word in dry_run("baseline", STUDENT="PFN dense", SEED="1 2") if word[0] == "weaver"]
    assert len(files) == 4
    (weights := tmp_path / "it's mine.pt").write_text("")
    (weaver,) = (c for c in dry_run("train", TEACHER_WEIGHTS=weights, RUN="mine") if c[0] == "weaver")
    assert network_options(weaver)["teacher_weights"] == "'" + str(weights).replace("'", "\\'") + "'"
    assert value(weaver, "--model-prefix") == "training/mine/net"
    (weaver,) = (c for c in dry_run("train", TEACHER_SEED="1 2", TRAIN_FILES="/a/*.root b:/c.root") if c[0] == "weaver")
    both = [f"training/JetClassII_Sophon_full_seed{seed}/net_best_epoch_state.pt" for seed in (1, 2)]
    assert network_options(weaver)["teacher_weights"] == str(both).replace(" ", "")
    assert weaver[1:5] == ["--data-train", "/a/*.root", "b:/c.root", "--data-val"]


def test_commands_that_begin_with_pretrained_weights(tmp_path):
    (weights := tmp_path / "pre trained.pt").write_text("")
    for mode in ("train", "baseline", "finetune"):
        *_, weaver = [words for words in dry_run(mode, PRETRAINED=weights, HEAD_RATE=10) if words[0] == "weaver"]
        assert network_options(weaver)["pretrained"] == f"'{weights}'"
    assert weaver[weaver.index("lr_mult") + 1] == "('mod.fc.1.*', 10)"  # of Sophon
    (weaver,) = (words for words in dry_run("train") if words[0] == "weaver")
    assert "pretrained" not in network_options(weaver)
    again = [words for words in dry_run("firmware", PRETRAINED=weights) if "networks/distill.py" in words]
    assert again and "pretrained" not in again[0]  # its student is trained already


def test_commands_of_firmware():
    """From the student and with its teacher; on labels alone from the baseline; beside the twin in floating point."""
    for kind, settings in (("kd", {}), ("baseline", {"KD_ALPHA": 0})):
        twin = f"training/JetClassII_PFN_l1_{kind}_seed1/net_best_epoch_state.pt"
        *_, firmware = commands = dry_run("firmware", STUDENT="PFN", **settings)
        (trained,) = (c for c in commands if c[0] == "weaver" and "networks/distill.py" in c)
        assert network_options(trained)["trained"] == f"'{twin}'" and value(firmware, "--twin") == twin
        assert ("teacher" in network_options(trained)) == (kind == "kd")


def test_commands_without_labels():
    """The student learns only from the teacher, also in validation; the test jets have labels."""
    *_, pair, _, _, weaver = dry_run("train", DATASET="TopLandscape", LABELS="no")
    assert "--unlabelled" in pair and network_options(weaver)["kd_alpha"] == "1.0"
    assert value(weaver, "--data-config-val").endswith("/paired.yaml")
    _, _, complexity = dry_run("test", DATASET="TopLandscape", LABELS="no", PREDICT="kd")[-3:]
    assert value(complexity, "--data-config") == "data/TopLandscape/TopLandscape_l1.yaml"


BESIDE = {"DATASET": "TopLandscape", "DATADIR": "/jets", "UNLABELLED": "a/*.parquet b.parquet"}
TRAINED = "training/TopLandscape_InteractionNet_l1_kd_seed1"
MEMBERS = {"BLEND": "cache/A=0.8 cache/B=0.2", "CACHE": "cache/C"}


def made(command):
    """What a command of `kd_trainer cache` reads and writes: paired config, folder, files."""
    start = command.index("--paired")
    return command[start + 1], value(command, "--output"), command[start + 2 :]


def test_commands_with_unlabelled_files_and_a_live_teacher():
    *_, pair, again, _, _, weaver = dry_run("train", **BESIDE, UNLABELLED_FRACTION="0.75")
    assert "--unlabelled" not in pair and value(pair, "-o") == TRAINED
    assert "--unlabelled" in again and value(again, "-o") == f"{TRAINED}/unlabelled"
    assert pair[:-1] == [word for word in again[:-1] if word != "--unlabelled"]
    options = network_options(weaver)
    files = [f"{ROOT}/a/*.parquet", f"{ROOT}/b.parquet"]  # of the caller
    assert options["kd_unlabelled"] == str(files).replace(" ", "")
    assert options["kd_unlabelled_config"] == f"'{TRAINED}/unlabelled/paired.yaml'"
    assert options["kd_unlabelled_fraction"] == "0.75" and not {"kd_cache", "kd_unlabelled_cache"} & options.keys()
    assert value(weaver, "--data-config") == f"{TRAINED}/paired.yaml" and options["kd_alpha"] == "1.0"
    assert value(weaver, "--data-config-val") == f"{TRAINED}/student.yaml"  # their labels are read


def test_commands_with_unlabelled_files_and_a_cache(tmp_path):
    cache = tmp_path / "soft targets"
    *_, pair, _, labelled, without = dry_run("cache", **BESIDE, CACHE=cache)
    assert value(pair, "-o") == f"{cache}/unlabelled"
    assert made(labelled) == (f"{cache}/paired.yaml", str(cache), ["/jets/train_file.parquet"])
    files = [f"{ROOT}/a/*.parquet", f"{ROOT}/b.parquet"]
    assert made(without) == (f"{cache}/unlabelled/paired.yaml", f"{cache}_unlabelled", files)

    cache.mkdir()
    (cache / "cached.yaml").touch()
    settings = BESIDE | {"UNLABELLED": "a/*.parquet g:b.root"}
    *_, weaver = dry_run("train", **settings, CACHE=cache)
    options = network_options(weaver)
    assert value(weaver, "--data-config") == f"{TRAINED}/paired.yaml"
    assert value(weaver, "--data-train") == "/jets/train_file.parquet"
    assert options["kd_cache"] == f"'{cache}'" and options["kd_unlabelled_cache"] == f"'{cache}_unlabelled'"
    assert options["kd_unlabelled"] == f"['{ROOT}/a/*.parquet','g:{ROOT}/b.root']"
    assert options["kd_unlabelled_fraction"] == "0.9" and "kd_unlabelled_config" not in options
    *_, weaver = dry_run("train", **settings, CACHE="none")
    assert "kd_cache" not in network_options(weaver)


def test_commands_with_a_blend():
    settings = {"DATASET": "TopLandscape", "DATADIR": "/jets", **MEMBERS}
    words = ["--overwrite", "--output", f"{ROOT}/cache/C", "--blend", f"{ROOT}/cache/A=0.8", f"{ROOT}/cache/B=0.2"]
    *_, pair, blend = dry_run("cache", "--overwrite", **settings)
    assert "--teacher" not in pair and blend[3:] == ["cache", "--ensemble", "probabilities", *words]
    *_, weaver = dry_run("train", **settings)
    options = network_options(weaver)
    assert not {"teacher", "teacher_weights", "teacher_options", "kd_ensemble", "kd_unlabelled"} & options.keys()
    assert options["kd_cache"] == f"'{ROOT}/cache/C'"
    assert value(weaver, "--data-config") == value(weaver, "--data-config-val") == f"{TRAINED}/student.yaml"
    assert value(weaver, "--data-train") == "/jets/train_file.parquet"
    assert network_options(weaver)["kd_temperature"] == "1.0"  # at which it is the sum of the losses


def test_commands_with_a_blend_and_unlabelled_files():
    *_, blend, without = dry_run("cache", **BESIDE, **MEMBERS)
    assert value(blend, "--output") == f"{ROOT}/cache/C"
    members = [f"{ROOT}/cache/A_unlabelled=0.8", f"{ROOT}/cache/B_unlabelled=0.2"]
    assert without[6:] == ["--output", f"{ROOT}/cache/C_unlabelled", "--blend", *members]
    *_, weaver = dry_run("train", **BESIDE, **MEMBERS)
    options = network_options(weaver)
    assert options["kd_unlabelled_cache"] == f"'{ROOT}/cache/C_unlabelled'"
    assert options["kd_unlabelled"] == f"['{ROOT}/a/*.parquet','{ROOT}/b.parquet']"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="without setpriv children outlive a script that is killed")
@pytest.mark.parametrize("mode", ["baseline", "latency"])
def test_a_script_that_calls_itself_ends_as_a_whole(mode, tmp_path):
    for name in ("weaver", "python"):  # any command of the script takes a minute
        (tmp_path / name).write_text("#!/usr/bin/env bash\n[[ $1 != -m ]] || exec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    training = tmp_path / "clone" / "training" / "demo_InteractionNet_l1_kd_seed1"
    copy_repository(tmp_path / "clone")
    training.mkdir(parents=True)
    for name in ("net_record.json", "net_best_epoch_state.pt"):
        (training / name).write_text("{}")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DATASET": "demo", "SEED": "1 2"}
    top = subprocess.Popen([tmp_path / "clone" / "train_kd.sh", mode], env=env, stdout=subprocess.DEVNULL)
    children = psutil.Process(top.pid).children
    wait_for(lambda: any("sleep" in process.name() for process in children(recursive=True)))
    assert len(found := children(recursive=True)) > 1
    top.kill()
    top.wait()
    assert psutil.wait_procs(found, timeout=10)[1] == []


def test_the_demo_needs_no_arguments(tmp_path):
    """Snakemake refuses an empty value: the command of the demo is understood with arguments for weaver and without."""
    env = {"DATADIR": tmp_path, "COMMENT": "_none", "JETS": 10}
    for arguments in ((), ("--num-epochs", 2)):
        (command,) = dry_run("demo", *arguments, **env)
        start = command.index("snakemake")
        result = run(*command[start:], "--dry-run", env={**env, "VENV": ".venv"})
        assert "simulate_train" in result.stdout
