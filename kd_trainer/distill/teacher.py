"""A frozen teacher: a tagger built from its own network file and checkpoint, giving soft targets."""

import hashlib
from pathlib import Path

import torch
from weaver.utils.import_tools import import_module

from kd_trainer.configs import PREFIX
from kd_trainer.errors import InputError

CHUNK = 64  # jets that a CPU evaluates at a time


class Teacher:
    """A model in eval mode without gradients, fed from the teacher's input groups of a paired batch.

    Parameters
    ----------
    model : torch.nn.Module
    input_names : sequence of str
        Input groups in the order of `model.forward`, without prefix.
    description : str
        One line for the log.
    """

    def __init__(self, model, input_names, description):
        self.model = model.eval().requires_grad_(False)
        self.input_names = input_names
        self.description = description

    @torch.no_grad()
    def __call__(self, X, device):
        """Logits (N, K) in fp32 for a batch X of a paired loader, on `device`."""
        self.model.to(device)
        inputs = [X[PREFIX + name].to(device, non_blocking=True) for name in self.input_names]
        masks = [x for name, x in zip(self.input_names, inputs) if name.endswith("_mask")]
        if inputs[0].is_cuda or not masks:
            return self.model(*inputs).float()
        # taggers trim a batch to its longest jet: jets of like length together spare padding, of which pairs feel P^2
        order = sum(mask.sum(dim=(1, 2)) for mask in masks).argsort()
        logits = torch.cat([self.model(*(x[chunk] for x in inputs)) for chunk in order.split(CHUNK)])
        return logits[order.argsort()].float()


def load_teacher(network, weights, data_config, options):
    """Build the teacher of a distillation.

    Parameters
    ----------
    network, weights : str
        Network file and checkpoint (a state dict).
    data_config : DataConfig
        The teacher's own view, see `configs.teacher_view`.
    options : dict
        Options of the network.

    Raises
    ------
    InputError
        If a file is missing or unreadable, if the weights are of another architecture (naming the keys), or if
        the number of classes is not that of the data config.
    """
    if not Path(network).is_file():
        raise InputError(f"the teacher's network file {network} does not exist")
    state = read_weights(weights)
    with torch.random.fork_rng():  # a teacher must not change the student's random numbers
        model, model_info = import_module(str(network), "_teacher_module").get_model(data_config, **options)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problems = "; ".join(_shorten(line) for line in str(error).splitlines()[1:4])
        raise InputError(f"the weights {weights} do not fit the teacher {network}: {problems}") from None
    description = (
        f"{network} ({sum(p.numel() for p in model.parameters()):,} parameters), weights {weights} "
        f"(SHA-256 {hashlib.sha256(Path(weights).read_bytes()).hexdigest()}), inputs {describe_inputs(data_config)}"
    )
    teacher = Teacher(model, model_info["input_names"], description)
    _check_classes(teacher, data_config)
    return teacher


def read_weights(path):
    """The state dict in a checkpoint file; InputError if it is missing, truncated or something else."""
    if not Path(path).is_file():
        raise InputError(f"the teacher's weights {path} do not exist")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the teacher's weights {path} cannot be read (truncated?): {_shorten(reason)}") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"the teacher's weights {path} are not a state dict as weaver writes it")
    return state


def describe_inputs(data_config):
    """'pf_features 17 x 128: part_pt_log, ...' for a data config."""
    shapes = data_config.input_shapes
    names = ", ".join(data_config.input_dicts.get("pf_features", ()))
    return ", ".join(f"{k} {s[1]} x {s[2]}" for k, s in shapes.items()) + (f"; pf_features: {names}" if names else "")


def _check_classes(teacher, data_config):
    known = data_config.label_value if data_config.label_type == "simple" else data_config.labels.get("names")
    shapes = {k: (2, *data_config.input_shapes[k][1:]) for k in teacher.input_names}
    logits = teacher({PREFIX + k: torch.ones(shape) for k, shape in shapes.items()}, "cpu")
    if logits.ndim != 2 or (known and logits.shape[1] != len(known)):
        raise InputError(
            f"the teacher gives an output of shape {tuple(logits.shape)} for two jets, "
            f"the data config has {len(known or [])} classes"
        )


def _shorten(text, length=250):
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + " ..."
