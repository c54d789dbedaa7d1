"""The scan of train_ssl.sh as steps: pre-trainings, and the trainings on labels that start from them, or from scratch.

A pure function of the script's settings; `train_scripts/scan.smk` gives the steps to Snakemake.
"""

import dataclasses
from collections.abc import Mapping

SHARED = ("MODEL", "TIER", "COMMENT", "DDP_NGPUS", "VENV")  # settings of all steps
LABELLED = ("DATASET", "DATADIR", "WEIGHTS")
UNLABELLED = ("PRETRAIN_DATASET", "PRETRAIN_DATADIR")


@dataclasses.dataclass(frozen=True)
class Step:
    """A call of train_ssl.sh.

    Attributes
    ----------
    mode : str
        pretrain, scratch, linear or finetune.
    run : str
        Its files are in training/<run>.
    settings : dict of str
        Environment of the call.
    start : list of str
        The files of the encoder that it starts from.
    numbers : list of str
        The JSON files of `kd_trainer subset` with the numbers of jets: without labels, if any are used, and with.
    """

    mode: str
    run: str
    settings: dict[str, str]
    start: list[str]
    numbers: list[str]

    @property
    def prediction(self) -> str:
        """The file that a step with labels ends with."""
        return f"training/{self.run}/pred.root"

    @property
    def record(self) -> str:
        """The file that a complete training ends with."""
        return f"training/{self.run}/net_record.json"


def steps(settings: Mapping[str, str]) -> list[Step]:
    """All steps of a scan, pre-trainings first.

    Parameters
    ----------
    settings : dict
        Those of train_ssl.sh, as text; FRACTION, PRETRAIN_FRACTION, SEED and MODES may name several.
    """
    found = {}
    for mode in settings["MODES"].split():
        for size in settings["PRETRAIN_FRACTION"].split() if _needs_encoder(mode, settings) else [None]:
            for fraction in settings["FRACTION"].split():
                for seed in settings["SEED"].split():
                    before = None if size is None else _pretraining(settings, size=size, seed=seed)
                    after = _training(settings, before, mode=mode, size=size, fraction=fraction, seed=seed)
                    found |= {step.run: step for step in (before, after) if step}
    return sorted(found.values(), key=lambda step: step.mode != "pretrain")


def points(steps: list[Step]) -> dict[str, list[str]]:
    """What `kd_trainer efficiency` compares: {START[:FILE]:FILE: [prediction of each seed]}."""
    found: dict[str, list[str]] = {}
    first: dict[tuple, str] = {}
    for step in steps:
        if step.mode != "pretrain":
            settings = {name: value for name, value in step.settings.items() if not name.endswith("SEED")}
            key = first.setdefault((step.mode, *settings.items()), ":".join([step.mode, *step.numbers]))
            found.setdefault(key, []).append(step.prediction)
    return found


def _needs_encoder(mode, settings):
    return mode != "scratch" and not settings["PRETRAINED"]


def _chosen(settings, names, **more):
    """Those of the settings that are given; the folder of a dataset is its usual one if it is not named."""
    usual = {f"{side}DATADIR": f"datasets/{settings[f'{side}DATASET']}" for side in ("", "PRETRAIN_")}
    given = {name: settings[name] for name in names if settings.get(name) and settings[name] != usual.get(name)}
    return {**given, **more}


def _pretraining(settings, *, size, seed):
    if settings["PRETRAIN_SEED"] != "each":
        seed = settings["PRETRAIN_SEED"]
    run = f"{settings['PRETRAIN_DATASET']}_{settings['MODEL']}_{settings['TIER']}_pretrained_{size}_seed{seed}"
    run += settings["COMMENT"]
    own = _chosen(settings, (*SHARED, *UNLABELLED, "DATASET", "PRETRAIN_ARGS"), PRETRAIN_FRACTION=size, PRETRAIN_SEED=seed)
    return Step("pretrain", run, own, [], [f"training/{run}/unlabelled_{size}.json"])


def _training(settings, before, *, mode, size, fraction, seed):
    start = f"_from_{settings['PRETRAIN_DATASET']}_{size}" if before else ""
    run = f"{settings['DATASET']}_{settings['MODEL']}_{settings['TIER']}_{mode}{start}_{fraction}_seed{seed}"
    run += settings["COMMENT"]
    own = _chosen(settings, (*SHARED, *LABELLED), FRACTION=fraction, SEED=seed)
    files = []
    if before:
        own |= {name: before.settings[name] for name in ("PRETRAIN_DATASET", "PRETRAIN_FRACTION", "PRETRAIN_SEED")}
        files = [before.record]
    elif mode != "scratch":
        own["PRETRAINED"] = settings["PRETRAINED"]
        files = [settings["PRETRAINED"]]
    if mode == "finetune":
        own["HEAD_RATE"] = settings["HEAD_RATE"]
    numbers = [*(before.numbers if before else []), f"training/{run}/labelled_{fraction}.json"]
    return Step(mode, run, own, files, numbers)
