"""What a search minimizes first."""

from __future__ import annotations

from typing import Literal

Objective = Literal["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"]
