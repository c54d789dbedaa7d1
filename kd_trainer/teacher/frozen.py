"""A frozen teacher: a tagger, built from its own network file and checkpoint, that computes soft targets."""

import copy
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from weaver.nn.model.ParticleTransformer import SequenceTrimmer
from weaver.utils.dataset import DataConfig

from kd_trainer.checkpoints import read_weights
from kd_trainer.classes import names_of
from kd_trainer.configs import PREFIX
from kd_trainer.digests import sha256
from kd_trainer.errors import InputError, one_line
from kd_trainer.teacher.batching import batches, shortest_length, trial_jets
from kd_trainer.teacher.folding import folded
from kd_trainer.teacher.soft_targets import Inputs, SoftTargets
from kd_trainer.weaver_hooks import load_network, output_layer


class Teacher:
    """A model in eval mode without gradients, which reads the teacher's input groups of a paired batch.

    Jets are evaluated in batches of similar multiplicity (see `batching`). On a CPU each core evaluates its own batch,
    because cores that share the small operations of one batch mostly wait for each other.

    Parameters
    ----------
    model : torch.nn.Module
    input_names : sequence of str
        Names of the input groups without prefix, in the order of `model.forward`.
    description : str
        One line for the log.
    shortest : int or None
        Smallest length after trimming, see `batching.shortest_length`.

    Attributes
    ----------
    classes : int or None
        Number of logits, if known.
    bfloat16 : bool
        Whether matrix products are computed in bfloat16, see `precision`.
    """

    def __init__(
        self, model: nn.Module, input_names: Sequence[str], description: str, shortest: int | None = None
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.input_names = input_names
        self.description = description
        self.shortest = shortest
        self.classes: int | None = None
        self.bfloat16 = False
        self.before_embedding: int | None = None  # number of logits before the embedding in the output
        self.local = threading.local()
        self.pool: ThreadPoolExecutor | None = None
        for module in model.modules():
            if isinstance(module, SequenceTrimmer):  # it trims even if a graph network then lacks neighbours
                module.enabled = False

    def give_embedding(self) -> None:
        """Return the embedding too, from now on."""
        layer = output_layer(self.model, "the teacher")[1]
        layer.register_forward_hook(_append_inputs)
        self.before_embedding = self.classes = layer.out_features

    @torch.no_grad()
    def __call__(self, X: Inputs, device: torch.device | str) -> SoftTargets:
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
        if self.before_embedding is None:
            return SoftTargets(output)
        return SoftTargets(*output.tensor_split([self.before_embedding], dim=1))

    def _on_cores(self, cut: Sequence[Inputs]) -> list[torch.Tensor]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.pool = self.pool or ThreadPoolExecutor(threads)
            return list(self.pool.map(self._alone, cut))
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def _alone(self, batch: Inputs) -> torch.Tensor:
        """Evaluate a batch in a thread; each thread has its own copy of the model, since a model may have state."""
        if not hasattr(self.local, "model"):
            self.local.model = copy.deepcopy(self.model)
        return self._evaluate(self.local.model, batch)

    def _evaluate(self, model: nn.Module, batch: Inputs) -> torch.Tensor:
        with torch.autocast(next(iter(batch.values())).device.type, torch.bfloat16, enabled=self.bfloat16):
            return model(*batch.values())


def _append_inputs(layer: nn.Module, inputs: tuple[torch.Tensor, ...], logits: torch.Tensor) -> torch.Tensor:
    """Forward hook that extends the output of a network to (N, K + D): its logits and the input of its output layer."""
    return torch.cat([logits, inputs[0]], dim=1)


def load_teacher(
    network: str, weights: str, data_config: DataConfig, options: Mapping[str, Any], embedding: bool = False
) -> Teacher:
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
        Whether the embedding is needed too.

    Raises
    ------
    InputError
        If a file is missing or unreadable, if the weights belong to another architecture (the message names the keys),
        or if the number of classes differs from the data config.
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
        teacher.description += "; padded slots are evaluated too: the output depends on them or there is no mask"
    return teacher


def build_teacher(
    network: str, data_config: DataConfig, options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The teacher's network without its weights, built by its network file: (model, model_info)."""
    module = load_network(network, "the teacher's ")
    with torch.random.fork_rng():  # a teacher must not change the student's random numbers
        return module.get_model(data_config, **options)


def describe_inputs(data_config: DataConfig) -> str:
    """'pf_features 17 x 128: part_pt_log, ...' for a data config."""
    shapes = data_config.input_shapes
    names = ", ".join(data_config.input_dicts.get("pf_features", ()))
    return ", ".join(f"{k} {s[1]} x {s[2]}" for k, s in shapes.items()) + (f"; pf_features: {names}" if names else "")


def _check_classes(teacher: Teacher, data_config: DataConfig) -> int:
    """The number of classes; InputError if it differs from the data config."""
    known = names_of(data_config.labels)
    shapes = {k: (2, *data_config.input_shapes[k][1:]) for k in teacher.input_names}
    logits = teacher({PREFIX + k: torch.ones(shape) for k, shape in shapes.items()}, "cpu").logits
    if logits.ndim != 2 or (known and logits.shape[1] != len(known)):
        raise InputError(
            f"the teacher gives an output of shape {tuple(logits.shape)} for two jets, "
            f"the data config has {len(known)} classes"
        )
    return logits.shape[1]
