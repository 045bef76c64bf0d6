"""The metric that a packing minimizes first."""

from __future__ import annotations

from typing import Literal

Objective = Literal["passes", "area", "inputs", "cycles", "side-by-side", "energy"]
