"""ONNX models: files, the layers in them as matrices, shapes, packings and history.

Imports run one way: onnx_proto <- runtime, file_format <- file <- layer_view <- packings. The modules validity,
intermediate_values and history also build on file. Nothing here imports data or a stage.
"""
