"""The dtype that training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.errors import ModelError

if TYPE_CHECKING:
    from tightc.bridge.module import TorchGraph


def check_float32(module: TorchGraph, origin: str, *, needs: str, remedy: str) -> None:
    """Checks that all trained tensors of `module` are float32.

    ModelError otherwise, which names the model `origin`, who `needs` it, such as "finetune trains", and the `remedy`.
    """
    for name in module.roles:
        dtype = str(module.parameter(name).dtype).removeprefix("torch.")
        if dtype != "float32":
            raise ModelError(f"{origin}: tensor {name} is {dtype}, {needs} float32", remedy)
