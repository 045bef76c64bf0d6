"""What `scripts/experiments.py` does: ways to compress, trained alike, side by side."""
