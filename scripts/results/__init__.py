"""Experiments of `scripts/experiments.py`: a queue of trainings, their records, and the pages."""
