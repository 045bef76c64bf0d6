"""Files of other formats, and URLs, in place of a model: refused with the line that converts or downloads them."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

import tightc
from helpers import models
from tightc.cli.main import run
from tightc.errors import ModelError

EXPORT = 'torch.onnx.export(model.eval(), (torch.randn(1, 3, 224, 224),), "net.onnx")'


class Trap:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("it was unpickled",)


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps(Trap()) if name.endswith(".pkl") else b"x" * 100)
    return stream.getvalue()


SAFETENSORS = struct.pack("<Q", 20) + b'{"fc.weight":{"x":1}' + bytes(64)
CONTENTS = [
    ("net.pt", zipped("net/data.pkl", "net/data/0"), "a file of torch.save", EXPORT),
    ("net.pth", zipped("net/code/x.py", "net/constants.pkl"), "a file of torch.save", EXPORT),
    ("net.pth", pickle.dumps(Trap(), protocol=2), "a file of torch.save", EXPORT),
    ("net.pt", b"what is left of it", "a file of torch.save", EXPORT),
    (
        "net.pt2",
        zipped("net/archive_format", "net/data.pkl"),
        "a program of torch.export",
        'torch.onnx.export(torch.export.load("net.pt2"), f="net.onnx")',
    ),
    ("net.safetensors", SAFETENSORS, "weights as safetensors", EXPORT),
    (
        "net.keras",
        zipped("metadata.json", "config.json", "model.weights.h5"),
        "a Keras model",
        'keras.saving.load_model("net.keras").export("net.onnx", format="onnx")',
    ),
    ("net.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "a Keras model", 'load_model("net.h5").export("net.onnx"'),
    (
        "net.tflite",
        b"\x1c\0\0\0TFL3" + bytes(99),
        "a TFLite model",
        "python -m tf2onnx.convert --tflite net.tflite --output net.onnx",
    ),
    (
        "net.pb",
        b"\n\x0e\n\x05input\x12\x05Const" + bytes(20),
        "a TensorFlow graph",
        "python -m tf2onnx.convert --graphdef net.pb --inputs NAME:0 --outputs NAME:0 --output net.onnx",
    ),
    ("net.ort", b"\x1c\0\0\0ORTM" + bytes(99), "a model in the format of onnxruntime", "give the .onnx file"),
    ("net.onnx", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
    ("net.onnx", b"\n<!DOCTYPE html><html>", "a web page", "download the file itself"),
    ("net.onnx", gzip.compress(b"x" * 99, mtime=0), "a gzip file", "gunzip"),
    ("net.onnx", zipped("model.onnx"), "a zip file", "unzip"),
]


@pytest.mark.parametrize(("name", "content", "what", "line"), CONTENTS)
def test_another_format_is_named_with_the_line_that_converts_it(
    name: str, content: bytes, what: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        tightc.load(name)
    assert caught.value.sentence == f"{name}: not an ONNX model, but {what}"
    assert line in caught.value.remedy


@pytest.mark.parametrize(("name", "content", "what", "_line"), CONTENTS)
def test_the_content_says_it_where_the_name_does_not(
    name: str, content: bytes, what: str, _line: str
) -> None:
    if name in ("net.pb",) or content.startswith(b"what"):
        return  # nothing in it tells the format
    with pytest.raises(ModelError) as caught:
        tightc.load(content)
    assert caught.value.sentence == f"<bytes>: not an ONNX model, but {what}"


def test_a_converted_file_gets_another_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(zipped("net/data.pkl"))
    with pytest.raises(ModelError, match=r'"exported\.onnx"'):
        tightc.load(tmp_path / "net.onnx")


def test_files_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(2, 2)
    torch.save(network.state_dict(), tmp_path / "state")
    torch.save(network.state_dict(), tmp_path / "old", _use_new_zipfile_serialization=False)
    for name in ("state", "old"):
        with pytest.raises(ModelError, match=r"but a file of torch\.save; .*torch\.onnx\.export\("):
            tightc.load(tmp_path / name)
    torch.export.save(torch.export.export(network, (torch.zeros(1, 2),)), tmp_path / "program.pt2")
    with pytest.raises(ModelError, match=r"but a program of torch\.export"):
        tightc.load(tmp_path / "program.pt2")


def test_the_export_of_the_page_leaves_the_batch_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxscript the first half of the export is tried: the program with its dynamic shapes."""
    torch = pytest.importorskip("torch")
    page = (Path(__file__).parents[3] / "docs" / "models-and-data.md").read_text()
    (block,) = re.findall(r"```python\n(import torch\n[^`]*torch\.onnx\.export[^`]*)```", page)
    programs = []

    def export(model: Any, example: Any, path: str, *, dynamic_shapes: Any, optimize: bool) -> None:
        assert path == "model.onnx" and not optimize  # it would fold normalizations
        programs.append(torch.export.export(model, example, dynamic_shapes=dynamic_shapes))

    monkeypatch.setattr(torch.onnx, "export", export)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    exec(block, {"model": network})
    assert programs[0].module()(torch.zeros(5, 3, 224, 224)).shape == (5, 2)


def test_an_onnx_model_may_have_any_name(tmp_path: Path) -> None:
    models.save(models.cnn(), tmp_path / "net.pt")
    assert tightc.load(tmp_path / "net.pt").origin.endswith("net.pt")


def test_a_saved_model_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        tightc.load(tmp_path)
    assert caught.value.sentence == f"{tmp_path}: not an ONNX model, but a SavedModel of TensorFlow"
    assert f"tf2onnx.convert --saved-model {tmp_path} --output" in caught.value.remedy


def test_a_truncated_model_is_still_called_so(tmp_path: Path) -> None:
    content = models.cnn().SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="not an ONNX model, or a truncated one"):
        tightc.load(tmp_path / "net.onnx")


URLS = [
    ("hf://owner/name/onnx/model.onnx", "(hf download owner/name onnx/model.onnx --local-dir .)"),
    ("hf://owner", "(hf download OWNER/NAME FILE --local-dir .)"),
    ("https://example.org/a/net.onnx", "(curl -L -o net.onnx https://example.org/a/net.onnx)"),
    (
        "https://huggingface.co/o/n/blob/main/net.onnx",
        "(curl -L -o net.onnx https://huggingface.co/o/n/resolve/main/net.onnx)",
    ),
    ("s3://bucket/net.onnx", "(aws s3 cp s3://bucket/net.onnx .)"),
    ("gs://bucket/net.onnx", "(gcloud storage cp gs://bucket/net.onnx .)"),
]


@pytest.mark.parametrize(("url", "command"), URLS)
def test_urls_are_refused_with_the_command_that_downloads(
    url: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", url]) == 2
    sentence = f"tightc: error: {url}: URLs are not supported; download it first {command}, and give the path"
    assert capsys.readouterr().err.startswith(sentence)


def test_a_url_of_a_file_is_answered_with_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "file:///data/net.onnx"]) == 2
    sentence = "file:///data/net.onnx: URLs are not supported; leave out file:// and give /data/net.onnx"
    assert capsys.readouterr().err == f"tightc: error: {sentence}\n"


def test_urls_of_data_and_in_recipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tightc.examples() / "digits.onnx")
    assert run(["evaluate", model, "--data", "https://example.org/photos.tar"]) == 2
    assert "https://example.org/photos.tar: URLs are not supported" in capsys.readouterr().err
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: hf://owner/name/net.onnx\nstages: [{prune: {sparsity: 0.5}}]\n")
    assert run(["run", str(recipe), "-o", str(tmp_path / "out")]) == 2
    assert "hf://owner/name/net.onnx: URLs are not supported" in capsys.readouterr().err
    recipe.write_text(
        f"model: {model}\ndata: {{data: 's3://b/x.npz'}}\nstages: [{{prune: {{sparsity: 0.5}}}}]\n"
    )
    assert run(["run", str(recipe), "-o", str(tmp_path / "out")]) == 2
    assert "s3://b/x.npz: URLs are not supported" in capsys.readouterr().err


def test_a_path_that_reads_like_a_url_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "hf:"
    folder.mkdir()
    models.save(models.cnn(), folder / "net.onnx")
    assert tightc.load("hf://net.onnx").origin == "hf:/net.onnx"
    with pytest.raises(ModelError, match="no such file"):
        tightc.load("c:/net.onnx")
