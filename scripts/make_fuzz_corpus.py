"""Writes tests/fuzzing/corpus: a small valid input of each kind, from which fuzzing starts.

    python scripts/make_fuzz_corpus.py

The models carry no digests: with them, nearly every change would end at the first check.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import tightc

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "fuzzing" / "corpus"
ARRAY = "4x4"
SCHEDULE = {"moves_per_weight": 5, "steps": 2}


def network() -> onnx.ModelProto:
    """A convolution and a Gemm on images of 1x8x8, 3 classes."""
    rng = np.random.default_rng(0)
    weights = {"w": (4, 1, 3, 3), "v": (4, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "v"], ["y"], name="gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def models() -> dict[str, onnx.ModelProto]:
    """The network in each form, without digests."""
    plain = tightc.Model(network(), "plain.onnx")
    pruned = tightc.prune(plain, sparsity=0.5).model
    permuted = tightc.permute(pruned, array=ARRAY, fan_in=2, temp_schedule=SCHEDULE, jobs=1).model
    subwords = tightc.permute(
        tightc.quantize(pruned).model, array=ARRAY, subword_bits=4, temp_schedule=SCHEDULE, jobs=1
    ).model
    forms = {"plain": plain, "permuted": permuted, "packed": tightc.pack(permuted).model}
    forms["subwords"] = tightc.pack(subwords).model
    return {name: _without_digests(model.copy_proto()) for name, model in forms.items()}


def _without_digests(proto: onnx.ModelProto) -> onnx.ModelProto:
    entries = {entry.key: entry.value for entry in proto.metadata_props if entry.key != "tightc.digests"}
    if "tightc.packings" in entries:
        record = json.loads(entries["tightc.packings"])
        for header in record["weights"].values():
            header.pop("digest", None)
        entries["tightc.packings"] = json.dumps(record, separators=(",", ":"))
    del proto.metadata_props[:]
    helper.set_model_props(proto, entries)
    return proto


def pixels(count: int) -> np.ndarray:
    """Random images of 8x8."""
    return np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), np.uint8)


def images() -> dict[str, bytes]:
    """A file of each format of images, by its ending."""
    formats = {
        "png": "png",
        "jpg": "jpeg",
        "gif": "gif",
        "bmp": "bmp",
        "tif": "tiff",
        "webp": "webp",
        "ppm": "ppm",
    }
    found = {}
    for ending, form in formats.items():
        stream = io.BytesIO()
        Image.fromarray(pixels(1)[0, 0]).save(stream, form)
        found[f"i.{ending}"] = stream.getvalue()
    return found


def archives() -> dict[str, dict[str, bytes]]:
    """Data files, by the reader that takes them."""
    tar, stored, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    png = images()["i.png"]
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a/0.png", f"b/{'long' * 30}/é.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png)
            archive.addfile(member, io.BytesIO(png))
    np.savez(stored, x=pixels(2), y=np.array([0, 1], np.uint8))
    np.savez_compressed(packed, x=np.zeros((1, 1, 8, 8), np.float32), y=np.zeros((1, 1), np.int64))
    batch = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0], b"filenames": [b"a.png"]}
    idx = struct.pack(">BBBB3I", 0, 0, 8, 3, 1, 8, 8) + pixels(1).tobytes()
    return {
        "npz": {"stored.npz": stored.getvalue(), "packed.npz": packed.getvalue()},
        "tar": {"set.tar": tar.getvalue(), "set.tar.gz": gzip.compress(tar.getvalue(), mtime=0)},
        "idx": {"images.gz": gzip.compress(idx, mtime=0)},
        "pickle": {"batch2": pickle.dumps(batch, 2), "batch4": pickle.dumps(batch, 4)},
    }


def main() -> None:
    """Writes all files."""
    files: dict[str, dict[str, bytes]] = {"image": images(), **archives()}
    forms = models()
    files["onnx"] = {f"{name}.onnx": proto.SerializeToString() for name, proto in forms.items()}
    entries = list(forms["permuted"].metadata_props)
    files["metadata"] = {entry.key: bytes([i]) + entry.value.encode() for i, entry in enumerate(entries)}
    record = next(entry for entry in forms["packed"].metadata_props if entry.key == "tightc.packings")
    files["header"] = {"packings.json": record.value.encode()}
    tensors = [tensor for tensor in forms["packed"].graph.initializer if "." in tensor.name]
    files["packed"] = {t.name: bytes([i, 255]) + t.raw_data for i, t in enumerate(tensors)}
    recipe = 'model: m.onnx\nseed: 1\nstages:\n- &p {prune: {sparsity: 0.5}}\n- permute: {array: "4x4", fan_in: 2}\n'
    files["yaml"] = {
        "recipe.yaml": recipe.encode(),
        "schedule.yaml": b"t_start: 1e-1\nt_end: 0.05\nsteps: 7\n",
        "hardware.yaml": (ROOT / "configs" / "hardware" / "edge-32x32.yaml").read_bytes(),
    }
    for folder, contents in files.items():
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (CORPUS / folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
