"""What tightc records in an ONNX file: packing headers, digests, the functions of the packed form."""
