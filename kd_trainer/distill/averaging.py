"""Exponential moving average of the student's weights, for validation and checkpoints; training uses the raw weights.

After each step of the optimiser: average = d average + (1 - d) weights, with d = min(decay, (1 + n) / (10 + n)) after n
steps, so the average soon forgets the first weights. After n steps it covers about the last n/9 steps, until d reaches
the decay. Statistics of batch norms are averaged too; integer buffers are those of the last step.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from weaver.utils.logger import _logger
from weaver.utils.nn.tools import unwrap_model

from kd_trainer.weaver_hooks import training_of

NAME = "raw weights"  # name in the saved state of a training


class View(Protocol):
    """A loader as weaver's loop uses it."""

    dataset: Any

    def __iter__(self) -> Iterator[Any]: ...


class Averaging:
    """Raw and averaged weights of a network: the network holds one of them, this object the other.

    Parameters
    ----------
    model : nn.Module
        As wrapped by weaver, with its raw weights.
    decay : float
        At least 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = unwrap_model(model)
        self.other = AveragedModel(self.model, multi_avg_fn=_with_warm_up(decay), use_buffers=True)
        self.is_average = False  # whether the network holds the average; `other` holds the other weights

    def start_epoch(self) -> None:
        """Put the raw weights into the network."""
        if self.is_average:
            self._swap()

    def follow(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches of an epoch; when weaver asks for the next one, it has finished the step of the last."""
        for number, batch in enumerate(batches):
            if number > 0:
                self.other.update_parameters(self.model)
            yield batch

    def end_epoch(self) -> None:
        """After the last step: put the average into the network."""
        self.other.update_parameters(self.model)
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for mine, others in zip(_tensors(self.model), _tensors(self.other.module), strict=True):
            kept = mine.clone()
            mine.copy_(others)
            others.copy_(kept)
        self.is_average = not self.is_average

    def state_dict(self) -> dict[str, Any]:
        """Between two epochs: the raw weights and the number of steps; the average is saved with the network."""
        return {"raw": [tensor.detach() for tensor in _tensors(self.other.module)],
                "steps": int(self.other.n_averaged)}  # fmt: skip

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the raw weights; the network already holds the average."""
        for tensor, raw in zip(_tensors(self.other.module), state["raw"], strict=True):
            tensor.copy_(raw)
        self.other.n_averaged.fill_(state["steps"])
        self.is_average = True


def averaging(train: Callable[..., None], decay: float) -> Callable[..., None]:
    """Wrap a function that trains an epoch, such as weaver's, so that it ends with the averaged weights in the network.

    The raw weights are saved with the state of the training, but not in a checkpoint. With --load-epoch both raw and
    averaged weights start from the checkpoint.
    """
    begun: list[Averaging] = []

    def train_averaged(
        model: nn.Module, loss_func: Any, opt: Any, scheduler: Any, view: View, dev: Any, epoch: int, **kwargs: Any
    ) -> None:
        if not begun:
            begun.append(_begin(model, decay, epoch, kwargs["extra_args"]))
        (average,) = begun
        average.start_epoch()
        train(model, loss_func, opt, scheduler, _Followed(view, average), dev, epoch, **kwargs)
        average.end_epoch()

    return train_averaged


class _Followed(SimpleNamespace):
    """A view of a loader whose batches an `Averaging` follows."""

    def __init__(self, view: View, average: Averaging) -> None:
        super().__init__(dataset=view.dataset, view=view, average=average)

    def __iter__(self) -> Iterator[Any]:
        return self.average.follow(self.view)


def _begin(model: nn.Module, decay: float, epoch: int, extra_args: dict[str, Any]) -> Averaging:
    average = Averaging(model, decay)
    training = training_of(extra_args)
    if training is not None:
        training.keep(NAME, average)
    if epoch > 0 and not average.is_average:
        _logger.warning(
            "The raw weights of epoch %d are not known: training continues from its checkpoint (averaged weights if "
            "that training used kd_ema) and starts a new average", epoch - 1,
        )  # fmt: skip
    return average


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers, including those that a student leaves out of its state dict."""
    return itertools.chain(model.parameters(), model.buffers())


def _with_warm_up(decay: float) -> Callable[[Any, Any, torch.Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Any, weights: Any, steps: torch.Tensor | int) -> None:
        """Update averages of one data type on one device."""
        n = int(steps)
        if averages[0].is_floating_point():
            get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, steps)
        else:
            torch._foreach_copy_(averages, weights)

    return update
