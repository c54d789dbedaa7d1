"""What `networks/finetune.py` hands to weaver: training on labels that starts from a pre-trained encoder."""

import dataclasses
from typing import ClassVar

from kd_trainer.checkpoints import read_weights
from kd_trainer.errors import InputError, one_line
from kd_trainer.pretrain.contrastive import CONTRAST
from kd_trainer.supervised import evaluate_fn, loss_of, train_fn
from kd_trainer.weaver_hooks import (
    HookOptions,
    evaluates,
    hook,
    init_opt_of,
    load_network,
    output_layer,
    seed_network,
    trains,
)


@dataclasses.dataclass(frozen=True)
class Options(HookOptions):
    """What `networks/finetune.py` understands; everything else goes to the encoder's network.

    Attributes
    ----------
    encoder : str
        Network file of the tagger.
    pretrained : str or None
        Checkpoint that it starts from; None for random weights.
    frozen : bool
        Whether the output layer alone is trained: a linear probe.
    """

    encoder: str
    pretrained: str | None = None
    frozen: bool = False

    PREFIXES: ClassVar = ("pretrained", "frozen")
    NETWORK: ClassVar = "encoder"

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.frozen, bool):
            raise InputError(f"frozen is {self.frozen!r}: it must be True or False")


@hook(Options)
def get_model(data_config, options, encoder_options):
    """The tagger, as its own network file builds it, with the encoder's weights."""
    module = load_network(options.encoder, "the encoder's ")
    seed_network(options.seed)
    model, model_info = module.get_model(data_config, **encoder_options)
    if options.pretrained is not None:
        take_over(model, options.pretrained)
    if options.frozen:
        freeze(model)
    return model, model_info


@hook(Options)
def get_loss(data_config, options, encoder_options):
    """The loss of the encoder's network file, else cross-entropy; one that is not a number stops the training."""
    return loss_of(load_network(options.encoder, "the encoder's "), data_config, encoder_options)


@hook(Options)
def get_train_fn(data_config, options, encoder_options):
    """The training function: weaver's own."""
    return trains(train_fn(lambda model: introduction(model, options)))


@hook(Options)
def get_evaluate_fn(data_config, options, encoder_options):
    """The evaluation function: weaver's own, with few figures for many classes."""
    return evaluates(evaluate_fn(data_config))


init_opt = init_opt_of(Options)


def take_over(model, path):
    """Give a tagger the weights of a checkpoint, but for the output layer; a projection in it is left out.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, or is of another network.
    """
    head, _ = output_layer(model)
    weights = read_weights(path, "the pre-trained weights")
    state = {k: v for k, v in weights.items() if not k.startswith((f"{head}.", f"{CONTRAST}."))}
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
