"""Inspect: what is in a model and what of it can be packed."""
