"""Writes charts: the suffix of the file says as what."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tightc.errors import OptionError
from tightc.files import check_writable, write_file_atomically
from tightc.plots.style import load_altair, styled

if TYPE_CHECKING:
    import altair

SUFFIXES = (".svg", ".png", ".pdf")
_PIXELS_PER_INCH = 144


def check_plot(path: Path) -> None:
    """Raises before any work what `save_chart` would: OptionError for the suffix or without Altair, OutputError."""
    if path.suffix.lower() not in SUFFIXES:
        ending = path.suffix or "none"
        raise OptionError(
            f"{path}: expected the suffix .svg, .png or .pdf, got {ending}",
            "end the name of the file in one of them",
        )
    load_altair()
    check_writable(path)


def save_chart(chart: altair.TopLevelMixin, path: Path) -> None:
    """Writes `chart` to `path`, whole or not at all, as SVG, PNG or PDF by its suffix; the same chart as the same SVG.

    OptionError where the suffix is another, or where Altair is missing; OutputError where it cannot be written.
    """
    check_plot(path)
    suffix = path.suffix.lower().removeprefix(".")
    if suffix == "svg":
        text = io.StringIO()
        styled(chart).save(text, format="svg")
        content = text.getvalue().encode()
    else:
        stream = io.BytesIO()
        settings = {"ppi": _PIXELS_PER_INCH} if suffix == "png" else {}
        styled(chart).save(stream, format=suffix, **settings)
        content = stream.getvalue()
    write_file_atomically(path, content)
