"""The hooks of `networks/supervised.py`: train any network file on labels."""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import nn
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger
from weaver.utils.nn import tools

from kd_trainer.classes import names_of
from kd_trainer.errors import InputError
from kd_trainer.evaluate.monitor import epoch_metrics
from kd_trainer.weaver_hooks import (
    HookOptions,
    Loader,
    evaluates,
    hook,
    init_opt_of,
    load_network,
    seed_network,
    trains,
)


@dataclasses.dataclass(frozen=True)
class Options(HookOptions):
    """The options of `networks/supervised.py`; all others go to the network."""

    network: str  # the network file


@hook(Options)
def get_model(
    data_config: DataConfig, options: Options, network_options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The network, built by its own file."""
    module = load_network(options.network)
    seed_network(options.seed)
    return module.get_model(data_config, **network_options)


@hook(Options)
def get_loss(data_config: DataConfig, options: Options, network_options: dict[str, Any]) -> nn.Module:
    """The loss of the network file, or else cross-entropy; a loss that is not finite stops the training."""
    return loss_of(load_network(options.network), data_config, network_options)


@hook(Options)
def get_train_fn(data_config: DataConfig, options: Options, network_options: dict[str, Any]) -> Callable[..., None]:
    """The training function of the network file, or else of weaver."""
    module = load_network(options.network)
    own = module.get_train_fn(data_config, **network_options) if hasattr(module, "get_train_fn") else None
    return trains(train_fn(lambda model: f"Training {options.network} on labels", own))


@hook(Options)
def get_evaluate_fn(data_config: DataConfig, options: Options, network_options: dict[str, Any]) -> Callable[..., Any]:
    """The evaluation function of the network file, or else of weaver, with fewer metrics for many classes."""
    own = getattr(load_network(options.network), "get_evaluate_fn", None)
    return evaluates(own(data_config, **network_options) if own else evaluate_fn(data_config))


init_opt = init_opt_of(Options, own=lambda options: getattr(load_network(options.network), "init_opt", None))


class FiniteLoss(nn.Module):
    """A loss that raises an error in training if it is not finite."""

    def __init__(self, loss: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *args: Any) -> torch.Tensor:
        loss = self.loss(*args)
        if torch.is_grad_enabled() and not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()}: training stopped; "
                "look for NaN in the inputs (python -m kd_trainer check) or lower --start-lr"
            )
        return loss


def loss_of(module: ModuleType, data_config: DataConfig, network_options: dict[str, Any]) -> FiniteLoss:
    """The loss of a network file; cross-entropy if the file has none."""
    own = module.get_loss(data_config, **network_options) if hasattr(module, "get_loss") else nn.CrossEntropyLoss()
    return FiniteLoss(own)


def train_fn(introduction: Callable[[nn.Module], str], own: Callable[..., None] | None = None) -> Callable[..., None]:
    """A function that writes a line to the log and trains an epoch, with `own` or weaver's training function."""
    begun: list[bool] = []

    def train(model: nn.Module, *args: Any, extra_args: dict[str, Any], **kwargs: Any) -> None:
        if not begun:
            _logger.info("%s", introduction(model), color="bold")
            begun.append(True)
        weavers = tools.train_regression if extra_args["args"].regression_mode else tools.train_classification
        (own or weavers)(model, *args, extra_args=extra_args, **kwargs)

    return train


def evaluate_fn(data_config: DataConfig) -> Callable[..., Any]:
    """Weaver's evaluation function; for many classes it measures a few rejections instead, see `monitor`."""
    names = names_of(data_config.labels) or data_config.label_value

    def evaluate(
        model: nn.Module, loader: Loader, dev: torch.device, epoch: int, for_training: bool = True, **kwargs: Any
    ) -> Any:
        if kwargs["extra_args"]["args"].regression_mode:
            return tools.evaluate_regression(model, loader, dev, epoch, for_training, **kwargs)
        metrics = epoch_metrics(names, for_training=for_training, epoch=epoch, tb_helper=kwargs.get("tb_helper"))
        return tools.evaluate_classification(model, loader, dev, epoch, for_training, **metrics, **kwargs)

    return evaluate
