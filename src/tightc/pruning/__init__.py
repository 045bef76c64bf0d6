"""Prune: set the least important weights to zero."""
