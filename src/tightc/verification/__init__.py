"""Verify: whether two models have the same weights and give the same outputs."""
