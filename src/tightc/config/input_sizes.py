"""Sizes of the inputs that the model leaves open."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from tightc.config.options import Options

_LARGEST_BATCH = 2**31 - 1
_SHAPE = re.compile(r"(?P<name>.+)=(?P<sides>[1-9]\d{0,17}(x[1-9]\d{0,17})*)", re.ASCII)


class InputSizeOptions(Options):
    """The batch, and the shapes of inputs with other open dimensions."""

    batch: Annotated[int, Field(ge=1, le=_LARGEST_BATCH)] | None = Field(
        None, description="batch size, at least 1; default: the model's batch, else 1"
    )
    input_shape: tuple[str, ...] = Field(
        (),
        description="shape of an input of open size, such as image=1x3x224x224; repeatable",
        strict=False,
        json_schema_extra={"items": {"type": "string", "pattern": r"^.+=[1-9][0-9]*(x[1-9][0-9]*)*$"}},
    )

    @field_validator("input_shape")
    @classmethod
    def _readable(cls, shapes: tuple[str, ...]) -> tuple[str, ...]:
        for text in shapes:
            if not _SHAPE.fullmatch(text):
                raise ValueError("should be NAME=SHAPE with the sizes joined by x, such as image=1x3x224x224")
        return shapes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input name to shape."""
        found = [_SHAPE.fullmatch(text) for text in self.input_shape]
        return {match["name"]: tuple(map(int, match["sides"].split("x"))) for match in found if match}
