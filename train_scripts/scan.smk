# The data-efficiency scan. `train_scripts/train_ssl.sh scan` calls Snakemake with it; its rules call the other modes.
import functools
import os
import re
import subprocess
from glob import glob
from shlex import quote

from kd_trainer.pretrain import scan

envvars: *os.environ["SCAN_SETTINGS"].split()

SETTINGS = {name: os.environ[name] for name in os.environ["SCAN_SETTINGS"].split()}
STEPS = {step.run: step for step in scan.steps(SETTINGS)}
# a step ends with Snakemake; settings that name several in a scan are not those of a step
STEP = "exec $(if command -v setpriv >/dev/null; then echo setpriv --pdeathsig TERM; fi) env"
STEP += " -u RUN -u FRACTION -u PRETRAIN_FRACTION -u SEED "
POINTS = scan.points(STEPS.values())
FOLDER = "training/{DATASET}_{MODEL}_{TIER}_scan{COMMENT}".format(**SETTINGS)


@functools.cache
def described(side=""):
    """(data config, [the files that say how it is trained, and its data files]) of DATASET or PRETRAIN_DATASET."""
    dataset, folder = (SETTINGS[side + name] for name in ("DATASET", "DATADIR"))
    scripts = [f"train_scripts/models/{SETTINGS['MODEL']}.sh", f"train_scripts/datasets/{dataset}.sh"]
    show = f'"$network" "${{data_config}}_{SETTINGS["TIER"]}.yaml" "${{data_train[@]#*:}}" "${{data_val[@]}}"'
    if not side:
        show += ' "${data_test[@]}"'
    lines = f'DATADIR={quote(folder)}; for file in {" ".join(scripts)}; do source "$file"; done; printf "%s\\n" {show}'
    network, config, *patterns = subprocess.check_output(["bash", "-c", lines], text=True).splitlines()
    files = [file for pattern in patterns for file in sorted(glob(pattern)) or [pattern]]
    return config, [*scripts, network, config, *dict.fromkeys(files)]


def needs(wildcards):
    step = STEPS[wildcards.run]
    return [*step.start, *described("PRETRAIN_" if step.mode == "pretrain" else "")[1]]


def command(wildcards):
    step = STEPS[wildcards.run]
    settings = [f"{name}={quote(value)}" for name, value in {**step.settings, "RESTART": "changed"}.items()]
    return " ".join([*settings, "train_scripts/train_ssl.sh", step.mode, SETTINGS["SCAN_ARGS"]])


def runs(*modes):
    return "|".join(re.escape(run) for run, step in STEPS.items() if step.mode in modes) or "none"


def one_thread_of_several(wildcards):
    return 1 if SETTINGS["JOBS"] != "1" else workflow.cores or 1


rule efficiency:
    input: [prediction for predictions in POINTS.values() for prediction in predictions]
    output: multiext(f"{FOLDER}/efficiency", ".md", ".json", ".png", ".pdf")
    params:
        points=[f"{name}={','.join(predictions)}" for name, predictions in POINTS.items()],
        config=described()[0],
        title=f"{SETTINGS['MODEL']}, {SETTINGS['DATASET']}",
    shell: "python -m kd_trainer efficiency {params.points:q} --data-config {params.config} --title {params.title:q} -o " + FOLDER


rule pretrain:
    input: needs, "networks/contrastive.py"
    output: update("training/{run}/net_record.json")
    wildcard_constraints: run=runs("pretrain")
    params: command=command
    threads: one_thread_of_several
    shell: STEP + "{params.command}"


rule train:
    input: needs, "networks/finetune.py"
    output: "training/{run}/pred.root"
    wildcard_constraints: run=runs("scratch", "linear", "finetune")
    params: command=command
    threads: one_thread_of_several
    shell: STEP + "{params.command}"
