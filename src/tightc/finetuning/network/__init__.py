"""The trained network: classifier, inserted batch normalization, masks and fake quantization."""
