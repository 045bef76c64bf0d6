"""Options of pack."""

from __future__ import annotations

from pydantic import Field

from tightc.config.options import Options


class PackOptions(Options):
    """What of the model is written besides its packed layers."""

    strip: bool = Field(
        False,
        description="leave out what only people read: notes of the exporter on nodes and values, shapes between nodes, "
        "names of values and tensors (those of layers, inputs and outputs stay; unpack does not bring them back), "
        "settings that are the default: on or off",
    )
