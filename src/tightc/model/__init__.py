"""ONNX in and out: files, layers as matrices, shapes, history. The only place that knows protobuf."""
