"""What `networks/finetune.py` hands to weaver: training on labels that starts from a pre-trained encoder."""

import dataclasses
from pathlib import Path

import torch
from weaver.utils.import_tools import import_module
from weaver.utils.logger import _logger
from weaver.utils.nn.tools import train_classification

from kd_trainer import options as options_of
from kd_trainer import seeds
from kd_trainer.distill import loop
from kd_trainer.distill.collate import collate
from kd_trainer.distill.hooks import loud
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.errors import InputError
from kd_trainer.jet_files import one_line
from kd_trainer.pretrain.contrastive import CONTRAST, output_layer


@dataclasses.dataclass(frozen=True)
class Options:
    """What `networks/finetune.py` understands; everything else goes to the encoder's network.

    Attributes
    ----------
    encoder : str
        Network file of the tagger.
    pretrained : str or None
        Checkpoint that it starts from; None for random weights.
    frozen : bool
        Whether the output layer alone is trained: a linear probe.
    seed : int or None
        Of initialisation, shuffling and dropout.
    """

    encoder: str
    pretrained: str | None = None
    frozen: bool = False
    seed: int | None = None

    def __post_init__(self):
        if not isinstance(self.frozen, bool):
            raise InputError(f"frozen is {self.frozen!r}: it must be True or False")


def split(options):
    """Separate our options from those of the encoder's network: (Options, dict)."""
    own = dict(prefixes=("pretrained", "frozen"), required="encoder", example="networks/ParT.py")
    return options_of.split(options, Options, **own)


@loud
def get_model(data_config, **kwargs):
    """The tagger, as its own network file builds it, with the encoder's weights."""
    options, encoder_options = split(kwargs)
    if options.seed is not None:
        seeds.set_seed(options.seed)
    model, model_info = _module(options).get_model(data_config, **encoder_options)
    if options.pretrained is not None:
        take_over(model, options.pretrained)
    if options.frozen:
        freeze(model)
    return model, model_info


@loud
def get_loss(data_config, **kwargs):
    """The loss of the encoder's network file, else cross-entropy; one that is not a number stops the training."""
    options, encoder_options = split(kwargs)
    module = _module(options)
    own = module.get_loss(data_config, **encoder_options) if hasattr(module, "get_loss") else None
    return DistillationLoss(alpha=0.0, temperature=1.0, task_loss=own, needs_teacher=False)


@loud
def get_train_fn(data_config, **kwargs):
    """The training function: weaver's own, after a look at the files."""
    options, _ = split(kwargs)
    checked = []

    def train(model, loss_func, opt, scheduler, train_loader, dev, epoch, **kwargs):
        if not checked:
            loop.check_files(train_loader, "training")
            _logger.info(introduction(model, options), color="bold")
            seeds.go_on(kwargs["extra_args"]["args"].load_epoch)
            train_loader.collate_fn = collate
            checked.append(True)
        loss_func.start_epoch(epoch)
        train_classification(model, loss_func, opt, scheduler, train_loader, dev, epoch, **kwargs)

    return loud(train)


@loud
def get_evaluate_fn(data_config, **kwargs):
    """The evaluation function: weaver's own, after a look at the files, with few figures for many classes."""
    split(kwargs)
    return loud(loop.evaluate_fn(data_config.labels.get("names", data_config.label_value)))


def take_over(model, path):
    """Give a tagger the weights of a checkpoint, but for the output layer; a projection in it is left out.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, or is of another network.
    """
    head, _ = output_layer(model)
    state = {k: v for k, v in _read(path).items() if not k.startswith((f"{head}.", f"{CONTRAST}."))}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        problems = "; ".join(one_line(line) for line in str(error).splitlines()[1:3])
        raise InputError(f"the pre-trained weights {path} do not fit: {problems}") from None
    missing = [name for name in missing if not name.startswith(f"{head}.")]
    for names, what in ((missing, "lack"), (unexpected, "have, unlike the network,")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"the pre-trained weights {path} {what} {', '.join(names[:3])}{more}: they are of another network, "
                "or of the same with other options (-o)"
            )


def _read(path):
    if not Path(path).is_file():
        raise InputError(f"there are no pre-trained weights {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"the pre-trained weights {path} cannot be read (truncated?): {one_line(error)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"the pre-trained weights {path} are not a state dict as weaver writes it")
    return state


def freeze(model):
    """Leave nothing to be trained but the output layer; the encoder stays in evaluation mode, whatever weaver sets."""
    _, head = output_layer(model)
    model.requires_grad_(False)
    head.requires_grad_(True)
    model.register_forward_pre_hook(_evaluate)


def _evaluate(model, inputs):
    model.eval()  # dropout, and the running means of BatchNorm


def introduction(model, options):
    """The line of the log that says what is trained from where."""
    free, total = (sum(p.numel() for p in model.parameters() if p.requires_grad or every) for every in (False, True))
    start = f"the weights {options.pretrained}" if options.pretrained else "random weights"
    return f"Training {free:,} of the {total:,} parameters of {options.encoder} on labels, from {start}"


def _module(options):
    if not Path(options.encoder).is_file():
        raise InputError(f"the encoder's network file {options.encoder} does not exist")
    return import_module(options.encoder, "_encoder_module")
