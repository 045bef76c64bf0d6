"""Selection: which weights to keep, given their saliency.

The modules of this folder are kernels on arrays, with their options, and know no model. Only `network` reads a model.
"""
