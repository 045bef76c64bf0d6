"""Readers of input as functions of bytes: each returns, or raises a TightcError; anything else is a finding.

Shared by the tests and by scripts/fuzz.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import InputSpec
from tightc.config.options import Options
from tightc.config.yaml import parse_options
from tightc.data.image_files import ImageFile, decode_images
from tightc.data.source import open_data
from tightc.errors import TightcError
from tightc.model.file import load_model_bytes
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import is_packed, unpack_layers
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.recipe.recipe import Recipe

CORPUS = Path(__file__).parents[1] / "fuzzing" / "corpus"
_PICTURE = (InputSpec("x", "float32", (None, 1, 8, 8)),)
_LARGEST = 2**16  # what is larger only takes time


def read_onnx(content: bytes) -> None:
    """A model, with all that the stages read from it first."""
    model = load_model_bytes(content, "fuzzed.onnx")
    read_history(model)
    if is_packed(model):
        unpack_layers(model)
    else:
        matching_packings(model, read_network(model))


@cache
def _model(name: str) -> bytes:
    return (CORPUS / "onnx" / name).read_bytes()


def read_metadata(content: bytes) -> None:
    """The metadata of a permuted model: the first byte says which, the others are its text."""
    proto = onnx.ModelProto.FromString(_model("permuted.onnx"))
    entries = list(proto.metadata_props)
    entries[content[0] % len(entries)].value = content[1:].decode(errors="replace")
    read_onnx(proto.SerializeToString())


def read_packed(content: bytes) -> None:
    """A tensor of a packed model: the first byte says which, the second its type, the others its values."""
    proto = onnx.ModelProto.FromString(_model("packed.onnx"))
    packed = [tensor for tensor in proto.graph.initializer if "." in tensor.name]
    tensor = packed[content[0] % len(packed)]
    kinds = (onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT)
    kind = tensor.data_type if content[1] > 9 else kinds[content[1] % len(kinds)]
    size = onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
    values = content[2 : 2 + (len(content) - 2) // size * size]
    tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, kind, [len(values) // size], values, raw=True))
    read_onnx(proto.SerializeToString())


def read_header(content: bytes) -> None:
    """The headers of a packed model: all of its record of packings."""
    proto = onnx.ModelProto.FromString(_model("packed.onnx"))
    record = next(entry for entry in proto.metadata_props if entry.key == "tightc.packings")
    record.value = content.decode(errors="replace")
    read_onnx(proto.SerializeToString())


def read_yaml(content: bytes) -> None:
    """A YAML file, as each kind of options."""
    text = content.decode(errors="replace")
    kinds: tuple[type[Options], ...] = (Recipe, TemperatureSchedule, Hardware, EnergyTable)
    refusals = []
    for kind in kinds:
        try:
            parse_options(text, "fuzzed.yaml", kind, Path("/nowhere"))
        except TightcError as refusal:
            refusals.append(refusal)
    if len(refusals) == len(kinds):
        raise refusals[0]


def read_image(content: bytes) -> None:
    """An image file."""
    file = ImageFile("a/0.png", content, "fuzzed.png")
    decode_images([file], "test", ImageShape(3), "fuzzed")


def _read_file(name: str, **others: bytes) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        with TemporaryDirectory() as folder:
            for other, fixed in others.items():
                Path(folder, other.replace("_", "-")).write_bytes(fixed)
            path = Path(folder, name)
            path.write_bytes(content)
            source = path.parent if name == "test_batch" else path
            spec = (InputSpec("x", "float32", (None, 3, 32, 32)),) if name == "test_batch" else _PICTURE
            open_data(str(source), "test", spec)

    return read


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "onnx": read_onnx,
    "metadata": read_metadata,
    "header": read_header,
    "packed": read_packed,
    "yaml": read_yaml,
    "image": read_image,
    "npz": _read_file("set.npz"),
    "tar": _read_file("set.tar"),
    "idx": _read_file("t10k-images-idx3-ubyte.gz", t10k_labels_idx1_ubyte=b"\0\0\x08\1\0\0\0\1\0"),
    "pickle": _read_file("test_batch"),
}


def run_target(name: str, content: bytes) -> bool:
    """Whether the reader took `content`; anything but a TightcError is raised."""
    if len(content) > _LARGEST or (name in ("metadata", "packed") and len(content) < 2):
        return False
    try:
        TARGETS[name](content)
    except TightcError:
        return False
    return True
