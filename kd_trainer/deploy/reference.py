"""The torch network from which a model was converted, as recorded in deploy.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weaver.utils.dataset import DataConfig

from kd_trainer.checkpoints import read_weights
from kd_trainer.deploy.model_dir import SOURCE
from kd_trainer.digests import sha256
from kd_trainer.errors import InputError, one_line
from kd_trainer.evaluate.complexity import load_network


def describe(network: str | Path, options: dict[str, Any], weights: str | Path) -> dict[str, Any]:
    """Content of deploy.json: network file, options and weights."""
    if not Path(weights).is_file():
        raise InputError(f"--weights {weights} is not there")
    return {"network": str(network), "options": options, "weights": str(weights), "weights_sha256": sha256(weights)}


def load(source: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The torch model in eval mode, with scores as output, and its model_info.

    It is made of a source, see `describe`, and the options of the student's data config.

    Raises
    ------
    InputError
        If the source is not known or has changed, or if the weights do not fit.
    """
    if not source:
        raise InputError(f"there is no {SOURCE} that names network and weights: python -m kd_trainer deploy writes it")
    found = describe(source["network"], source["options"], source["weights"])
    if found["weights_sha256"] != source["weights_sha256"]:
        raise InputError(f"{source['weights']} has changed since the model was exported: export it again")
    config = DataConfig(print_info=False, **options)
    model, info = load_network(source["network"], config, {**source["options"], "for_inference": True})
    state = read_weights(source["weights"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # another architecture
        fault = one_line(error)
        raise InputError(f"the weights {source['weights']} do not fit {source['network']}: {fault}") from None
    return model.eval().requires_grad_(False), info


def outputs(
    model: torch.nn.Module, info: Mapping[str, Any], inputs: Mapping[str, np.ndarray], batch_size: int = 128
) -> np.ndarray:
    """Outputs (N, K) of the torch model for numpy inputs (N, C, P), in the precision of the model."""
    dtype = next(model.parameters()).dtype
    arrays = [torch.from_numpy(inputs[name]).to(dtype) for name in info["input_names"]]
    parts = [model(*(x[i : i + batch_size] for x in arrays)) for i in range(0, len(arrays[0]), batch_size)]
    return torch.cat(parts).numpy()
