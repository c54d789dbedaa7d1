"""Weights of a pre-training as the start of a training."""

from torch import nn

from kd_trainer.checkpoints import read_weights
from kd_trainer.errors import InputError, one_line, some
from kd_trainer.weaver_hooks.hook import output_layer

CONTRAST = "contrast"  # name of the projection in an encoder, and prefix of its weights in a checkpoint


def take_over(model: nn.Module, path: str) -> None:
    """Load the weights of a checkpoint into a tagger, except the output layer and a projection.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, or belongs to another network.
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
            raise InputError(
                f"the pre-trained weights {path} {what} {some(names, 3)}: they belong to another network, "
                "or to the same network with other options (-o)"
            )
