"""Functions that score a batch with one network in several inference engines and precisions, for timing."""

import importlib.util
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from kd_trainer.deploy import reference
from kd_trainer.deploy.inputs import Inputs
from kd_trainer.deploy.model_dir import INT8, MODEL, Exported, check_model
from kd_trainer.deploy.session import open_session
from kd_trainer.errors import InputError

ENGINES = ("torch", "onnxruntime", "openvino")
EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}  # of setup.cfg, for engines that may be missing
PRECISIONS = ("fp32", "bf16", "int8")
Side = Callable[[Inputs], np.ndarray]


def is_installed(engine: str) -> bool:
    """Whether an engine can be used here."""
    return importlib.util.find_spec(engine) is not None


def sides(
    exported: Exported, path: Path, engines: Collection[str], precisions: Collection[str], threads: int
) -> dict[tuple[str, str], Side]:
    """{(engine, precision): function of inputs (N, C, P) that returns the output (N, K)}, for all that are possible.

    Parameters
    ----------
    path : model file; its INT8 variant, made by `quantise`, is in the same folder
    engines, precisions : to prepare
    """
    makers = {  # each returns None if the processor does not support the precision
        ("torch", "fp32"): lambda: torch_side(exported, threads),
        ("torch", "bf16"): lambda: torch_side(exported, threads, bf16=True),
        ("onnxruntime", "fp32"): lambda: onnxruntime_side(exported, path, threads),
        ("onnxruntime", "int8"): lambda: onnxruntime_side(exported, path.with_name(INT8), threads),
        ("openvino", "fp32"): lambda: openvino_side(path, threads, "f32"),
        ("openvino", "bf16"): lambda: openvino_side(path, threads, "bf16"),
        ("openvino", "int8"): lambda: openvino_side(path.with_name(INT8), threads, "f32"),
    }
    has_int8 = path.name == MODEL and path.with_name(INT8).is_file()
    made = {
        (engine, precision): make()
        for (engine, precision), make in makers.items()
        if engine in engines and precision in precisions and (precision != "int8" or has_int8)
    }
    return {key: run for key, run in made.items() if run}


def torch_side(exported: Exported, threads: int, bf16: bool = False) -> Side:
    """Function that runs the network in torch, with autocast for bf16."""
    import torch

    model, info = reference.load(exported.source, exported.options)

    def run(inputs: Inputs) -> np.ndarray:
        torch.set_num_threads(threads)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model(*(torch.from_numpy(inputs[name]) for name in info["input_names"])).float().numpy()

    return run


def onnxruntime_side(exported: Exported, path: Path, threads: int) -> Side:
    """Function that runs a model file in ONNX Runtime; its threads sleep between calls, to not slow down the others."""
    session = open_session(path, threads, spin=False)
    check_model(session, path, exported)
    names = [x.name for x in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})[0]


def openvino_side(path: Path, threads: int, precision: str) -> Side | None:
    """Function that runs a model file in OpenVINO on the CPU; None if the processor does not support the precision."""
    import openvino

    try:
        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    except RuntimeError as error:
        raise InputError(f"{path} cannot be loaded by OpenVINO: {str(error).splitlines()[-1]}") from None
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if precision == "bf16" and used != "bf16":
        return None
    request = compiled.create_infer_request()
    names = [x.get_any_name() for x in compiled.inputs]

    def run(inputs: Inputs) -> np.ndarray:
        request.infer({name: inputs[name] for name in names}, share_inputs=True)
        return np.array(request.get_output_tensor(0).data)

    return run
