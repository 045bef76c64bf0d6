"""What a stage says of its work: one record that console and JSON are views of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """The result of one stage: figures for the whole network and for each layer, by the names of the glossary."""

    stage: str
    totals: Figures
    layers: tuple[Figures, ...] = ()
    uncovered: tuple[Figures, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "schema": f"tightc.{self.stage}/1",
            "totals": dict(self.totals),
            "layers": [dict(layer) for layer in self.layers],
            "uncovered": [dict(entry) for entry in self.uncovered],
            "notes": list(self.notes),
        }


def first_few(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
