"""The hooks of `networks/contrastive.py`."""

from collections.abc import Callable
from typing import Any

from torch import nn
from weaver.utils.dataset import DataConfig

from kd_trainer.augment.features import Inputs
from kd_trainer.augment.views import Views
from kd_trainer.errors import InputError
from kd_trainer.pretrain import loop
from kd_trainer.pretrain.contrastive import as_contrastive, nt_xent
from kd_trainer.pretrain.options import Options
from kd_trainer.supervised import FiniteLoss
from kd_trainer.weaver_hooks import evaluates, hook, init_opt_of, load_network, seed_network, trains


@hook(Options)
def get_model(
    data_config: DataConfig, options: Options, encoder_options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder, built by its own network file, with a projection in place of the output layer."""
    if "for_inference" in encoder_options:
        raise InputError("a pre-trained encoder has no output layer yet: fine-tune it, then export")
    network = load_network(options.encoder, "the encoder's ")
    seed_network(options.seed)
    # the network file needs at least two classes to build the output layer, which is then replaced
    model, model_info = network.get_model(data_config, **{"num_classes": 2, **encoder_options})
    return as_contrastive(model, projection=options.cl_projection, temperature=options.cl_temperature), model_info


@hook(Options)
def get_loss(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> nn.Module:
    """The NT-Xent loss."""
    return FiniteLoss(nt_xent)


@hook(Options)
def get_train_fn(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> Callable[..., None]:
    """The training function."""
    return trains(loop.train_fn(_views(data_config, options), options.encoder), loop.check, labelled=False)


@hook(Options)
def get_evaluate_fn(data_config: DataConfig, options: Options, encoder_options: dict[str, Any]) -> Callable[..., Any]:
    """The evaluation function."""
    return evaluates(loop.evaluate_fn(_views(data_config, options), options.cl_val_jets))


init_opt = init_opt_of(Options)


def _views(data_config: DataConfig, options: Options) -> Views:
    return Views(Inputs(data_config, options.aug_followers), options)
