"""tightc: pruned networks, dense again. The verbs, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tightc.comparison.compare import compare
    from tightc.evaluation.evaluate import evaluate
    from tightc.finetuning.finetune import finetune
    from tightc.inspection.inspect import inspect
    from tightc.model.file import load_model as load
    from tightc.model.file import save_model as save
    from tightc.packing.pack import pack
    from tightc.packing.unpack import unpack
    from tightc.permutation.permute import permute
    from tightc.pruning.prune import prune
    from tightc.quantization.quantize import quantize
    from tightc.simulation.simulate import simulate

__all__ = [
    "compare",
    "evaluate",
    "finetune",
    "inspect",
    "load",
    "pack",
    "permute",
    "prune",
    "quantize",
    "save",
    "simulate",
    "unpack",
]

_HOMES = {
    "load": ("tightc.model.file", "load_model"),
    "save": ("tightc.model.file", "save_model"),
    "inspect": ("tightc.inspection.inspect", "inspect"),
    "prune": ("tightc.pruning.prune", "prune"),
    "finetune": ("tightc.finetuning.finetune", "finetune"),
    "quantize": ("tightc.quantization.quantize", "quantize"),
    "permute": ("tightc.permutation.permute", "permute"),
    "pack": ("tightc.packing.pack", "pack"),
    "unpack": ("tightc.packing.unpack", "unpack"),
    "simulate": ("tightc.simulation.simulate", "simulate"),
    "compare": ("tightc.comparison.compare", "compare"),
    "evaluate": ("tightc.evaluation.evaluate", "evaluate"),
}


def __getattr__(name: str) -> Any:
    """The verb of that name, so that `import tightc` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tightc' has no attribute {name!r}")
    module, function = _HOMES[name]
    return getattr(importlib.import_module(module), function)
