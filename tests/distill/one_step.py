"""One training step of a distillation, as one of several processes: python one_step.py PAIRED OUT WRAPPER...

The jets of a batch are shared by RANK and WORLD_SIZE. For each wrapper ("none", or a class of torch.nn.parallel; with
"+embedding" the student learns the teacher's embedding, too; with "+average" there are two steps, whose weights are
averaged; with "+unlabelled" two thirds of the jets have no labels) all trained parameters after the step are written to
OUT.
"""

import os
import sys
from types import SimpleNamespace

import torch
from weaver.utils.dataset import DataConfig

from kd_trainer.configs import load
from kd_trainer.distill.embedding import attach
from kd_trainer.distill.loop import train_fn
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.mixture import LABELLED
from kd_trainer.teacher.frozen import Teacher

CLASSES, JETS = 10, 24


class Mean(torch.nn.Module):
    """Logits from the mean particle; batch norm is left out, since its statistics are those of a process."""

    def __init__(self, channels):
        super().__init__()
        layers = torch.nn.Linear(channels, 16), torch.nn.ReLU(), torch.nn.Linear(16, CLASSES)
        self.mod = torch.nn.ModuleDict({"fc": torch.nn.Sequential(*layers)})

    def forward(self, points, features, vectors, mask):
        return self.mod["fc"]((features * mask).sum(2) / mask.sum(2).clamp(min=1))


class Loader:
    """A batch of jets, or this process's part of it."""

    def __init__(self, config, rank, size, unlabelled=False):
        generator = torch.Generator().manual_seed(1)
        self.dataset = SimpleNamespace(config=config, _init_file_dict={})
        shapes = config.input_shapes
        X = {k: torch.rand((JETS, *shape[1:]), generator=generator) for k, shape in shapes.items()}
        for name in X:
            if name.endswith("mask"):
                counts = torch.randint(1, shapes[name][2], (JETS, 1, 1), generator=generator)
                X[name] = (torch.arange(shapes[name][2]) < counts).float()
        y = torch.randint(0, CLASSES, (JETS,), generator=generator)
        self.batch = {k: x[rank::size] for k, x in X.items()}, {"_label_": y[rank::size]}, {}
        if unlabelled:
            self.batch[1][LABELLED] = (torch.arange(JETS) < JETS // 3)[rank::size]

    def __iter__(self):
        yield self.batch


def main(paired, out, *wrappers):
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group("gloo")
    for wrapper in wrappers:
        torch.save(parameters(paired, wrapper, rank, size), f"{out}.{wrapper}.{rank}")


def parameters(paired, wrapper, rank=0, size=1):
    """Of a student after one step, or two: {name: values}."""
    kind, _, more = wrapper.partition("+")
    return step(DataConfig(print_info=False, **load(paired)), kind, rank, size,
                embed_weight=0.5 * (more == "embedding"), ema=0.9 * (more == "average"),
                unlabelled=more == "unlabelled")  # fmt: skip


def step(config, wrapper, rank, size, embed_weight, ema, unlabelled):
    """Names and values of the parameters after one step."""
    torch.manual_seed(0)
    channels = {name: config.input_shapes[name][1] for name in config.input_names}
    model, teacher_model = Mean(channels["pf_features"]), Mean(channels["teacher_pf_features"])
    if embed_weight:
        attach(model, 16)
    teacher = Teacher(teacher_model, ["pf_points", "pf_features", "pf_vectors", "pf_mask"], "a teacher", 1)
    if embed_weight:
        teacher.give_embedding()
    wrapped = model if wrapper == "none" else getattr(torch.nn.parallel, wrapper)(model)
    args = SimpleNamespace(regression_mode=False, use_amp=False, amp_dtype="", load_epoch=None, model_prefix="")
    loss = DistillationLoss(alpha=0.6, temperature=3.0, embed_weight=embed_weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train = train_fn(teacher, "a student", ema)
    for epoch in range(2 if ema else 1):
        loader = Loader(config, rank, size, unlabelled)
        train(wrapped, loss, optimizer, None, loader, torch.device("cpu"), epoch, extra_args={"args": args})
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


if __name__ == "__main__":
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    main(*sys.argv[1:])
