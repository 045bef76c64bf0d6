"""The embedded example: a small CNN for the 8x8 digits that scikit-learn ships, its data and its recipe."""

from __future__ import annotations

from pathlib import Path

RECIPE = Path(__file__).parent / "digits.yaml"
