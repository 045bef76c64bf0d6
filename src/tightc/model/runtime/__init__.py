"""Stock onnxruntime: sessions, value shapes, constant folding."""
