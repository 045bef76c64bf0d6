"""A model's layers, and the passes of packed ones, as problems of Timeloop (format 0.4), a mapper for accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tightc.config.input_sizes import InputSizeOptions
from tightc.files import make_folder, write_files_atomically
from tightc.model.file import Model
from tightc.simulation.report.exported_layers import ExportedLayer, LayerShape, exported_layers

_CONVOLUTION = """\
problem:
  version: 0.4
  shape:
    name: convolution
    dimensions: [C, M, R, S, N, P, Q]
    coefficients:
    - {{name: Wstride, default: 1}}
    - {{name: Hstride, default: 1}}
    data_spaces:
    - name: Weights
      projection:
      - [[C]]
      - [[M]]
      - [[R]]
      - [[S]]
    - name: Inputs
      projection:
      - [[N]]
      - [[C]]
      - [[R], [P, Wstride]]
      - [[S], [Q, Hstride]]
    - name: Outputs
      projection:
      - [[N]]
      - [[M]]
      - [[Q]]
      - [[P]]
      read_write: true
  instance: {{C: {c}, M: {m}, R: {r}, S: {s}, N: 1, P: {p}, Q: {q}, Wstride: {stride}, Hstride: {stride}}}
"""
_PRODUCT = """\
problem:
  version: 0.4
  shape:
    name: product
    dimensions: [M, N, K]
    data_spaces:
    - name: Inputs
      projection:
      - [[M]]
      - [[K]]
    - name: Weights
      projection:
      - [[K]]
      - [[N]]
    - name: Outputs
      projection:
      - [[M]]
      - [[N]]
      read_write: true
  instance: {{M: {vectors}, N: {filters}, K: {inputs}}}
"""
_README = """\
The layers of {origin} as problems of Timeloop, format 0.4. LAYER.yaml is a dense layer: a convolution, or the product
of M vectors, N filters and K inputs. A name that ends in _x and a number is one group of that many in a grouped
convolution.

LAYER_pass_NUMBER.yaml is a pass of a packed layer, as the product of its M vectors, N columns and K lanes. Passes of
the same shape have one file, with the number of the first, which says how many they are. Timeloop knows no
multiplexers: a lane has one input here where it may carry several, so the reads of inputs are not those of the packed
network, and the addition of a filter's parts is left out.
"""


def export_timeloop(model: Model, folder: Path, input_sizes: InputSizeOptions) -> tuple[Path, ...]:
    """Writes a problem for each layer, and for each shape among the passes of packed ones; returns their paths.

    `folder` is made if missing, and gets a README too. OutputError where a file cannot be written.
    """
    contents = {folder / "README": _README.format(origin=model.origin)}
    for layer in exported_layers(model, input_sizes):
        contents[folder / f"{layer.name}.yaml"] = _problem(layer.dense)
        contents |= {folder / f"{name}.yaml": text for name, text in _passes(layer)}
    make_folder(folder)
    write_files_atomically({path: text.encode(errors="replace") for path, text in contents.items()})
    return tuple(contents)


def _passes(layer: ExportedLayer) -> Iterator[tuple[str, str]]:
    """Name and problem of each shape among the passes of `layer`."""
    numbers: dict[LayerShape, list[int]] = {}
    for number, shape in enumerate(layer.passes or ()):
        numbers.setdefault(shape, []).append(number)
    for shape, same in numbers.items():
        comment = f"# passes of {layer.name} with this shape: {len(same)}\n"
        yield f"{layer.name}_pass_{same[0]}", comment + _problem(shape)


def _problem(shape: LayerShape) -> str:
    if shape.kernel == (1, 1) and shape.stride == 1:
        return _PRODUCT.format(vectors=shape.vectors, filters=shape.filters, inputs=shape.inputs)
    (s, r), (q, p) = shape.kernel, shape.ofmap
    return _CONVOLUTION.format(c=shape.channels, m=shape.filters, r=r, s=s, p=p, q=q, stride=shape.stride)
