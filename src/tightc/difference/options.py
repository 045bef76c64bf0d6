"""Options of diff."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tightc.accelerator.options import AcceleratorOptions
from tightc.simulation.options import SimulateOptions
from tightc.tile.array import ArrayShape


class DiffOptions(AcceleratorOptions):
    """The hardware on which both models are simulated."""

    groups: ClassVar = {
        name: fields for name, fields in SimulateOptions.groups.items() if name in AcceleratorOptions.groups
    }

    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="operand that stays in the array: ws (weights), os (outputs) or is (inputs)"
    )

    def simulated(self, array: ArrayShape | None) -> SimulateOptions:
        """How a model is simulated, on that array."""
        shared = {name: getattr(self, name) for name in (*AcceleratorOptions.model_fields, "dataflow")}
        return SimulateOptions(**{**shared, "array": array})
