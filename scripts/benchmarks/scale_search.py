"""Memory and time of the search over the number of weights, up to files of gigabytes."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from benchmarks.page import Page
from benchmarks.scale import DENSITY, MIB, Cost, file_bytes, measured, products

TITLE = "Scale: the search over the number of weights"
_SIZES = {"tight": (10**5, 10**6, 10**7, 10**8), "first-fit": (10**5, 10**6, 10**7, 10**8, 10**9)}
_PARAMETERS, _WORKERS = 7e9, 16


def run(page: Page) -> None:
    """A row for each number of weights, the curves, and an estimate for billions of weights."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_FOLDER")) as folder:
        _rows(page, Path(folder))


def _rows(page: Page, folder: Path) -> None:
    sizes = {method: own[:2] for method, own in _SIZES.items()} if page.quick else _SIZES
    page.text(
        f"`tightc permute` of float32 MatMul layers at density {DENSITY}, 32x32, fan-in 16, on two threads: ten "
        "layers, or one below a million weights. Peak is the resident memory of the process."
    )
    page.head("method", "weights", "non-zeros", "s", "CPU s", "CPU us / non-zero", "peak MiB", "file MiB")
    found: dict[str, list[tuple[int, Cost]]] = {}
    for method, own in sizes.items():
        for weights in own:
            layers = 1 if weights < 10**6 else 10
            side = round((weights / layers) ** 0.5)
            source = folder / f"{weights}.onnx"
            if not source.exists():
                products(source, side, layers)
            arguments = ["permute", str(source), "--method", method, "--jobs", "2"]
            cost = measured([*arguments, "-o", str(folder / "found.onnx"), "-q"])
            found.setdefault(method, []).append((layers * side**2, cost))
            nonzeros = layers * side**2 * DENSITY
            size = file_bytes(source) / MIB
            each = 1e6 * cost.computing / nonzeros
            page.row(method, weights, nonzeros, cost.seconds, cost.computing, each, cost.peak, size)
    page.end()
    if not page.quick:
        page.figure("scale-search", "CPU seconds and peak memory over the number of weights", _drawn(found))
    weights, cost = found["tight"][-1]
    hours, core_hours = (seconds * _PARAMETERS / weights / 3600 for seconds in (cost.seconds, cost.computing))
    page.text(
        f"On paper, from the last row of tight: {_PARAMETERS / 1e9:g} billion weights at this density take "
        f"{hours:.1f} hours on two cores. They take {core_hours / _WORKERS:.1f} hours on {_WORKERS} Dask workers of a "
        "core each, where layers are many more than workers, so that none waits."
    )


def _drawn(found: dict[str, list[tuple[int, Cost]]]) -> bytes:
    """Seconds and memory over weights, both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "tightc"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, label, value in (
        (axes[0], "CPU seconds", lambda cost: cost.computing),
        (axes[1], "peak memory, MiB", lambda cost: cost.peak),
    ):
        for method, own in found.items():
            axis.loglog([weights for weights, _ in own], [value(cost) for _, cost in own], "o-", label=method)
        axis.set_xlabel("weights")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(figure)
    return stream.getvalue()
