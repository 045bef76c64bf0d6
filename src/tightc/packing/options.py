"""Options of pack."""

from __future__ import annotations

from pydantic import Field

from tightc.config.options import Options


class PackOptions(Options):
    """What the packed model contains besides its packed layers."""

    strip: bool = Field(
        False,
        description="remove exporter notes, value shapes, default attributes and inner names: on or off",
    )
