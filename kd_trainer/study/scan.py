"""The steps of a scan of train_ssl.sh: pre-trainings, trainings on labels, comparison.

Pure functions, as in `steps`. The rules of train_scripts/Snakefile are pretrain, labelled and report.
"""

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence

from kd_trainer.digests import network_files
from kd_trainer.jet_files import those_there
from kd_trainer.study import scripts
from kd_trainer.study.step import CHECKPOINT, PREDICTION, RECORD, Files, Step

PROGRAM = "train_scripts/train_ssl.sh"
SHARED = ("FILES", "MODEL", "TIER", "COMMENT", "DDP_NGPUS")
LABELLED = ("DATASET", "DATADIR", "WEIGHTS")
UNLABELLED = ("PRETRAIN_DATASET", "PRETRAIN_DATADIR")
# settings of train_ssl.sh that each step sets itself
SETTINGS = (
    *SHARED, *LABELLED, *UNLABELLED, "FRACTION", "PRETRAIN_FRACTION", "PRETRAINED", "SEED", "PRETRAIN_SEED",
    "HEAD_RATE", "MODES", "PRETRAIN_ARGS", "RUN", "RESTART",
)  # fmt: skip


def of_settings(
    settings: Mapping[str, str], arguments: tuple = (), find: Callable[[str], Iterable[str]] = glob.glob
) -> list[Step]:
    """All steps of a scan.

    Parameters
    ----------
    settings : dict
        Settings of train_ssl.sh that are not empty; FRACTION, PRETRAIN_FRACTION, SEED and MODES may have several
        values. With JOBS=1 each step uses all cores.
    arguments : arguments of weaver for every training
    find : function from a pattern to the existing files that match

    Raises
    ------
    InputError
        If a pattern of data files matches no file.
    """
    scan = _Scan(settings, arguments, find)
    seeds = settings["SEED"].split()
    steps: dict[str, Step] = {}
    points: dict[str, list[str]] = {}
    for mode in settings["MODES"].split():
        for size in settings["PRETRAIN_FRACTION"].split() if scan.pretrains(mode) else [None]:
            for fraction in settings["FRACTION"].split():
                before = [scan.pretraining(size, seed) for seed in seeds] if size else []
                starts: list[Step | None] = [*before] if before else [None] * len(seeds)
                after = [scan.training(start, mode=mode, size=size, fraction=fraction, seed=seed)
                         for start, seed in zip(starts, seeds)]  # fmt: skip
                steps |= {step.run: step for step in (*before, *after)}
                jets = [f"training/{step.run}/unlabelled_{size}.json" for step in before[:1]]  # from `subset`
                jets.append(f"training/{after[0].run}/labelled_{fraction}.json")
                points[":".join([mode, *jets])] = [f"training/{step.run}/{PREDICTION}" for step in after]
    return [*steps.values(), scan.report(points)]


class _Scan:
    def __init__(self, settings: Mapping[str, str], arguments: tuple, find: Callable[[str], Iterable[str]]) -> None:
        self.settings, self.arguments, self.files = settings, arguments, Files([], find)
        self.model = scripts.model(settings["MODEL"])
        self.names = f"{settings['MODEL']}_{settings['TIER']}"
        self.comment = settings.get("COMMENT", "")

    def pretrains(self, mode: str) -> bool:
        return mode != "scratch" and "PRETRAINED" not in self.settings

    def chosen(self, names: Iterable[str], **more: str) -> dict[str, str]:
        """The given settings among `names`; without the folder of a dataset if it is the default."""
        usual = {f"{side}DATADIR": f"datasets/{self.settings[f'{side}DATASET']}" for side in ("", "PRETRAIN_")}
        given = {name: self.settings[name] for name in names if name in self.settings}
        return {name: value for name, value in given.items() if value != usual.get(name)} | more

    def dataset(self, side: str = "") -> tuple[scripts.Dataset, str]:
        """(Description, data config) of DATASET or PRETRAIN_DATASET."""
        found = scripts.dataset(self.settings[f"{side}DATASET"], {"DATADIR": self.settings[f"{side}DATADIR"]})
        return found, f"{found.config}_{self.settings['TIER']}.yaml"

    def paths(self, *lists: Sequence[str]) -> list[str]:
        """The files of some lists of patterns; with FILES=found only the existing ones."""
        if self.settings.get("FILES"):
            lists = tuple(those_there(patterns)[0] for patterns in lists)
        return self.files([pattern for patterns in lists for pattern in patterns])

    def pretraining(self, size: str, seed: str) -> Step:
        data, config = self.dataset("PRETRAIN_")
        seed = seed if self.settings["PRETRAIN_SEED"] == "each" else self.settings["PRETRAIN_SEED"]
        run = f"{data.name}_{self.names}_pretrained_{size}_seed{seed}{self.comment}"
        names = (*SHARED, *UNLABELLED, "DATASET", "PRETRAIN_ARGS")
        own = self.chosen(names, PRETRAIN_FRACTION=size, PRETRAIN_SEED=seed)
        inputs = [*self.paths(data.train, data.val), data.path, config, "networks/contrastive.py"]
        return self.step("pretrain", "pretrain", run, own, inputs)

    def training(self, before: Step | None, *, mode: str, size: str | None, fraction: str, seed: str) -> Step:
        data, config = self.dataset()
        start = f"_from_{self.settings['PRETRAIN_DATASET']}_{size}" if before else ""
        run = f"{data.name}_{self.names}_{mode}{start}_{fraction}_seed{seed}{self.comment}"
        own = self.chosen((*SHARED, *LABELLED), FRACTION=fraction, SEED=seed)
        own |= self.chosen(["HEAD_RATE"]) if mode == "finetune" else {}
        inputs = [*self.paths(data.train, data.val, data.test), data.path, config, "networks/finetune.py"]
        inputs += [own["WEIGHTS"]] if "WEIGHTS" in own else []
        if before:
            own |= {name: before.settings[name] for name in ("PRETRAIN_DATASET", "PRETRAIN_FRACTION", "PRETRAIN_SEED")}
            inputs += list(before.outputs)
        elif mode != "scratch":
            own |= self.chosen(["PRETRAINED"])
            inputs.append(own["PRETRAINED"])
        return self.step("labelled", mode, run, own, inputs, f"training/{run}/{PREDICTION}")

    def step(self, kind: str, mode: str, run: str, settings: dict, inputs: list[str], *more: str) -> Step:
        settings = settings | {"RESTART": "changed"}
        inputs = [*inputs, self.model.path, *network_files(self.model.network)]
        read = tuple(dict.fromkeys(inputs))
        outputs = (f"training/{run}/{CHECKPOINT}", f"training/{run}/{RECORD}", *more)
        alone = self.settings.get("JOBS") == "1"
        return Step(kind, run, settings, self.arguments, read, outputs, alone, f"{PROGRAM} {mode}")

    def report(self, points: Mapping[str, list[str]]) -> Step:
        """The step for table and plot, from {START[:FILE]:FILE: [prediction of each seed]}."""
        data, config = self.dataset()
        name = f"{data.name}_{self.names}_scan{self.comment}"
        inputs = tuple(path for paths in points.values() for path in paths)
        arguments = [f"{start}={','.join(paths)}" for start, paths in points.items()]
        title = f"{self.settings['MODEL']}, {data.name}"
        arguments += ["--data-config", config, "--title", title, "-o", f"training/{name}"]
        outputs = tuple(f"training/{name}/efficiency.{kind}" for kind in ("md", "json", "png", "pdf"))
        return Step("report", name, {}, tuple(arguments), inputs, outputs, program="python -m kd_trainer efficiency")
