"""What a slot sees while real tiles run: weights that are loaded, the bytes of its lane, and the sums from above."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import tightc
from tightc.config.input_sizes import InputSizeOptions
from tightc.model.layer_view.im2col import im2col
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.onnx_proto.graph import read_graph
from tightc.rtl.operands import quantized_input, read_operands
from tightc.simulation.workload import LayerWorkload, Workload, read_workload
from tightc.tile.packing import EMPTY, Packing

Integers = NDArray[np.int64]

ROWS = 32
STEPS = 64  # of each slot that is looked at
IMAGES = 16
LAYERS = 2  # those with most multiply-accumulates of non-zero weights
SLOTS = {"used": 8, "idle": 4}  # looked at in each layer
SPARSITY = 0.9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Slot:
    """One slot of a tile while it is loaded and used, on a lane of F inputs.

    `weights`, `selects`: (ROWS,), what moves up into it and past it; the last stays. A select is -1 for an empty slot.
    `lane`: (steps, F) bytes. `sums`: (steps,), from above. `kind`: a name in SLOTS.
    """

    kind: str
    weights: Integers
    selects: Integers
    lane: Integers
    sums: Integers


@dataclass(frozen=True)
class Source:
    """A float model, a folder of its images in splits, and a folder for what is made of them."""

    model: Path
    images: Path
    folder: Path

    def load_images(self, model: tightc.Model, split: Literal["train", "test"]) -> tightc.NormalizedImages:
        """The images of a split, normalized for the model."""
        found = tightc.load_images(self.images, model, mean=MEAN, std=STD, split=split)
        assert isinstance(found, tightc.NormalizedImages)
        return found


def quantized_network(source: Source, sparsity: float) -> Path:
    """The model pruned and quantized; kept in the folder, by the paths of model and images."""
    paths = f"{source.model.resolve()} {source.images.resolve()}"
    path = source.folder / f"quantized-{sparsity:g}-{hashlib.sha256(paths.encode()).hexdigest()[:12]}.onnx"
    if not path.exists():
        source.folder.mkdir(parents=True, exist_ok=True)
        network = tightc.load(source.model)
        if sparsity:
            network = tightc.prune(network, sparsity=sparsity).model
        seen = source.load_images(network, "train")
        tightc.save(tightc.quantize(network, images=seen, calibration_images=256).model, path)
    return path


def packed_network(source: Source, fan_in: int) -> Path:
    """The quantized network of SPARSITY packed into tiles of 32x32 for a fan-in, dense for 1; kept in the folder."""
    quantized = quantized_network(source, SPARSITY)
    path = quantized.with_name(quantized.name.replace("quantized", f"packed-{fan_in}"))
    if not path.exists():
        method = "dense" if fan_in == 1 else "tight"
        network = tightc.load(quantized)
        tightc.save(tightc.permute(network, fan_in=fan_in, method=method, jobs=1).model, path)
    return path


def read_slots(source: Source, fan_in: int, seed: int = 0) -> list[Slot]:
    """Slots of the pruned network's tiles, drawn by `seed`, with the activations of the unpruned network.

    Pruned without training, the network itself has channels that are 0 for all images; one that is trained has not.
    With a fan-in of 1 the tiles are dense: every slot is used, and those with a weight of 0 are the idle ones.
    """
    workload = read_workload(tightc.load(packed_network(source, fan_in)), InputSizeOptions())
    entries = sorted(workload.layers, key=lambda entry: -entry.nonzeros * entry.gemm.vectors)[:LAYERS]
    streams = _vectors(source, tuple(workload.layers.index(entry) for entry in entries))
    rng = np.random.default_rng(seed)
    found = []
    for entry, vectors in zip(entries, streams, strict=True):
        found += _slots_of_layer(entry, workload, vectors, fan_in, rng)
    return found


@cache
def _vectors(source: Source, layers: tuple[int, ...]) -> list[Integers]:
    """The input vectors, (vectors, inputs), of the layers of the unpruned network on test images."""
    model = tightc.load(quantized_network(source, 0.0))
    workload = read_workload(model, InputSizeOptions())
    graph = read_graph(workload.plain.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes if node.outputs}
    seen = source.load_images(model, "test")
    pixels = seen.images.pixels[:: max(1, len(seen.images) // IMAGES)][:IMAGES]
    feeds = {model.proto.graph.input[0].name: seen.normalization.apply(pixels)}
    entries = [workload.layers[i] for i in layers]
    inputs = [quantized_input(e.layer, nodes[e.layer.output], graph, nodes) for e in entries]
    pairs = [(e, quantized) for e, quantized in zip(entries, inputs, strict=True) if quantized]
    found = []
    for (entry, _), operands in zip(pairs, read_operands(workload, pairs, feeds), strict=True):
        if operands is None:
            raise ValueError(
                f"{entry.layer.name}: expected int8 activations, got others; give a model of one input"
            )
        node = nodes[entry.layer.output]
        found.append(im2col(entry.layer, node, operands.value, operands.weight.shape).astype(np.int64))
    return found


def _slots_of_layer(
    entry: LayerWorkload, workload: Workload, vectors: Integers, fan_in: int, rng: np.random.Generator
) -> list[Slot]:
    assert entry.packing is not None
    matrix = layer_matrix(workload.network, entry.layer).values.astype(np.int64)
    found = []
    for kind, count in SLOTS.items():
        for _ in range(count):
            weights, selects, lane_inputs = _random_tile(entry.packing, matrix, fan_in, rng)
            live = (weights != 0) == (kind == "used")
            row, column = rng.choice(np.argwhere(live))
            first = int(rng.integers(0, max(1, len(vectors) - STEPS + 1)))
            steps = vectors[first : first + STEPS]
            lanes = np.where(lane_inputs >= 0, steps[:, lane_inputs.clip(0)], 0)  # (steps, ROWS, F)
            picked = np.take_along_axis(lanes, selects[:, column].clip(0)[None, :, None], axis=2)[:, :, 0]
            sums = (picked * weights[:, column])[:, :row].sum(axis=1)
            # the array loads from below: first comes what the rows below held, then what ends up above
            order = np.r_[np.arange(row + 1, ROWS), np.arange(row + 1)]
            found.append(Slot(kind, weights[order, column], selects[order, column], lanes[:, row], sums))
    return found


def _random_tile(
    packing: Packing, matrix: Integers, fan_in: int, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers]:
    """A tile's weights (ROWS, C), selects (ROWS, C), -1 where empty, and the inputs of its lanes (ROWS, F), or -1."""
    sizes = np.array([np.count_nonzero(tile.select != EMPTY) for tile in packing.tiles])
    tile = packing.tiles[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
    top = ROWS - tile.lanes
    selects = np.full((ROWS, tile.columns), -1)
    selects[top:] = np.where(tile.select == EMPTY, -1, tile.select)
    lane_inputs = np.full((ROWS, fan_in), -1)
    counts = np.diff(tile.lane_starts)
    lane = np.repeat(np.arange(tile.lanes), counts)
    lane_inputs[top + lane, np.arange(len(tile.inputs)) - tile.lane_starts[lane]] = tile.inputs
    inputs = np.take_along_axis(lane_inputs, selects.clip(0), axis=1)
    weights = np.where(selects >= 0, matrix[tile.filters, inputs.clip(0)], 0)
    return weights, selects, lane_inputs


def picked(slot: Slot) -> Slot:
    """The same slot on a lane that carries only the input that it picks."""
    lane = slot.lane[:, [max(int(slot.selects[-1]), 0)]]
    return replace(slot, selects=np.minimum(slot.selects, 0), lane=lane)


def zero_share(slots: list[Slot]) -> float:
    """The share of the bytes that the used slots multiply that is 0."""
    used = np.concatenate([picked(slot).lane for slot in slots if slot.kind == "used"])
    return float(np.mean(used == 0))
