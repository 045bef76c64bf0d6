"""A model's layers in the format of SCALE-Sim 3, to check the dense cycles with another simulator."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count
from math import ceil, prod
from pathlib import Path

from tightc.config.input_sizes import InputSizeOptions
from tightc.files import make_folder, write_files_atomically
from tightc.model.file import Model
from tightc.model.layer_view.convolution_geometry import Sides, conv_geometry
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.onnx_proto.graph import Node, read_graph
from tightc.model.packings.packed_form import decode_layers
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.model.runtime.shapes import Shape, value_shapes
from tightc.names import file_stem
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import folds

_HEADER = "Layer name, IFMAP height, IFMAP width, Filter height, Filter width, Channels, Num filter, Strides,"

_CONFIG = """\
[general]
run_name = tightc

[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = {ifmap_kb}
FilterSramSzkB = {filter_kb}
OfmapSramSzkB = {ofmap_kb}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 32
WriteRequestBuffer = 32

[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2

[sparsity]
SparsitySupport = false

[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""

_README = """\
The dense layers of {origin} for SCALE-Sim 3.0.0 (pip install scalesim==3.0.0 'numpy<2'), on an array of {array},
dataflow {dataflow}. In this folder,

    python -m scalesim.scale -c scale.cfg -t topology.csv -l topology.csv -p results

writes results/tightc/COMPUTE_REPORT.csv, with a line for each line of topology.csv in the same order, and traces,
which are large for a large network. SCALE-Sim requires a layout (-l) but does not read it with this scale.cfg, so
topology.csv takes its place. It counts cycles from 0: "Total Cycles" + 1 is the dense cycles of tightc simulate. A name
that ends in _x and a number is one group of that many in a grouped convolution. One after the other, the groups take as
many times its cycles; tightc takes fewer where several groups share a pass.
"""


@dataclass(frozen=True)
class _Row:
    """A layer, or one group of it, in SCALE-Sim's form: an input with its padding and a kernel with one stride.

    `ifmap` and `kernel`: height and width in pixels.
    """

    ifmap: Sides
    kernel: Sides
    channels: int
    filters: int
    stride: int

    @property
    def inputs(self) -> int:
        """Inputs of a filter."""
        return prod(self.kernel) * self.channels

    @property
    def vectors(self) -> int:
        """Output pixels."""
        axes = zip(self.ifmap, self.kernel, strict=True)
        return prod((size - taps) // self.stride + 1 for size, taps in axes)

    def line(self, name: str) -> str:
        """The line of the topology, which must end in a comma."""
        cells = (name, *self.ifmap, *self.kernel, self.channels, self.filters, self.stride)
        return ", ".join(map(str, cells)) + ","


def export_scalesim(
    model: Model, folder: Path, array: ArrayShape, dataflow: str, input_sizes: InputSizeOptions
) -> tuple[Path, ...]:
    """Writes `topology.csv`, `scale.cfg` and `README` into `folder`, made if missing; returns their paths.

    One line for each layer of the plain model with inputs of `input_sizes`, in execution order, for `array` and
    `dataflow`. SCALE-Sim has no groups: a grouped layer is one line
    for one group, as all have the same shape, and its name ends in `_x` and their number. SCALE-Sim convolves over two
    axes with one stride. Other layers (dilation, unequal strides, other axes, several images, Gemm, MatMul) become the
    1x1 convolution with the same matrix and vectors. OutputError where a file cannot be written.
    """
    input_sizes, _ = resolve_open_sizes(model.proto, model.origin, input_sizes)
    rows = _rows(decode_layers(model)[0], input_sizes)
    topology = [_HEADER, *(row.line(name) for name, row in rows.items())]
    contents = {
        folder / "topology.csv": "\n".join((*topology, "")),
        folder / "scale.cfg": _config(rows.values(), array, dataflow),
        folder / "README": _README.format(origin=model.origin, array=array, dataflow=dataflow),
    }
    make_folder(folder)
    write_files_atomically({path: text.encode(errors="replace") for path, text in contents.items()})
    return tuple(contents)


def _rows(plain: Model, input_sizes: InputSizeOptions) -> dict[str, _Row]:
    """The lines of the topology by name, in execution order."""
    network = read_network(plain)
    vectors = count_macs(plain, network, input_sizes).vectors
    nodes = {node.outputs[0]: node for node in read_graph(plain.proto).nodes if node.outputs}
    inputs = {layer.output: nodes[layer.output].inputs[0] for layer in network.layers if layer.op == "Conv"}
    shapes = value_shapes(plain.proto, plain.origin, inputs.values(), input_sizes)
    rows: dict[str, _Row] = {}
    for layer in network.layers:
        row = None
        if layer.op == "Conv":
            weight = network.weights[layer.weight]
            row = _convolution(nodes[layer.output], shapes[inputs[layer.output]], weight.shape, layer.groups)
        rows[_name(layer, rows)] = row or _product(layer, vectors[layer.output])
    return rows


def _convolution(node: Node, data: Shape, weight: Shape, groups: int) -> _Row | None:
    """One group of a Conv; None where SCALE-Sim's form cannot express it.

    SCALE-Sim rounds the size of the output up and ONNX down, so the part of the input outside all windows is left out.
    """
    geometry = conv_geometry(node, data, weight)
    strides = set(geometry.strides)
    if data[0] != 1 or len(geometry.kernel) != 2 or len(strides) != 1 or set(geometry.dilations) != {1}:
        return None
    filters, channels, *_ = weight
    return _Row(geometry.used_sizes, geometry.kernel, channels, filters // groups, strides.pop())


def _product(layer: Layer, vectors: int) -> _Row:
    """One group of a layer as a 1x1 convolution: a pixel for each vector, a channel for each input."""
    return _Row((vectors, 1), (1, 1), layer.inputs, layer.filters // layer.groups, 1)


def _name(layer: Layer, taken: Collection[str]) -> str:
    """A name that is not in `taken`, without commas, and without DP, which marks a depthwise layer in SCALE-Sim."""
    safe = file_stem(layer.name).replace("DP", "dp")
    marked = layer.groups > 1 or re.search(r"_x\d+$", safe)
    groups = f"_x{layer.groups}" if marked else ""
    candidates = (f"{safe}{twin}{groups}" for twin in chain([""], (f"_{number}" for number in count(2))))
    return next(name for name in candidates if name not in taken)


def _config(rows: Collection[_Row], array: ArrayShape, dataflow: str) -> str:
    """The text of scale.cfg, with buffers that hold every layer twice, so that they never stall."""
    return _CONFIG.format(
        rows=array.rows,
        columns=array.columns,
        dataflow=dataflow,
        ifmap_kb=_kilobytes(max(prod(row.ifmap) * row.channels for row in rows)),
        filter_kb=_kilobytes(max(row.inputs * row.filters for row in rows)),
        ofmap_kb=_kilobytes(max(row.vectors * row.filters * folds(row.inputs, array.rows) for row in rows)),
    )


def _kilobytes(words: int) -> int:
    """The size of a buffer with an active half of `words` bytes; SCALE-Sim cuts it into a hundred equal sets."""
    return ceil((2 * words + 100) / 1024)
