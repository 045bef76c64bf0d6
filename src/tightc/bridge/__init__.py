"""The bridge from an ONNX graph to a torch module and back."""
