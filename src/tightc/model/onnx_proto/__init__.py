"""ONNX as protobuf: graph, names, metadata, external data."""
