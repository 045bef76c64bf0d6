"""Networks of the zoo, each exported once a session; the long tests run where `-m` names their marker alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.zoo.families import Form, export

Exported = Callable[[str, Form], Path]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests with the marker `zoo` unless the command asks for them."""
    if "zoo" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("zoo")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("zoo")]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The ONNX file of a family in a form."""
    folder = tmp_path_factory.mktemp("zoo")

    def file_of(name: str, form: Form) -> Path:
        path = folder / f"{name}-{form}.onnx"
        return path if path.exists() else export(name, form, path)

    return file_of
