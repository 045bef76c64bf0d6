"""Calibration: the values inside a network on sample images, and the divergence of its outputs."""
