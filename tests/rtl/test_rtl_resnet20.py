"""ResNet-20 on 32x32, in Verilator; `make rtl-test` runs this, and `make test` does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tightc
from helpers.loading import loaded
from helpers.packings import QUICK
from helpers.rtl_images import Images, schedule
from helpers.rtl_models import graph
from helpers.rtl_runs import verilator, write
from tightc.rtl.cosimulation import simulate_folder


def resnet20() -> onnx.ModelProto:
    """He et al., 2016, section 4.2, n = 3, with normalization folded and random weights; shortcuts pad channels."""
    rng = np.random.default_rng(0)
    lines: list[str] = []
    tensors = {"axes": np.array([1])}
    count, before = 0, 3

    def conv(value: str, filters: int, stride: int) -> str:
        nonlocal count, before
        weight = rng.normal(0, np.sqrt(2 / (9 * before)), (filters, before, 3, 3))
        tensors[f"w{count}"] = weight.astype(np.float32)
        tensors[f"b{count}"] = rng.normal(0, 0.1, filters).astype(np.float32)
        settings = f"pads = [1, 1, 1, 1], strides = [{stride}, {stride}]"
        lines.append(f"[conv{count}] c{count} = Conv<{settings}>({value}, w{count}, b{count})")
        count, before = count + 1, filters
        return f"c{count - 1}"

    lines.append(f"v = Relu({conv('x', 16, 1)})")
    value = "v"
    for block in range(9):
        width, stride = 16 * 2 ** (block // 3), 2 if block in (3, 6) else 1
        shortcut = value
        if stride == 2:
            tensors[f"p{block}"] = np.array([0, width // 2])
            lines.append(f"s{block} = MaxPool<kernel_shape = [1, 1], strides = [2, 2]>({value})")
            lines.append(f"t{block} = Pad(s{block}, p{block}, , axes)")
            shortcut = f"t{block}"
        lines.append(f"r{block} = Relu({conv(value, width, stride)})")
        second = conv(f"r{block}", width, 1)
        lines += [f"a{block} = Add({second}, {shortcut})", f"o{block} = Relu(a{block})"]
        value = f"o{block}"
    lines += [f"m = GlobalAveragePool({value})", "f = Flatten(m)", "[fc] y = Gemm<transB = 1>(f, w, b)"]
    tensors |= {"w": rng.normal(0, 0.2, (10, 64)).astype(np.float32), "b": np.zeros(10, np.float32)}
    return graph("(float[B, 3, 32, 32] x) => (float y) {\n" + "\n".join(lines) + "\n}", **tensors)


@pytest.mark.rtl
@verilator
def test_resnet20_on_32x32(tmp_path: Path) -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (4, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=images[:1])
    model = tightc.prune(loaded(resnet20()), sparsity=0.9).model
    model = tightc.quantize(model, images={"x": images}).model
    model = tightc.permute(model, array="32x32", fan_in=8, temp_schedule=QUICK).model
    options = {"prefetch_weights": True, "overlap_drain": True, "accumulator_bypass": True}
    design = write(model, tmp_path / "rtl", inputs=str(tmp_path / "x.npz"), batch=1, **options)
    found = simulate_folder(tmp_path / "rtl", "verilator", chain=True)
    assert len(found) == 20
    written = Images(tmp_path / "rtl")
    for number, layer in enumerate(found):
        starts, cycles = schedule(written, number)
        assert (written.starts(number).tolist(), layer.cycles) == (starts, cycles)
    expected = tightc.simulate(model, array="32x32", batch=1, **options).layers
    assert [layer.cycles for layer in found] == [row["cycles"] for row in expected]
    assert sum(row["reads"] is not None for row in design.report.layers) >= 9  # second convolutions of blocks
