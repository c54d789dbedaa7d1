"""A distillation with the real weaver command: teacher, configs and the call."""

from helpers import CLASSES, ROOT, weaver

FULL, L1 = (ROOT / "data" / "JetClass" / f"JetClass_{tier}.yaml" for tier in ("full", "l1"))
TEACHER = {"embed_dims": [16, 16], "pair_embed_dims": [8], "num_heads": 2, "num_layers": 1, "num_cls_layers": 1}
STUDENT = ("-o", "phi_dims", "(16, 16)", "-o", "rho_dims", "(16,)")
TRAINING = ("--num-workers", "0", "--fetch-step", "1", "--batch-size", "64",
            "--start-lr", "5e-3", "--optimizer", "adamW")


def data(jets):
    return ("--data-train", *(f"{name}:{jets}/train/{name}_*.parquet" for name in CLASSES),
            "--data-val", f"{jets}/val/*.parquet")


def distillation(jets, configs, teacher, prefix, *args, epochs=2, student="networks/PFN.py", **kwargs):
    """weaver with networks/distill.py; returns the result and the text of the log."""
    log = f"{prefix}.log"
    result = weaver(
        *data(jets), "-c", configs / "paired.yaml", "--data-config-val", configs / "student.yaml",
        "-n", "networks/distill.py", "-o", "student", f"'{student}'", "-o", "teacher", "'networks/ParT.py'",
        "-o", "teacher_weights", f"'{teacher}'", "-o", "teacher_options", str(TEACHER),
        "-m", prefix, "--log-file", log, "--num-epochs", epochs, *TRAINING, *args, **kwargs,
    )  # fmt: skip
    return result, open(log).read()
