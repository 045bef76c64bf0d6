"""An int8 network as a TensorFlow Lite file, with weights and shapes that a compiler needs to store the weights."""
