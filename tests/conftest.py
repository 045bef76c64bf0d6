"""What every test gets: an empty folder to work in that must be empty again afterwards, and the shared files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from helpers import models

settings.register_profile(
    "tightc", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("tightc")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kernel: also runs with NUMBA_DISABLE_JIT=1, on tiny sizes")
    set_hypothesis_home_dir(config.rootpath / ".hypothesis")
    # a job in the background, as CI may be, ignores Ctrl-C, and so would the commands that tests start and interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("COLUMNS", None)  # workers of xdist have it, and tables would fold


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what tests/slow.txt lists; scripts/list_slow_tests.py writes it."""
    here = Path(__file__).parent
    slow = set((here / "slow.txt").read_text(encoding="utf-8").split())
    for item in items:
        file = item.path.relative_to(here).as_posix()
        if f"{file}::{item.name.partition('[')[0]}" in slow:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def no_litter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs each test in an empty folder of its own, which it has to leave empty."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("cwd")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
    left = sorted(path.name for path in folder.iterdir())
    assert not left, f"the test left {', '.join(left)} in the working directory"


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Path:
    """The folder of real models and data beside the project."""
    folder = pytestconfig.rootpath.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("needs ../shared with real models, which is not here")
    return folder


@pytest.fixture(scope="session")
def resnet20(shared: Path) -> Path:
    """The trained ResNet-20 with BatchNorm folded."""
    return shared / "models" / "resnet20-cifar10.onnx"


@pytest.fixture
def cnn_proto() -> onnx.ModelProto:
    """Two convolutions and a Gemm, symbolic batch."""
    return models.cnn()


@pytest.fixture
def cnn_path(tmp_path: Path, cnn_proto: onnx.ModelProto) -> Path:
    """The same as a file."""
    return models.save(cnn_proto, tmp_path / "cnn.onnx")
