"""Explore: many arrays, fan-ins, sparsities and methods, and the Pareto front among them."""
