"""scripts/stream_coders.py: bits of coders by hand, and the figures that docs/stream.md shows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import stream_coders
import tightc
from tightc.example import RECIPE
from tightc.model.file import load_model, save_model

PAGE = (Path(__file__).parents[2] / "docs" / "stream.md").read_text(encoding="utf-8")


def test_coders_by_hand() -> None:
    numbers = np.array([3, 3, 3, 4], np.int64)
    assert stream_coders.golomb_rice(numbers) == 5 + 6 + 4 + 1  # gamma of 3, the width, a bit each, one more
    assert stream_coders.huffman(numbers) == 5 + 6 + 8 + 4  # a table of one token, and a raw bit each
    assert stream_coders.entropy(numbers) == pytest.approx(4 * 2 - 3 * np.log2(3))
    assert stream_coders.entropy(numbers) < stream_coders.rans(numbers)


def test_the_page_shows_what_the_script_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = tightc.prune(load_model(RECIPE.with_name("digits.onnx")), sparsity=0.9).model
    permuted = tightc.permute(tightc.quantize(pruned).model, array="16x16", fan_in=8).model
    monkeypatch.chdir(tmp_path)
    save_model(permuted, "permuted.onnx")
    monkeypatch.setattr(sys, "argv", ["stream_coders.py", "permuted.onnx"])
    stream_coders.main()
    assert f"$ python scripts/stream_coders.py permuted.onnx\n{capsys.readouterr().out}```" in PAGE
