"""Diff: what differs between two models, layer by layer."""
