"""Pack and unpack: the packed form of a model, which runs in stock onnxruntime."""
