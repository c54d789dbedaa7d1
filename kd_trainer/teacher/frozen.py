"""A frozen teacher: a tagger built from its own network file and checkpoint, giving soft targets."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from weaver.nn.model.ParticleTransformer import SequenceTrimmer

from kd_trainer.checkpoints import read_weights
from kd_trainer.classes import names_of
from kd_trainer.configs import PREFIX
from kd_trainer.digests import sha256
from kd_trainer.errors import InputError, one_line
from kd_trainer.teacher.batching import batches, shortest_length, trial_jets
from kd_trainer.teacher.folding import folded
from kd_trainer.teacher.soft_targets import SoftTargets
from kd_trainer.weaver_hooks import load_network, output_layer


class Teacher:
    """A model in eval mode without gradients, fed from the teacher's input groups of a paired batch.

    Jets are evaluated in batches of like multiplicity (see `batching`). On a CPU each core works on a batch of its
    own: cores that share the small operations of one batch mostly wait for each other.

    Parameters
    ----------
    model : torch.nn.Module
    input_names : sequence of str
        Input groups in the order of `model.forward`, without prefix.
    description : str
        One line for the log.
    shortest : int or None
        Length to which jets may be trimmed, see `batching.shortest_length`.

    Attributes
    ----------
    classes : int or None
        Number of logits, if known.
    bfloat16 : bool
        Whether matrix products are made in bfloat16, see `precision`.
    """

    def __init__(self, model, input_names, description, shortest=None):
        self.model = model.eval().requires_grad_(False)
        self.input_names = input_names
        self.description = description
        self.shortest = shortest
        self.classes = None
        self.bfloat16 = False
        self.embeds = False
        self.local = threading.local()
        self.pool = None
        for module in model.modules():
            if isinstance(module, SequenceTrimmer):  # to the longest jet, even if a graph network then lacks neighbours
                module.enabled = False

    def give_embedding(self):
        """Give the embedding, too, from now on."""
        layer = output_layer(self.model, "the teacher")[1]
        layer.register_forward_hook(_append_inputs)
        self.embeds, self.classes = True, layer.out_features

    @torch.no_grad()
    def __call__(self, X, device) -> SoftTargets:
        """Soft targets in fp32 for a batch X of a paired loader, on `device`."""
        inputs = {name: X[PREFIX + name].to(device, non_blocking=True) for name in self.input_names}
        order, cut = batches(inputs, self.shortest)
        cores = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
        if len(cut) > 1 and cores > 1:
            outputs = self._on_cores(cut)
        else:
            self.model.to(device)
            outputs = [self._evaluate(self.model, batch) for batch in cut]
        output = torch.cat(outputs)[order.argsort()].float()
        return SoftTargets(*output.tensor_split([self.classes], dim=1)) if self.embeds else SoftTargets(output)

    def _on_cores(self, cut):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.pool = self.pool or ThreadPoolExecutor(threads)
            return list(self.pool.map(self._alone, cut))
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def _alone(self, batch):
        """In a thread: a copy of the model for each, since nothing keeps a model from leaving things in itself."""
        if not hasattr(self.local, "model"):
            self.local.model = copy.deepcopy(self.model)
        return self._evaluate(self.local.model, batch)

    def _evaluate(self, model, batch):
        with torch.autocast(next(iter(batch.values())).device.type, torch.bfloat16, enabled=self.bfloat16):
            return model(*batch.values())


def _append_inputs(layer, inputs, logits):
    """A network then gives (N, K + D): its logits, and what its output layer sees."""
    return torch.cat([logits, inputs[0]], dim=1)


def load_teacher(network, weights, data_config, options, embedding=False):
    """Build the teacher of a distillation.

    Parameters
    ----------
    network, weights : str
        Network file and checkpoint (a state dict).
    data_config : DataConfig
        The teacher's own view, see `configs.teacher_view`.
    options : dict
        Options of the network.
    embedding : bool
        Whether its embedding is wanted, too.

    Raises
    ------
    InputError
        If a file is missing or unreadable, if the weights are of another architecture (naming the keys), or if
        the number of classes is not that of the data config.
    """
    model, model_info = build_teacher(network, data_config, options)
    state = read_weights(weights, "the teacher's weights")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problems = "; ".join(one_line(line) for line in str(error).splitlines()[1:4])
        raise InputError(f"the weights {weights} do not fit the teacher {network}: {problems}") from None
    description = (
        f"{network} ({sum(p.numel() for p in model.parameters()):,} parameters), weights {weights} "
        f"(SHA-256 {sha256(weights)}), inputs {describe_inputs(data_config)}"
    )
    names = model_info["input_names"]
    teacher = Teacher(model, names, description)
    teacher.classes = _check_classes(teacher, data_config)
    if embedding:
        teacher.give_embedding()
    inputs = trial_jets({name: data_config.input_shapes[name] for name in names})
    teacher.model = folded(model, list(inputs.values()))
    teacher.shortest = shortest_length(teacher.model, inputs)
    if teacher.shortest is None:
        teacher.description += "; its padding is evaluated too, since its output depends on it or it has no mask"
    return teacher


def build_teacher(network, data_config, options):
    """The teacher's network without its weights, as its network file builds it: (model, model_info)."""
    module = load_network(network, "the teacher's ")
    with torch.random.fork_rng():  # a teacher must not change the student's random numbers
        return module.get_model(data_config, **options)


def describe_inputs(data_config):
    """'pf_features 17 x 128: part_pt_log, ...' for a data config."""
    shapes = data_config.input_shapes
    names = ", ".join(data_config.input_dicts.get("pf_features", ()))
    return ", ".join(f"{k} {s[1]} x {s[2]}" for k, s in shapes.items()) + (f"; pf_features: {names}" if names else "")


def _check_classes(teacher, data_config):
    """The number of classes."""
    known = names_of(data_config.labels)
    shapes = {k: (2, *data_config.input_shapes[k][1:]) for k in teacher.input_names}
    logits = teacher({PREFIX + k: torch.ones(shape) for k, shape in shapes.items()}, "cpu").logits
    if logits.ndim != 2 or (known and logits.shape[1] != len(known)):
        raise InputError(
            f"the teacher gives an output of shape {tuple(logits.shape)} for two jets, "
            f"the data config has {len(known)} classes"
        )
    return logits.shape[1]
