"""Packers: each takes a layer matrix and gives a Packing."""
