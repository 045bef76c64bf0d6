"""tightc: compress pruned neural networks for systolic arrays.

A chain of verbs: `prune`, `finetune`, `quantize`, `permute`, `pack`, `simulate`. Each takes a model and keywords, and
returns a `Result` (model and report) or a `Report`. docs/python.md shows them; names are imported when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tightc.accelerator.area_table import AreaTable
    from tightc.accelerator.energy_table import EnergyTable
    from tightc.accelerator.hardware import Hardware
    from tightc.api.chain import finetune, pack, permute, prune, quantize, unpack
    from tightc.api.files import configs, examples, load, load_images, save
    from tightc.api.gates import check, diff, verify
    from tightc.api.measurement import compare, evaluate, explore, inspect, simulate, write_rtl
    from tightc.api.runs import compress, run_recipe, write_report
    from tightc.api.tiles import Tile, tiles
    from tightc.comparison.options import CompareOptions
    from tightc.compression.options import CompressOptions
    from tightc.data.images import NormalizedImages
    from tightc.data.options import DataOptions
    from tightc.data.samples import Samples
    from tightc.difference.options import DiffOptions
    from tightc.errors import (
        ConfigError,
        DataError,
        InternalError,
        MemoryLimitError,
        ModelError,
        OptionError,
        OutputError,
        TightcError,
        VerifyError,
    )
    from tightc.evaluation.options import EvaluateOptions
    from tightc.exploration.options import ExploreOptions
    from tightc.finetuning.options import FinetuneOptions
    from tightc.inspection.options import InspectOptions, SensitivityOptions
    from tightc.model.file import Model
    from tightc.packing.options import PackOptions
    from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
    from tightc.permutation.options import PermuteOptions
    from tightc.permutation.pattern import Pattern
    from tightc.pruning.options import PruneOptions
    from tightc.quantization.options import QuantizeOptions
    from tightc.report import Interrupted, LayerReport, Report, Result
    from tightc.report_page.options import ReportOptions
    from tightc.requirements.options import CheckOptions
    from tightc.rtl.options import RtlOptions
    from tightc.selection.budget import Budget
    from tightc.simulation.options import SimulateOptions
    from tightc.tile.array import ArrayShape
    from tightc.verification.options import VerifyOptions

    __version__: str

__all__ = [
    "AreaTable",
    "ArrayShape",
    "Budget",
    "CheckOptions",
    "CompareOptions",
    "CompressOptions",
    "ConfigError",
    "DataError",
    "DataOptions",
    "DiffOptions",
    "EnergyTable",
    "EvaluateOptions",
    "ExploreOptions",
    "FinetuneOptions",
    "Hardware",
    "InspectOptions",
    "InternalError",
    "Interrupted",
    "LayerReport",
    "MemoryLimitError",
    "Model",
    "ModelError",
    "NormalizedImages",
    "OptionError",
    "OutputError",
    "PackOptions",
    "Pattern",
    "PermuteOptions",
    "PruneOptions",
    "QuantizeOptions",
    "Report",
    "ReportOptions",
    "Result",
    "RtlOptions",
    "Samples",
    "SensitivityOptions",
    "SimulateOptions",
    "TemperatureSchedule",
    "TightcError",
    "Tile",
    "VerifyError",
    "VerifyOptions",
    "__version__",
    "check",
    "compare",
    "compress",
    "configs",
    "diff",
    "evaluate",
    "examples",
    "explore",
    "finetune",
    "inspect",
    "load",
    "load_images",
    "pack",
    "permute",
    "prune",
    "quantize",
    "run_recipe",
    "save",
    "simulate",
    "tiles",
    "unpack",
    "verify",
    "write_report",
    "write_rtl",
]

# module -> the public names that it defines
_MODULES = {
    "tightc.api.files": "configs examples load load_images save",
    "tightc.api.tiles": "Tile tiles",
    "tightc.api.chain": "finetune pack permute prune quantize unpack",
    "tightc.api.gates": "check diff verify",
    "tightc.api.measurement": "compare evaluate explore inspect simulate write_rtl",
    "tightc.api.runs": "compress run_recipe write_report",
    "tightc.comparison.options": "CompareOptions",
    "tightc.compression.options": "CompressOptions",
    "tightc.data.images": "NormalizedImages",
    "tightc.data.options": "DataOptions",
    "tightc.data.samples": "Samples",
    "tightc.difference.options": "DiffOptions",
    "tightc.errors": "ConfigError DataError InternalError MemoryLimitError ModelError OptionError OutputError "
    "TightcError VerifyError",
    "tightc.evaluation.options": "EvaluateOptions",
    "tightc.exploration.options": "ExploreOptions",
    "tightc.finetuning.options": "FinetuneOptions",
    "tightc.inspection.options": "InspectOptions SensitivityOptions",
    "tightc.model.file": "Model",
    "tightc.packing.options": "PackOptions",
    "tightc.permutation.annealing.temperature_schedule": "TemperatureSchedule",
    "tightc.permutation.options": "PermuteOptions",
    "tightc.permutation.pattern": "Pattern",
    "tightc.pruning.options": "PruneOptions",
    "tightc.quantization.options": "QuantizeOptions",
    "tightc.report": "Interrupted LayerReport Report Result",
    "tightc.requirements.options": "CheckOptions",
    "tightc.report_page.options": "ReportOptions",
    "tightc.rtl.options": "RtlOptions",
    "tightc.selection.budget": "Budget",
    "tightc.accelerator.area_table": "AreaTable",
    "tightc.accelerator.energy_table": "EnergyTable",
    "tightc.accelerator.hardware": "Hardware",
    "tightc.simulation.options": "SimulateOptions",
    "tightc.tile.array": "ArrayShape",
    "tightc.verification.options": "VerifyOptions",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
_OPTIONS = {"AreaTable", "EnergyTable", "Hardware", "TemperatureSchedule"}


def __getattr__(name: str) -> Any:
    """The public object of that name, imported when it is first used, so that `import tightc` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tightc")
    if name not in _HOMES:
        raise AttributeError(f"module 'tightc' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    if name in _OPTIONS or name.endswith("Options"):
        from tightc.api.documentation import document_options

        document_options(found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
