"""Writes src/tightc/api/keywords.py, the types of the verbs' keywords, from the options; --check only compares.

python scripts/make_keywords.py
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

import tightc
from tightc.api.python_types import python_type
from tightc.comparison.options import CompareOptions
from tightc.config.options import Options
from tightc.difference.options import DiffOptions
from tightc.evaluation.options import EvaluateOptions
from tightc.exploration.options import ExploreOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.inspection.options import InspectOptions, SensitivityOptions
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.quantization.options import QuantizeOptions
from tightc.report_page.options import ReportOptions
from tightc.requirements.options import CheckOptions
from tightc.rtl.options import RtlOptions
from tightc.simulation.options import SimulateOptions
from tightc.verification.options import VerifyOptions

PAGE = Path(__file__).parents[1] / "src" / "tightc" / "api" / "keywords.py"
KINDS: dict[str, tuple[type[Options], ...]] = {
    "inspect": (InspectOptions, SensitivityOptions),
    "prune": (PruneOptions,),
    "finetune": (FinetuneOptions,),
    "quantize": (QuantizeOptions,),
    "permute": (PermuteOptions,),
    "pack": (PackOptions,),
    "simulate": (SimulateOptions,),
    "write_rtl": (RtlOptions,),
    "compare": (CompareOptions,),
    "explore": (ExploreOptions,),
    "write_report": (ReportOptions,),
    "evaluate": (EvaluateOptions,),
    "check": (CheckOptions,),
    "diff": (DiffOptions,),
    "verify": (VerifyOptions,),
}
HEAD = '''"""The types of the verbs' keywords. Written by scripts/make_keywords.py from the options: do not edit."""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from tightc import {names}
'''
NAMED = ("AreaTable", "ArrayShape", "Budget", "EnergyTable", "Hardware", "Pattern", "TemperatureSchedule")


def page() -> str:
    """The module."""
    classes = [_class(verb, kinds) for verb, kinds in KINDS.items()]
    names = [name for name in NAMED if any(re.search(rf"\b{name}\b", text) for text in classes)]
    return "\n\n".join([HEAD.format(names=", ".join(names)), *classes])


def _class(verb: str, kinds: tuple[type[Options], ...]) -> str:
    own = inspect.signature(inspect.unwrap(getattr(tightc, verb)), follow_wrapped=False).parameters
    lines = [f"class {verb.title().replace('_', '')}Keywords(TypedDict, total=False):"]
    lines.append(f'    """Options of `{verb}` as keywords."""\n')
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if name not in own:
                lines.append(f"    {name}: {python_type(name, field)}".replace("'", '"'))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    only_check = parser.parse_args().check
    text = page()
    if only_check and PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is out of date: run python scripts/make_keywords.py")
    if not only_check:
        PAGE.write_text(text, encoding="utf-8")
