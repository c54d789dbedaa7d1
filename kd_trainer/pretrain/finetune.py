"""The hooks of `networks/finetune.py`: training on labels that starts from a pre-trained encoder."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn
from weaver.utils.dataset import DataConfig

from kd_trainer.errors import InputError
from kd_trainer.supervised import evaluate_fn, loss_of, train_fn
from kd_trainer.weaver_hooks import (
    HookOptions,
    evaluates,
    hook,
    init_opt_of,
    load_network,
    output_layer,
    seed_network,
    take_over,
    trains,
)


@dataclasses.dataclass(frozen=True)
class Options(HookOptions):
    """The options of `networks/finetune.py`; all others go to the encoder's network."""

    encoder: str  # network file of the tagger
    pretrained: str | None = None  # checkpoint to start from; None for random weights
    frozen: bool = False  # whether only the output layer is trained (linear probe)

    PREFIXES: ClassVar = ("pretrained", "frozen")
    NETWORK: ClassVar = "encoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.frozen, bool):
            raise InputError(f"frozen is {self.frozen!r}: it must be True or False")


@hook(Options)
def get_model(
    data_config: DataConfig, options: Options, encoder_options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The tagger, built by its own network file, with the weights of the encoder."""
    module = load_network(options.encoder, "the encoder's ")
    seed_network(options.seed)
    model, model_info = module.get_model(data_config, **encoder_options)
    if options.pretrained is not None:
        take_over(model, options.pretrained)
    if options.frozen:
        freeze(model)
    return model, model_info


@hook(Options)
def get_loss(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> nn.Module:
    """The loss of the encoder's network file, or else cross-entropy; a loss that is not finite stops the training."""
    return loss_of(load_network(options.encoder, "the encoder's "), data_config, encoder_options)


@hook(Options)
def get_train_fn(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> Callable[..., None]:
    """The training function: weaver's own."""
    return trains(train_fn(lambda model: introduction(model, options)))


@hook(Options)
def get_evaluate_fn(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> Callable[..., Any]:
    """The evaluation function: weaver's own, with fewer metrics for many classes."""
    return evaluates(evaluate_fn(data_config))


init_opt = init_opt_of(Options)


def freeze(model: nn.Module) -> None:
    """Freeze all layers but the output layer; the encoder stays in evaluation mode when weaver starts training mode."""
    _, head = output_layer(model)
    model.requires_grad_(False)
    head.requires_grad_(True)
    model.register_forward_pre_hook(_evaluate)


def _evaluate(model: nn.Module, inputs: Any) -> None:
    model.eval()  # switches off dropout and the updates of BatchNorm


def introduction(model: nn.Module, options: Options) -> str:
    """The line of the log that says which parameters are trained, and the starting weights."""
    free, total = (sum(p.numel() for p in model.parameters() if p.requires_grad or every) for every in (False, True))
    start = f"the weights {options.pretrained}" if options.pretrained else "random weights"
    return f"Training {free:,} of the {total:,} parameters of {options.encoder} on labels, from {start}"
