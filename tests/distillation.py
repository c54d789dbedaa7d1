"""A distillation with the real weaver command: teacher, configs and the call."""

import torch
from helpers import CLASSES, ROOT, weaver

FULL, L1 = (ROOT / "data" / "JetClass" / f"JetClass_{tier}.yaml" for tier in ("full", "l1"))
TEACHER = {"embed_dims": [16, 16], "pair_embed_dims": [8], "num_heads": 2, "num_layers": 1, "num_cls_layers": 1}
SMALL = {
    "ParT": TEACHER, "Sophon": TEACHER,
    "MIParT": {"embed_dims": [16, 16], "pair_embed_dims": [8, 8], "num_heads": 2, "num_mi_layers": 1, "num_layers": 1,
               "num_cls_layers": 1},
    "ParticleNet": {"conv_params": [(7, (8, 8))], "fc_params": [(8, 0.1)]},
}  # fmt: skip
STUDENT = ("-o", "phi_dims", "(16, 16)", "-o", "rho_dims", "(16,)")
TRAINING = ("--num-workers", "0", "--fetch-step", "1", "--batch-size", "64",
            "--start-lr", "5e-3", "--optimizer", "adamW")


def short(jets, validation, batch, epochs=1):
    """Weaver's arguments for a training of so many jets an epoch."""
    return ("--num-epochs", epochs, "--samples-per-epoch", jets, "--samples-per-epoch-val", validation,
            "--batch-size", batch, "--num-workers", 0)  # fmt: skip


def words(options):
    """Options of a network on the command line."""
    return [word for name, value in options.items() for word in ("-o", name, str(value))]


def taught_by(weights):
    """Options of networks/distill.py for the small ParT with these weights, one file or a list."""
    weights = weights if isinstance(weights, list) else str(weights)
    return words({"teacher": "'networks/ParT.py'", "teacher_weights": repr(weights), "teacher_options": TEACHER})


def data(jets):
    return ("--data-train", *(f"{name}:{jets}/train/{name}_*.parquet" for name in CLASSES),
            "--data-val", f"{jets}/val/*.parquet")


def distillation(jets, configs, teacher, prefix, *args, epochs=2, student="networks/PFN.py", **kwargs):
    """weaver with networks/distill.py; returns the result and the text of the log."""
    log = f"{prefix}.log"
    result = weaver(
        *data(jets), "-c", configs / "paired.yaml", "--data-config-val", configs / "student.yaml",
        "-n", "networks/distill.py", "-o", "student", f"'{student}'", *taught_by(teacher),
        "-m", prefix, "--log-file", log, "--num-epochs", epochs, *TRAINING, *args, **kwargs,
    )  # fmt: skip
    return result, open(log).read()


def state(prefix, epoch=1):
    """Weights after an epoch."""
    return torch.load(f"{prefix}_epoch-{epoch}_state.pt", weights_only=True)


def same(a, b):
    """Whether two sets of weights are equal bit by bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
