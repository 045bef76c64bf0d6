"""The engine's operands and results during verify, against onnxruntime."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.layer_forms import mobile_block
from helpers.loading import loaded
from helpers.verifying import ARRAY, check_outputs, permuted
from tightc.cli.main import run
from tightc.errors import DataError
from tightc.model.file import load_model
from tightc.simulation.engine.run import EngineResult
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("make", [models.cnn, mobile_block, models.grouped])
def test_the_engines_outputs_are_those_of_onnxruntime(
    make: Callable[[], onnx.ModelProto], tight: bool, seen: list[tuple[str, EngineResult]], tmp_path: Path
) -> None:
    proto = make()
    feeds = models.feeds(proto, batch=2)
    np.savez(tmp_path / "in.npz", **feeds)
    model = permuted(loaded(proto)) if tight else loaded(proto)
    simulate(model, SimulateOptions(array=ARRAY, batch=2, inputs=str(tmp_path / "in.npz")))
    check_outputs(proto, feeds, seen)


# --- inputs from a file


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape or (1, 3, 8, 8)).astype(dtype)


def errors_of(**options: object) -> list[float]:
    report = simulate(load_model("net.onnx"), SimulateOptions(array=ARRAY, **options))
    assert report.totals["verified_layers"] == 3
    return [row["value_error"] for row in report.layers]


def test_inputs_are_what_the_engine_gets(place: Path, seen: list[tuple[str, EngineResult]]) -> None:
    np.savez("in.npz", image=image())
    errors_of(inputs="in.npz")
    check_outputs(models.cnn(), {"image": image()}, seen)
    assert errors_of(inputs="in.npz") == errors_of(inputs="in.npz", verify=True) != errors_of(verify=True)


def test_inputs_of_another_dtype_and_more_arrays_than_needed(place: Path) -> None:
    np.savez("in.npz", image=image())
    np.savez_compressed("more.npz", image=image().astype(np.float64), label=np.zeros(3))
    assert errors_of(inputs="in.npz") == errors_of(inputs="more.npz")


def test_inputs_of_a_batch_need_the_flag(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("in.npz", image=image(2, 3, 8, 8))
    assert run(["simulate", "net.onnx", "--inputs", "in.npz", "--batch", "2", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    assert capsys.readouterr() == (
        "",
        "tightc: error: in.npz: expected 1x3x8x8 for image, got 2x3x8x8; correct the array, or give --batch\n",
    )


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"picture": image()}, "in.npz: expected an array for input image, got picture; add image"),
        ({}, "in.npz: expected an array for input image, got nothing; add image"),
        (
            {"image": image(1, 3, 8, 9)},
            "in.npz: expected 1x3x8x8 for image, got 1x3x8x9; correct the array, or give --batch",
        ),
        (
            {"image": image(3, 8, 8)},
            "in.npz: expected 1x3x8x8 for image, got 3x8x8; correct the array, or give --batch",
        ),
        (
            {"image": np.full((1, 3, 8, 8), None)},
            "in.npz: expected a .npz file of plain arrays, got another or a corrupt file "
            "(an array of Python objects); save arrays of numbers with numpy.savez",
        ),
    ],
)
def test_arrays_that_do_not_fit(
    place: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez("in.npz", **arrays)
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    assert capsys.readouterr() == ("", f"tightc: error: {words}\n")


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, image())
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image=image())
    return stream.getvalue()


def flipped() -> bytes:
    content = bytearray(npz())
    content[400] ^= 255
    return bytes(content)


def texts() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image=np.full((1, 3, 8, 8), "abc"))
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("image", "hello")
    return stream.getvalue()


FILES = {
    "a text": b"hello",
    "an .npy": npy(),
    "empty": b"",
    "half an .npz": npz()[:200],
    "a truncated .npz": npz()[:-50],
    "a flipped bit": flipped(),
    "an array of texts": texts(),
    "a zip of something else": zipped(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_files_that_are_no_npz(place: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    Path("in.npz").write_bytes(content)
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"tightc: error: in\.npz: [^\n]+; [^\n]+\n", err)


def test_a_file_that_is_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "net.onnx", "--inputs", "no.npz"]) == 2
    assert capsys.readouterr() == (
        "",
        "tightc: error: no.npz: cannot be read as .npz ([Errno 2] No such file or directory: 'no.npz'); "
        "write it with numpy.savez\n",
    )


def test_a_number_in_place_of_an_array(place: Path) -> None:
    np.savez("in.npz", image=np.float32(3))
    with pytest.raises(DataError) as caught:
        errors_of(inputs="in.npz")
    assert not caught.value.sentence.startswith("in.npz: image is ,")


def test_inputs_that_are_no_numbers(place: Path) -> None:
    np.savez("in.npz", image=np.full((1, 3, 8, 8), np.nan))
    with pytest.raises(DataError):
        errors_of(inputs="in.npz")
