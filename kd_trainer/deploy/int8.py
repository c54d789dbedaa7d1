"""Static quantisation to 8 bits with ONNX Runtime."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from kd_trainer.deploy.inputs import Inputs

# These operators take most of the time. Sums over particles, normalisations and softmax stay in single precision.
LINEAR = ("Conv", "Gemm", "MatMul")


class Batches(CalibrationDataReader):
    """Batches of the inputs (N, C, P) that the model has."""

    def __init__(self, inputs: Inputs, names: Sequence[str], size: int = 256) -> None:
        jets = len(next(iter(inputs.values())))
        self.batches = iter([{k: inputs[k][i : i + size] for k in names} for i in range(0, jets, size)])

    def get_next(self) -> Inputs | None:
        return next(self.batches, None)


def quantise(source: Path, target: Path, inputs: Inputs, names: Sequence[str]) -> None:
    """Write a model whose linear operators work with 8 bits; the ranges of activations are measured with jets.

    Weights are signed with one scale per channel. They use 7 of their 8 bits, because processors without VNNI add two
    products in 16 bits, which can overflow with 8-bit weights.

    Parameters
    ----------
    source, target : paths of the models.
    inputs : dict of inputs (N, C, P), for calibration.
    names : inputs that the model has.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "model.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), Batches(inputs, names), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=list(LINEAR),
        )  # fmt: skip


def quantised_operators(path: Path) -> dict[str, Any]:
    """{type: {"quantised": number, "all": number}} of the operators of a model, without conversions."""
    graph = onnx.load(path).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    total = Counter(node.op_type for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear"))
    low = Counter(node.op_type for node in graph.node if node.op_type in LINEAR and node.input[0] in dequantised)
    return {kind: {"quantised": low[kind], "all": number} for kind, number in sorted(total.items())}
