"""Permute: rearrange the weights that are left into few, full tiles."""
