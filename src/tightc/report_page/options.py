"""Options of report."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tightc.accelerator.options import AcceleratorOptions
from tightc.simulation.options import SimulateOptions

MOST_LAYERS = 5


class ReportOptions(AcceleratorOptions):
    """What the page shows, and the accelerator that its figures are for."""

    groups: ClassVar = {
        "Content": ("layer", "compare"),
        **AcceleratorOptions.groups,
        "Hardware": (*AcceleratorOptions.groups["Hardware"], "dataflow"),
    }

    layer: tuple[str, ...] = Field(
        (),
        description=f"layer whose tiles the page holds, repeatable; default: the {MOST_LAYERS} with most cycles",
        strict=False,
    )
    compare: str | None = Field(
        None, description="JSON file of tightc compare --json, for the baselines", min_length=1
    )
    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="operand that stays in the array: ws (weights), os (outputs) or is (inputs)"
    )

    @property
    def names_accelerator(self) -> bool:
        """Whether an option of the hardware was given, so that those of a run do not count."""
        return bool(self.model_fields_set.intersection(self.groups["Hardware"]))

    def simulated(self, of_run: SimulateOptions | None = None) -> SimulateOptions:
        """The options that a model is simulated with: what was given here, the rest as in its run, if it has one."""
        shared = SimulateOptions.model_fields.keys() & type(self).model_fields.keys()
        given = {name: getattr(self, name) for name in shared & self.model_fields_set}
        if of_run is None:
            return SimulateOptions(**given)
        kept = of_run.model_fields_set - {"verify", "inputs"}
        if self.names_accelerator:
            kept -= {*self.groups["Hardware"]}
        return SimulateOptions(**{**{name: getattr(of_run, name) for name in kept}, **given})
