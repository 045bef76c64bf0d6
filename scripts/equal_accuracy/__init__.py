"""Runs and pages of `scripts/experiments.py`: ways to compress, trained alike, compared at equal accuracy."""
