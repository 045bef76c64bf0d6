"""From an ONNX graph to a torch module and back, tensor by tensor."""
