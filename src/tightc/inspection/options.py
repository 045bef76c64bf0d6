"""Options of inspect."""

from __future__ import annotations

from tightc.config.extent import ExtentOptions


class InspectOptions(ExtentOptions):
    """How large the inputs are, which decides how many vectors stream through each layer."""
