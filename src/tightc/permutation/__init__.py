"""Permute: arrange the non-zero weights in few, full tiles."""
