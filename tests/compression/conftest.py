"""A folder with a trained network and its data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import quadrants


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quadrants")
    quadrants.write(folder)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `net.onnx` and `data.npz`."""
    for file in trained.iterdir():
        shutil.copy(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
