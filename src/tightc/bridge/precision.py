"""In which numbers a network can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.errors import ModelError

if TYPE_CHECKING:
    from tightc.bridge.module import TorchGraph


def check_float32(module: TorchGraph, origin: str, *, needs: str, remedy: str) -> None:
    """ModelError, which says who `needs` it and what to do, where a tensor that gets a gradient is no float32."""
    for name in module.roles:
        dtype = str(module.parameter(name).dtype).removeprefix("torch.")
        if dtype != "float32":
            raise ModelError(f"{origin}: tensor {name} is {dtype}, {needs} float32", remedy)
