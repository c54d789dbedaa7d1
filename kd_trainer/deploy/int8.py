"""Static quantisation to 8 bits with ONNX Runtime."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from kd_trainer.deploy.inputs import Inputs

# Where the time goes; sums over particles, normalisations and softmax stay in single precision.
LINEAR = ("Conv", "Gemm", "MatMul")


class Batches(CalibrationDataReader):
    """Inputs (N, C, P) in batches, those that the model has."""

    def __init__(self, inputs: Inputs, names: Sequence[str], size: int = 256) -> None:
        jets = len(next(iter(inputs.values())))
        self.batches = iter([{k: inputs[k][i : i + size] for k in names} for i in range(0, jets, size)])

    def get_next(self) -> Inputs | None:
        return next(self.batches, None)


def quantise(source: Path, target: Path, inputs: Inputs, names: Sequence[str], weight_bits: int = 7) -> None:
    """Write a model whose linear operators work with 8 bits; ranges of activations from jets.

    Weights are signed, one scale a channel, and use 7 of their 8 bits: processors without VNNI add products in 16 bits,
    where the sum of two full ones does not fit. With fewer bits they take fewer values; the file stays that of 8.

    Parameters
    ----------
    source, target : paths of the models.
    inputs : dict of inputs (N, C, P), for calibration.
    names : inputs that the model has.
    weight_bits : int
        2 to 7.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "model.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), Batches(inputs, names), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=list(LINEAR),
            extra_options={"TensorQuantOverrides": weight_scales(onnx.load(prepared).graph, weight_bits)},
        )  # fmt: skip


def weight_scales(graph: onnx.GraphProto, bits: int) -> dict[str, Any]:
    """Of each weight its scales: {name: [{"axis", "scale", "zero_point"}, one a channel]}, for ONNX Runtime."""
    weights = {x.name: numpy_helper.to_array(x) for x in graph.initializer}
    scales = {}
    for node in graph.node:
        if node.op_type not in LINEAR or node.input[1] not in weights:
            continue
        axis = channel_axis(node)
        weight = np.moveaxis(weights[node.input[1]], axis, 0).reshape(weights[node.input[1]].shape[axis], -1)
        largest = np.abs(weight).max(axis=1)
        found = np.where(largest > 0, largest, 1).astype("float32") / np.float32(2 ** (bits - 1) - 1)
        zero = np.int8(0)
        scales[node.input[1]] = [{"axis": axis, "scale": scale, "zero_point": zero} for scale in found]
    return scales


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of a weight that is that of the outputs."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def quantised_operators(path: Path) -> dict[str, Any]:
    """{type: {"quantised": number, "all": number}} of the operators of a model, without those that only convert."""
    graph = onnx.load(path).graph
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    total = Counter(node.op_type for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear"))
    low = Counter(node.op_type for node in graph.node if node.op_type in LINEAR and node.input[0] in dequantised)
    return {kind: {"quantised": low[kind], "all": number} for kind, number in sorted(total.items())}
