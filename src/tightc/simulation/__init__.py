"""Simulate: cycles and energy on a systolic array."""
