"""Weights, and what streams through them, as whole numbers."""
