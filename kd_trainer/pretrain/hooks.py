"""What `networks/contrastive.py` hands to weaver."""

from pathlib import Path

from weaver.utils.import_tools import import_module

from kd_trainer.distill.hooks import loud
from kd_trainer.errors import InputError
from kd_trainer.pretrain import loop
from kd_trainer.pretrain.contrastive import NTXent, as_contrastive
from kd_trainer.pretrain.features import Inputs
from kd_trainer.pretrain.options import split
from kd_trainer.pretrain.views import Views
from kd_trainer.seeds import set_seed


@loud
def get_model(data_config, **kwargs):
    """The encoder, as its own network file builds it, without its output layer and with a projection."""
    if "for_inference" in kwargs:
        raise InputError("a pre-trained encoder has no output layer yet: fine-tune it, then export")
    options, encoder_options = split(kwargs)
    if options.seed is not None:
        set_seed(options.seed)
    if not Path(options.encoder).is_file():
        raise InputError(f"the encoder's network file {options.encoder} does not exist")
    network = import_module(options.encoder, "_encoder_module")
    # the output layer is made for as many classes as it takes to make one, then replaced
    model, model_info = network.get_model(data_config, **{"num_classes": 2, **encoder_options})
    return as_contrastive(model, projection=options.cl_projection, temperature=options.cl_temperature), model_info


@loud
def get_loss(data_config, **kwargs):
    """NT-Xent."""
    return NTXent()


@loud
def get_train_fn(data_config, **kwargs):
    """The training function."""
    options, _ = split(kwargs)
    return loud(loop.train_fn(_views(data_config, options), options.encoder))


@loud
def get_evaluate_fn(data_config, **kwargs):
    """The evaluation function."""
    options, _ = split(kwargs)
    return loud(loop.evaluate_fn(_views(data_config, options), options.cl_val_jets))


def _views(data_config, options):
    return Views(Inputs(data_config, options.aug_followers), options)
