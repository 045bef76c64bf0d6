"""The options of finetune as the help shows them."""

from __future__ import annotations

import subprocess
import sys

from tightc.data.options import DataOptions
from tightc.finetuning.options import FinetuneOptions


def test_every_option_is_in_one_group() -> None:
    for options in (DataOptions, FinetuneOptions):
        grouped = [name for names in options.groups.values() for name in names]
        assert sorted(grouped) == sorted(options.model_fields)


def test_the_help_shows_at_most_twenty_options_by_default() -> None:
    assert set(FinetuneOptions.model_fields) >= FinetuneOptions.advanced
    assert len(FinetuneOptions.model_fields.keys() - FinetuneOptions.advanced) <= 20


def test_the_options_import_no_kernel() -> None:
    kernels = "{'torch', 'onnx', 'onnxruntime', 'numba'}"
    script = (
        "import sys, tightc.finetuning.options, tightc.data.options, tightc.evaluation.options; "
        f"sys.exit(bool({kernels} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
