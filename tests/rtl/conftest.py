"""Leaves out what `make rtl-test` runs, where `-m` does not name its marker."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests with the marker `rtl` unless the command asks for them."""
    if "rtl" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("rtl")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("rtl")]
