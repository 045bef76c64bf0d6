"""Simulated annealing of one block of tiles."""
