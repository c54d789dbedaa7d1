"""From a trained student to what triggers and analyses load: ONNX, parity, inference, quantisation."""
