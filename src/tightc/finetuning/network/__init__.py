"""The network that is trained: its classifier head, batch normalization, masks and fake quantization."""
