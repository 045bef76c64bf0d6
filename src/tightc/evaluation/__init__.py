"""Evaluate: top-1 accuracy by onnxruntime."""
