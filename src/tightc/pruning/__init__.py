"""Prune: set the least salient weights to zero."""
