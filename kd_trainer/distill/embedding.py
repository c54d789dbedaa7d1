"""Matching of embeddings, the inputs of the output layers of student and teacher.

A learned linear projection maps the student's embedding to the teacher's width (as in FitNets, Romero et al.,
arXiv 1412.6550, sec. 2.2). It is trained with the student, but it is not part of the checkpoint.
"""

from typing import Any

import torch
from torch import nn

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import output_layer

NAME = "kd_matching"


class Matching(nn.Module):
    """The student's embedding, the input of its output layer, projected to the width D of the teacher's embedding."""

    def __init__(self, layer: nn.Linear, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(layer.in_features, width)
        self.seen: torch.Tensor | None = None
        layer.register_forward_pre_hook(self._see)

    def _see(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if self.training:
            (self.seen,) = inputs

    def take(self) -> torch.Tensor:
        """The projected embedding (N, D) of the student's last batch; each batch can be taken once."""
        seen, self.seen = self.seen, None
        if seen is None:
            raise RuntimeError("the student has processed no batch since its embedding was taken")
        return self.projection(seen.float())


def attach(student: nn.Module, width: int) -> None:
    """Add a `Matching` to a student: its parameters are trained, but they are not in the student's state dict."""
    _, layer = output_layer(student, "the student")
    setattr(student, NAME, Matching(layer, width))
    student.register_state_dict_post_hook(_leave_out)
    student.register_load_state_dict_pre_hook(_do_not_miss)


def _leave_out(model: nn.Module, state: Any, prefix: str, metadata: Any) -> None:
    for names in (state, state._metadata):
        for name in [name for name in names if name.startswith(prefix + NAME)]:
            del names[name]


def _do_not_miss(model: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    state.update({f"{prefix}{NAME}.{part}": value for part, value in getattr(model, NAME).state_dict().items()})


def matching_of(model: nn.Module) -> Matching | None:
    """The `Matching` of a student, which weaver may have wrapped; None if there is none.

    Raises
    ------
    InputError
        If the model is in a DataParallel, where replicas would overwrite each other's embeddings.
    """
    found = [module for module in model.modules() if isinstance(module, Matching)]
    if found and any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise InputError("kd_embed_weight does not work with --gpus 0,1 in one process: use torchrun and --backend")
    return found[0] if found else None


def student_parameters(model: nn.Module) -> int:
    """Number of the student's parameters, without the projection of a `Matching`."""
    matching = matching_of(model)
    extra = sum(p.numel() for p in matching.parameters()) if matching else 0
    return sum(p.numel() for p in model.parameters()) - extra
