"""Writes docs/models.md, what tightc does with a small network of each family; with --check it only compares.

python scripts/make_models_page.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import tightc

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.zoo.families import FAMILIES, QUICK, export  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
HEAD = """# Families of networks

Written by `python scripts/make_models_page.py`. Each row is a small network of a family, exported by torch at opset
{opset}. Its weights are random. They are pruned to a sparsity of 0.9 and permuted for a 32x32 array of fan-in 8.

The networks are narrow, so that each is a test of the suite. [Results](results/README.md) has trained networks of usual
widths. Depthwise convolutions gain most: an ordinary tile holds one group, and a tight one several.

[Measures](measures.md) defines the columns. *Covered* is the fraction of all multiply-accumulates in layers that are
packed. *Passes* are those of the permuted and of the dense network.

| family | layers | MACs | covered | passes | speedup | stays dense |
|---|---|---|---|---|---|---|
"""
FOOT = """
The same networks also go through all stages at opsets 7 to 20, with an open batch, with weights that are inputs too, in
float16, and quantized by onnxruntime: `make test-zoo`.
"""


def row(name: str, folder: Path) -> str:
    """The line of the table for a family."""
    model = tightc.load(export(name, QUICK, folder / f"{name}.onnx"))
    seen = tightc.inspect(model)
    assert seen.macs_covered is not None
    pruned = tightc.prune(model, sparsity=0.9).model
    permuted, packing = tightc.permute(pruned, array="32x32", fan_in=8)
    speedup = tightc.simulate(permuted, array="32x32").speedup
    dense = Counter((entry["operator"], entry["reason"]) for entry in seen.uncovered)
    reasons = [f"{count} {operator} ({reason})" for (operator, reason), count in dense.items()]
    cells = [
        name,
        str(len(seen.layers)),
        f"{seen.macs:,}",
        f"{seen.macs_covered:.1%}",
        f"{packing.passes} of {packing.dense_passes}",
        f"{speedup:.2f}",
        "; ".join(reasons) or "nothing",
    ]
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(name, Path(folder)) for name in FAMILIES]
    return HEAD.format(opset=QUICK.opset) + "".join(rows) + FOOT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    only_check = parser.parse_args().check
    written = page()
    if only_check and PAGE.read_text(encoding="utf-8") != written:
        sys.exit(f"{PAGE.name} is out of date: run python scripts/make_models_page.py")
    if not only_check:
        PAGE.write_text(written, encoding="utf-8")
