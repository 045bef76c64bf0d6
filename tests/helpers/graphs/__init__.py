"""A Hypothesis strategy of small valid ONNX graphs. Nothing is imported from tightc."""
