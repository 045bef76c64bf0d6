"""Pack and unpack: the compact form that runs in stock onnxruntime."""
