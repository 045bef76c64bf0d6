"""Run times of the simulation: the closed forms, the cycle engine, and SCALE-Sim on the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tightc
from benchmarks import scale_sim
from benchmarks.measuring import Times, times
from benchmarks.networks import RESNET20, RESNET50, SYNTHETIC, missing, pruned, resnet50
from benchmarks.page import SEED, Page
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import Hardware
from tightc.config.yaml import read_options
from tightc.cost_model.passes import Dataflow
from tightc.example import RECIPE
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.simulation.choose_accelerator import choose_accelerator
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import EngineResult, run_dense, run_packing
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import layer_costs
from tightc.simulation.workload import LayerWorkload, Workload, read_workload
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing, Tile

TITLE = "Simulation: closed forms, the cycle engine, SCALE-Sim"
_HARDWARE = Path(__file__).resolve().parents[2] / "configs" / "hardware" / "tight-32x32.yaml"
_DENSITY = 0.1
_VECTORS = 4096  # through a full tile
_DATAFLOWS: tuple[Dataflow, ...] = ("ws", "os", "is")
_LARGEST = {"float32": 1.0, "int32": 127.0}  # of the operands
_LIMITED = find_spec("threadpoolctl") is not None  # it comes with scikit-learn, which `make bench` installs
_THREADS = "on one thread" if _LIMITED else "on the threads that BLAS takes, since threadpoolctl is missing"


def run(page: Page) -> None:
    """All tables; kernels are compiled before they are timed."""
    repeats = 1 if page.quick else 7
    page.text(f"Times are the best and the median of {repeats}, after one to warm up, in one process.")
    networks = _networks(page)
    _closed_form(page, networks, repeats)
    _engine(page, networks, repeats)
    _full_tiles(page, repeats)
    scale_sim.compare(page, repeats)


def _networks(page: Page) -> dict[str, Model]:
    """The simulated models by name; those that end in "packed" are packed by tight."""
    if page.quick:
        return _forms(
            "digits", pruned(RECIPE.parent / "digits.onnx", 0.9), TemperatureSchedule(moves_per_weight=20)
        )
    networks = {}
    if missing(RESNET20):
        page.text(missing(RESNET20))
    else:
        networks = {"ResNet-20, dense": tightc.load(str(RESNET20))}
        networks |= _forms("ResNet-20", pruned(RESNET20, 0.9))
    page.text(
        f"ResNet-20 at sparsity 0.9. ResNet-50: its {len(RESNET50)} layers for an image of 224x224, strides in the "
        f"3x3 layers, at density {_DENSITY}. {SYNTHETIC}"
    )
    return networks | _forms("ResNet-50", resnet50(_DENSITY))


def _forms(name: str, model: Model, schedule: TemperatureSchedule | None = None) -> dict[str, Model]:
    options = PermuteOptions(temp_schedule=schedule) if schedule else PermuteOptions()
    permuted, _ = tightc.permute(model, options, seed=SEED)
    return {f"{name}, pruned": model, f"{name}, packed": tightc.pack(permuted)[0]}


def _closed_form(page: Page, networks: Mapping[str, Model], repeats: int) -> None:
    page.text(
        "### Closed forms, 32x32, weight-stationary\n\n`layer_costs` is the cost model of every layer, as it is "
        "and dense; passes and cycles are those of the layers as they are. `read_workload` comes first: it reads the "
        "packings and checks them against the weights. `tightc.simulate` is both, and the report."
    )
    page.head("network", "hardware", "passes", "cycles", "`layer_costs`, ms", "median")
    options = {
        "ideal": SimulateOptions(),
        "tight-32x32": SimulateOptions(hardware=read_options(_HARDWARE, Hardware)),
    }
    for name, model in networks.items():
        workload = read_workload(model, options["ideal"])
        for hardware, hardware_options in options.items():
            accelerator = choose_accelerator(workload, hardware_options)
            took = times(lambda w=workload, c=accelerator: layer_costs(w, c, "ws"), repeats)  # type: ignore[misc]
            found = [cost.actual for cost in layer_costs(workload, accelerator, "ws")]
            total = [sum(cost.passes for cost in found), sum(cost.cycles for cost in found)]
            page.row(name, hardware, *total, *took.ms)
    page.end()
    page.head("network", "`read_workload`, ms", "median", "`tightc.simulate`, ms", "median")
    for name, model in networks.items():
        reading = times(lambda m=model: read_workload(m, SimulateOptions()), repeats)  # type: ignore[misc]
        whole = times(lambda m=model: tightc.simulate(m, SimulateOptions()), repeats)  # type: ignore[misc]
        page.row(name, *reading.ms, *whole.ms)
    page.end()


def _engine(page: Page, networks: Mapping[str, Model], repeats: int) -> None:
    """All layers of the small network, packed and dense."""
    packed = next((name for name in networks if name.endswith("packed")), None)
    if packed is None or packed.startswith("ResNet-50"):
        return
    page.text(
        f"### The cycle engine on one core: all layers of {packed.partition(',')[0]}, 32x32\n\nEvery layer on random "
        "vectors, with values that are those of numpy (to the bit for int32) and as many cycles as the closed form. "
        "A PE-step is a PE in a cycle, idle or not. numpy: the products of the same layers, zeros included, "
        f"{_THREADS}, without BLAS for int32."
    )
    page.head(
        "layers",
        "dataflow",
        "dtype",
        "passes",
        "M PE-steps",
        "ms",
        "median",
        "M PE-steps/s",
        "numpy, ms",
        "engine / numpy",
    )
    for name, dataflow in ((packed, "ws"), *((packed.replace("packed", "pruned"), df) for df in _DATAFLOWS)):
        workload = read_workload(networks[name], SimulateOptions())
        for dtype in _LARGEST:
            _whole(page, workload, dataflow, dtype, repeats)
    page.end()
    workload, options = read_workload(networks[packed], SimulateOptions()), SimulateOptions(verify=True)
    verifying = times(lambda: tightc.simulate(networks[packed], options), repeats)
    pricing = times(lambda: layer_costs(workload, choose_accelerator(workload, options), "ws"), repeats)
    page.text(
        f"`tightc.simulate` with `verify`, packed: reading, both dtypes on the engine, and onnxruntime for both, "
        f"{verifying.best:.2f} s (median {verifying.median:.2f}). The closed form of the same: "
        f"{pricing.ms[0]:.2f} ms (median {pricing.ms[1]:.2f})."
    )


@dataclass(frozen=True)
class _Product:
    """A layer with operands, and its packing where it has one."""

    operands: Operands
    packing: Packing | None

    @classmethod
    def of(cls, layer: LayerWorkload, workload: Workload, dtype: str) -> _Product:
        """The layer's weights, rounded for int32, and random vectors."""
        values = layer_matrix(workload.network, layer.layer).values
        scaled = values * (_LARGEST[dtype] / np.abs(values).max())
        inputs = layer.layer.inputs * layer.layer.groups
        matrix = LayerMatrix(_as(scaled, dtype), layer.layer.groups)
        return cls(Operands(matrix, _random((layer.gemm.vectors, inputs), dtype)), layer.packing)

    def run(self, dataflow: Dataflow, accelerator: Accelerator) -> EngineResult:
        """On the cycle engine."""
        if self.packing:
            return run_packing(self.packing, self.operands, accelerator)
        return run_dense(dataflow, self.operands, accelerator)

    def multiply(self) -> NDArray[Any]:
        """By numpy."""
        return self.operands.vectors @ self.operands.weights.values.T


def _whole(page: Page, workload: Workload, dataflow: Dataflow, dtype: str, repeats: int) -> None:
    """The row of one form of the network."""
    accelerator = choose_accelerator(workload, SimulateOptions())
    products = [_Product.of(layer, workload, dtype) for layer in workload.layers]
    costs = [cost.actual for cost in layer_costs(workload, accelerator, dataflow)]
    result = [
        _checked(product, dataflow, accelerator, cost.cycles)
        for product, cost in zip(products, costs, strict=True)
    ]
    took = times(lambda: [product.run(dataflow, accelerator) for product in products], repeats)
    numpy = _numpy(products, repeats)
    page.row(
        workload.layers[0].method,
        dataflow,
        dtype,
        sum(cost.passes for cost in costs),
        *_figures(sum(one.pe_steps for one in result), took, numpy),
    )


def _full_tiles(page: Page, repeats: int) -> None:
    page.text(
        f"### The cycle engine on one core: one full tile, {_VECTORS:,} vectors\n\nAll lanes carry as many inputs as "
        "the fan-in says and all columns are used. numpy: the product with the layer that the tile holds, zeros "
        f"included, {_THREADS}."
    )
    page.head(
        "array",
        "fan-in",
        "dtype",
        "cycles",
        "M PE-steps",
        "ms",
        "median",
        "M PE-steps/s",
        "numpy, ms",
        "engine / numpy",
    )
    for side in (32,) if page.quick else (32, 128):
        array, accelerator = ArrayShape(side, side), Accelerator(ArrayShape(side, side))
        for fan_in in (8,) if page.quick else (1, 8, 16):
            for dtype in _LARGEST:
                product = _full_tile(array, fan_in, dtype)
                cycles = _VECTORS + 2 * array.rows + array.columns - 2
                result = _checked(product, "ws", accelerator, cycles)
                took = times(lambda p=product, c=accelerator: p.run("ws", c), repeats)  # type: ignore[misc]
                figures = _figures(result.pe_steps, took, _numpy([product], repeats))
                page.row(str(array), fan_in, dtype, cycles, *figures)
    page.end()


def _full_tile(array: ArrayShape, fan_in: int, dtype: str) -> _Product:
    """A layer that is one tile without empty slots; every input of a lane goes to some of its columns."""
    rng = np.random.default_rng([SEED, *array, fan_in])
    taps = np.tile(np.arange(array.columns) % fan_in, (array.rows, 1))
    select = rng.permuted(taps, axis=1).astype(np.int16)
    inputs = array.rows * fan_in
    starts = np.arange(array.rows + 1, dtype=np.int32) * np.int32(fan_in)
    filters = np.arange(array.columns, dtype=np.int32)
    tile = Tile(filters, starts, np.arange(inputs, dtype=np.int32), select)
    weights = np.zeros((array.columns, inputs), dtype)
    weights[tile.slots()] = _random(array.columns * array.rows, dtype)
    packing = Packing("full", array, fan_in, filters=array.columns, inputs=inputs, groups=1, tiles=(tile,))
    return _Product(Operands(LayerMatrix(weights), _random((_VECTORS, inputs), dtype)), packing)


def _checked(product: _Product, dataflow: Dataflow, accelerator: Accelerator, cycles: int) -> EngineResult:
    """The engine's result, checked against numpy and the closed form."""
    result, expected = product.run(dataflow, accelerator), product.multiply()
    off = np.abs(result.outputs - expected).max() / np.abs(expected).max()
    assert off <= (1e-4 if expected.dtype == np.float32 else 0)
    assert result.cycles == cycles
    return result


def _figures(pe_steps: int, took: Times, numpy: Times) -> tuple[float, ...]:
    million = pe_steps / 1e6
    return million, *took.ms, million / took.best, numpy.ms[0], took.best / numpy.best


def _numpy(products: list[_Product], repeats: int) -> Times:
    with _one_thread():
        return times(lambda: [product.multiply() for product in products], repeats)


@contextmanager
def _one_thread() -> Iterator[None]:
    """BLAS on one thread, where threadpoolctl is installed."""
    if _LIMITED:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            yield
    else:
        yield


def _random(shape: int | tuple[int, ...], dtype: str) -> NDArray[Any]:
    drawn = np.random.default_rng(SEED).uniform(-_LARGEST[dtype], _LARGEST[dtype], shape)
    return _as(drawn, dtype)


def _as(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    return (values if dtype == "float32" else np.rint(values)).astype(dtype)
