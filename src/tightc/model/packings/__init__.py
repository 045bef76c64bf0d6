"""The packings of a model: as metadata, and as packed tensors."""
