"""Run an ONNX model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_trainer.deploy.model_dir import verify
from kd_trainer.errors import InputError, one_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(
    path: str | Path, threads: int | None = None, spin: bool = True, gpu: bool = False
) -> InferenceSession:
    """InferenceSession of a model file.

    Parameters
    ----------
    threads : int or None
        Threads per operator; None for all cores.
    spin : bool
        Whether idle threads use busy waiting, which is faster unless other programs need the cores.
    gpu : bool
        Whether to use a GPU if ONNX Runtime supports it; else it computes on the CPU.

    Raises
    ------
    InputError
        If onnxruntime is not installed, or if the file is missing, is not a model or has a wrong checksum.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError("onnxruntime is not installed; pip install 'weaver-kd[onnx]'") from None
    if not Path(path).is_file():
        raise InputError(f"there is no {path}: export the model first (./train_kd.sh convert)")
    verify(Path(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    providers = onnxruntime.get_available_providers() if gpu else ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime has its own classes, derived from Exception
        raise InputError(f"{path} cannot be loaded by ONNX Runtime: {one_line(error)}") from None


def fixed_batch(session: InferenceSession) -> int | None:
    """The batch size of a static model; None for a dynamic one."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else None


def run(session: InferenceSession, inputs: Mapping[str, np.ndarray], batch_size: int = 128) -> np.ndarray:
    """Output (N, K) of a model for inputs (N, C, P), in batches; the last batch of a static model is padded.

    Inputs that the model does not have are ignored: weaver's exporter drops inputs that the network does not use.
    """
    fixed = fixed_batch(session)
    size = fixed or batch_size
    used = {x.name: inputs[x.name] for x in session.get_inputs()}
    jets = len(next(iter(used.values())))
    outputs = []
    for start in range(0, jets, size):
        batch = {name: x[start : start + size] for name, x in used.items()}
        number = min(size, jets - start)
        if fixed and number < fixed:
            batch = {name: np.concatenate([x, np.zeros((fixed - number, *x.shape[1:]), x.dtype)])
                     for name, x in batch.items()}  # fmt: skip
        outputs.append(session.run(None, batch)[0][:number])
    if not outputs:
        return np.zeros((0, session.get_outputs()[0].shape[1]), "float32")
    return np.concatenate(outputs)
