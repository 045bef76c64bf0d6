"""Simulate: cycles and energy of a model on a systolic array."""
