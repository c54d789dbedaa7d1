"""From a trained student to models for triggers and analyses: ONNX, parity, inference, quantisation, firmware."""
