"""Pre-training inside weaver's own training loop. Only the loader is wrapped; the loop does not change.

weaver's loader --X, y--> TwoViews: two augmented views of X, their partners --> weaver's train_classification
"""

import contextlib
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from weaver.utils.logger import _logger
from weaver.utils.nn.tools import evaluate_classification, train_classification

from kd_trainer.augment.views import Views
from kd_trainer.errors import InputError
from kd_trainer.pretrain.contrastive import first_row, partners
from kd_trainer.weaver_hooks import Loader

Batch = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]  # X, y, Z

LABEL = "partner"
VALIDATION_SEED = 2108


class TwoViews:
    """A weaver loader that gives two views of each jet, and the index of each view's partner as label.

    Parameters
    ----------
    loader : DataLoader
        Its labels are not used.
    first : bool
        Whether the loader has not given a batch yet; the first batch is checked for repeated jets.
    """

    def __init__(self, loader: Loader, views: Views, device: torch.device, *, first: bool = False) -> None:
        self.loader = loader
        self.views = views
        self.device = device
        self.first = first
        self.dataset = SimpleNamespace(
            config=SimpleNamespace(input_names=loader.dataset.config.input_names, label_names=(LABEL,))
        )

    def _inputs(self) -> Iterator[dict[str, torch.Tensor]]:
        for X, _, _ in self.loader:
            X = {name: values.to(self.device, non_blocking=True) for name, values in X.items()}
            if len(X["pf_mask"]) < 2:
                raise InputError("a batch of one jet has no other jets for comparison: give a larger --batch-size")
            yield X

    def __iter__(self) -> Iterator[Batch]:
        for index, X in enumerate(self._inputs()):
            jets = len(X["pf_mask"])
            if self.first and index == 0:
                check_repetitions(X)
            yield join(self.views(X)), {LABEL: partners(jets, first=first_row(2 * jets), device=self.device)}, {}


class FixedViews(TwoViews):
    """The views of the validation: the same in every epoch, with a fixed number of candidates.

    Weaver stores all scores of a validation in one array, so their number must be the same for all views, and small.

    Parameters
    ----------
    jets : int
        Number of jets among which a view must find its partner.
    batches : int or None
        Number of batches in an epoch, for an endless loader; 0 means one batch, as in weaver.
    """

    def __init__(
        self, loader: Loader, views: Views, device: torch.device, *, jets: int, batches: int | None = None
    ) -> None:
        super().__init__(loader, views, device)
        self.jets = jets
        self.batches = batches if batches is None else max(1, batches)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator(self.device).manual_seed(VALIDATION_SEED)
        for X in itertools.islice(self._inputs(), self.batches):
            jets = min(self.jets, len(X["pf_mask"]))
            first, second = self.views(X, generator=generator)
            for start in range(0, len(X["pf_mask"]) - jets + 1, jets):
                part = slice(start, start + jets)
                pair = [{name: values[part] for name, values in view.items()} for view in (first, second)]
                yield join(pair), {LABEL: partners(jets, device=self.device)}, {}


def check_repetitions(X: dict[str, torch.Tensor]) -> None:
    """Raise InputError if a quarter or more of the jets in a batch are repetitions: weaver's loader starts again."""
    vectors = X["pf_vectors"].flatten(1)
    if 4 * (len(vectors) - len(torch.unique(vectors, dim=0))) >= len(vectors):
        raise InputError(
            "the sample has fewer jets than a batch, so jets would be contrasted with themselves: "
            "give a smaller --batch-size or a larger sample; for files of few jets also give --fetch-step 1"
        )


def join(views: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Concatenate two views (N, C, P) to one batch (2N, C, P)."""
    return {name: torch.cat([view[name] for view in views]) for name in views[0]}


def check(train_loader: Loader, extra_args: dict[str, Any]) -> None:
    """Raise InputError for settings that contrastive learning does not support."""
    if extra_args["args"].regression_mode:
        raise InputError("contrastive pre-training is a classification: run weaver without --regression-mode")


def train_fn(views: Views, encoder_name: str) -> Callable[..., None]:
    """The function that trains an epoch: weaver's own, with two views of each jet."""
    begun: list[bool] = []

    def train(model: nn.Module, *args: Any, **kwargs: Any) -> None:
        *weavers, loader, dev, epoch = args  # `weavers`: loss, optimiser, scheduler
        first = not begun
        if first:
            total = sum(p.numel() for p in model.parameters())
            _logger.info(
                "Pre-training %s (%s parameters with its projection) without labels; augmentations: %s",
                encoder_name, f"{total:,}", views.options.describe() or "none", color="bold",
            )  # fmt: skip
            begun.append(True)
        view = TwoViews(loader, views, dev, first=first)
        with without_class_counts():
            train_classification(model, *weavers, view, dev, epoch, **kwargs)

    return train


def evaluate_fn(views: Views, jets: int) -> Callable[..., float]:
    """The evaluation function for weaver: contrastive accuracy and loss on fixed views.

    It returns exp(-loss), the geometric mean of the probability that a view gives to its partner. Weaver chooses the
    best epoch by this number, because the accuracy is close to 1 long before the end of a training.
    """

    def evaluate(
        model: nn.Module, test_loader: Loader, dev: torch.device, epoch: int, for_training: bool = True, **kwargs: Any
    ) -> float:
        if not for_training:
            raise InputError("a pre-trained encoder has no output layer yet: fine-tune it, then predict")
        loader = FixedViews(test_loader, views, dev, jets=jets, batches=kwargs.pop("steps_per_epoch", None))
        loss_func, losses = kwargs.pop("loss_func"), []

        def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            losses.append(loss_func(logits, labels))
            return losses[-1]

        with without_class_counts():
            evaluate_classification(
                model, loader, dev, epoch, for_training, loss_func=loss_of, eval_metrics=[], **kwargs
            )
        return math.exp(-torch.stack(losses).mean().item())

    return evaluate


@contextlib.contextmanager
def without_class_counts() -> Iterator[None]:
    """Remove weaver's list of jets per class from the log, because here every index in the batch is a class."""

    def keep(record: logging.LogRecord) -> bool:
        return "class distribution" not in str(record.msg)

    _logger.logger.addFilter(keep)
    try:
        yield
    finally:
        _logger.logger.removeFilter(keep)
