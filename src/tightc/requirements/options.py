"""Options of check."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from tightc.accelerator.options import AcceleratorOptions
from tightc.requirements.requirement import Requirement
from tightc.simulation.options import SimulateOptions


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class CheckOptions(AcceleratorOptions):
    """What is required of a model, on which hardware, and how it is evaluated."""

    groups: ClassVar = {
        "Requirements": ("require",),
        **{
            name: fields
            for name, fields in SimulateOptions.groups.items()
            if name in AcceleratorOptions.groups
        },
        "Evaluation": ("batch_size", "threads"),
    }

    require: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        description="requirement on a measure, such as 'speedup>=4'; repeatable",
        min_length=1,
        strict=False,
    )
    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="operand that stays in the array: ws (weights), os (outputs) or is (inputs)"
    )
    batch_size: int = Field(default=256, ge=1, description="images per batch: an integer from 1")
    threads: int = Field(
        default=0, ge=0, le=4096, description="threads of onnxruntime: an integer from 0 (all cores)"
    )

    @field_validator("require")
    @classmethod
    def _readable(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            Requirement.parse(text)
        return texts

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """What is required."""
        return tuple(map(Requirement.parse, self.require))

    @property
    def simulated(self) -> SimulateOptions:
        """How the model is simulated."""
        shared = {name: getattr(self, name) for name in (*AcceleratorOptions.model_fields, "dataflow")}
        return SimulateOptions(**shared)
