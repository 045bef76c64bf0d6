"""Flags of permute that reach beyond one thread and beyond all patience."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import models
from tightc.cli.main import run
from tightc.permutation.options import PermuteOptions


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert run(["permute", "net.onnx", "-o", "out.onnx", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tightc: error: ") and err.count("\n") == 1
    assert not Path("out.onnx").exists()
    return err.removeprefix("tightc: error: ").rstrip("\n")


@pytest.mark.parametrize(
    "address",
    ["", " ", "host", "host:", "host:port", "tcp://", "tcp://host", "tcp://:8786", "http://host:8786", "host:0",
     "host:65536", "host:99999999", "tcp://a b:8786", "tcp://host:8786/", "tcp://[::1:8786", "inproc://1/2:3"],
)  # fmt: skip
def test_an_address_without_form_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert refused(capsys, "--dask", address) == (
        f"--dask: expected {PermuteOptions.model_fields['dask'].description}, got {address!r}; "
        "give an address with its port, such as tcp://host:8786"
    )


@pytest.mark.parametrize(
    "address", ["host:8786", "tcp://10.0.0.1:1", "tls://h-1.example:65535", "[::1]:8786"]
)
def test_dask_that_is_not_installed_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert refused(capsys, "--dask", address) == (
        f"--dask {address}: dask.distributed is not installed; pip install 'tightc[dask]'"
    )


@pytest.mark.parametrize("text", ["0", "0s", "-1s", "soon", "", "1d", "nan", "inf", "1e999s"])
def test_a_time_limit_without_sense_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    description = PermuteOptions.model_fields["time_limit"].description or ""
    assert refused(capsys, "--time-limit", text) == (
        f"--time-limit: expected {description.partition(';')[0]}, got {text!r}; "
        "give a time above 0, such as 30s, 5m or 1.5h"
    )


def test_dask_is_imported_only_when_asked_for(place: Path) -> None:
    script = (
        "import sys, tightc\nfrom tightc.cli.main import run\n"
        "for arguments in (['--help'], ['permute', '--help'], ['permute', 'net.onnx', '-q', '-o', 'out.onnx']):\n"
        "    assert run(arguments) == 0\n"
        "    assert not {'dask', 'distributed', 'tornado'} & set(sys.modules), arguments\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
