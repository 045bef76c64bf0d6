"""Fixtures of the tests of verify."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tightc.simulation import verify as verify_module
from tightc.simulation.engine.run import EngineResult


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, EngineResult]]]:
    """(layer, engine result), two for each layer: floats and int8."""
    found: list[tuple[str, EngineResult]] = []
    own = verify_module._run

    def looking(workload, *rest, **traces):  # type: ignore[no-untyped-def]
        found.append((workload.layer.name, own(workload, *rest, **traces)))
        return found[-1][1]

    monkeypatch.setattr(verify_module, "_run", looking)
    yield found
