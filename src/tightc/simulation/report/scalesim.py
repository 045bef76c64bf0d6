"""A model's layers in the format of SCALE-Sim 3, to check the cycles with another simulator."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import ceil, prod
from pathlib import Path

from tightc.config.input_sizes import InputSizeOptions
from tightc.files import make_folder, write_files_atomically
from tightc.model.file import Model
from tightc.simulation.report.exported_layers import ExportedLayer, LayerShape, exported_layers
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

_PASSES = """\

passes.csv has the packed network. In place of the line of a packed layer, it has one for each pass, LAYER_pass_NUMBER:
the matrix product of as many inputs as lanes and as many filters as columns. Other lines are those of topology.csv.

    python -m scalesim.scale -c scale.cfg -t passes.csv -l passes.csv -p results-passes

The sum of "Total Cycles" + 1 over a layer's passes is its cycles on ideal hardware. SCALE-Sim knows no multiplexers: a
lane has one input here where it may carry several, so the reads and the energy of passes are not those of the packed
network, and the addition of a filter's parts is left out.
"""


def export_scalesim(
    model: Model, folder: Path, array: ArrayShape, dataflow: str, input_sizes: InputSizeOptions
) -> tuple[Path, ...]:
    """Writes `topology.csv`, `scale.cfg` and `README` into `folder`, made if missing; returns their paths.

    One line for each layer of the plain model with inputs of `input_sizes`, in execution order, for `array` and
    `dataflow`; SCALE-Sim has no groups, and convolves over two axes with one stride (see `exported_layers`). Where
    layers are packed, `passes.csv` has a line for each of their passes. OutputError where a file cannot be written.
    """
    layers = exported_layers(model, input_sizes)
    dense = {layer.name: layer.dense for layer in layers}
    passes = dict(_passes(layers))
    readme = _README.format(origin=model.origin, array=array, dataflow=dataflow)
    contents = {
        folder / "topology.csv": _topology(dense),
        folder / "scale.cfg": _config([*dense.values(), *passes.values()], array, dataflow),
        folder / "README": readme,
    }
    if any(layer.passes is not None for layer in layers):
        contents[folder / "README"] += _PASSES
        contents[folder / "passes.csv"] = _topology(passes)
    make_folder(folder)
    write_files_atomically({path: text.encode(errors="replace") for path, text in contents.items()})
    return tuple(contents)


def _passes(layers: Collection[ExportedLayer]) -> Iterator[tuple[str, LayerShape]]:
    """Name and shape of each pass of the packed layers, and of the others as they are."""
    for layer in layers:
        if layer.passes is None:
            yield layer.name, layer.dense
        for number, shape in enumerate(layer.passes or ()):
            yield f"{layer.name}_pass_{number}", shape


def _topology(shapes: Mapping[str, LayerShape]) -> str:
    """A line for each of `shapes`, which must end in a comma."""
    lines = [_HEADER]
    for name, shape in shapes.items():
        cells = (name, *shape.ifmap, *shape.kernel, shape.channels, shape.filters, shape.stride)
        lines.append(", ".join(map(str, cells)) + ",")
    return "\n".join((*lines, ""))


def _config(rows: Collection[LayerShape], array: ArrayShape, dataflow: str) -> str:
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
