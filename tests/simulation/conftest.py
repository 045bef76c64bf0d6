"""What the tests of verify share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tightc.simulation import verify as verify_module
from tightc.simulation.engine.run import Ran


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Ran]]]:
    """(layer, what the engine ran), two of each layer: floats and int8."""
    found: list[tuple[str, Ran]] = []
    own = verify_module._run

    def looking(entry, *rest):  # type: ignore[no-untyped-def]
        found.append((entry.layer.name, own(entry, *rest)))
        return found[-1][1]

    monkeypatch.setattr(verify_module, "_run", looking)
    yield found
