"""The note that packed layers wait so long for the banks of the activation buffer that dense ones are faster."""

from __future__ import annotations

from collections.abc import Sequence

from tightc.report import join_names


def bank_note(slower: Sequence[str]) -> tuple[str, ...]:
    """The note on the layers that take more cycles than dense; none where there are none."""
    if not slower:
        return ()
    return (
        f"{join_names(slower)}: more cycles than dense, since tiles wait for the banks of the activation buffer; "
        "permute by tight with --objective cycles on this hardware",
    )
