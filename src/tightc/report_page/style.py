"""How charts look: Vega-Lite by Altair, drawn as SVG by vl-convert; the style sheet of the page sets the colors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tightc.errors import OptionError

WIDE, NARROW = 540, 330  # pixels: on a screen, and on a phone
SUBJECTS = {"": "var(--a)", "A": "var(--a)", "B": "var(--b)"}
DENSE = "var(--dense)"
PARTS = tuple(f"var(--part{number})" for number in range(1, 11))
_TEXT = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "labelFontSize": 12, "titleFontSize": 12}
_CONFIG: dict[str, Any] = {
    "font": "Liberation Sans",
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "titleFontWeight": "normal",
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelLimit": 170,
    },
    "legend": {
        **_TEXT,
        "orient": "top",
        "title": None,
        "symbolType": "square",
        "labelLimit": 240,
        "columnPadding": 16,
        "symbolSize": 90,
    },
    "axisX": {"tickCount": 5},
}


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, for a screen and for a phone, with its title and a sentence for those who do not see it."""

    title: str
    summary: str
    wide: str
    narrow: str


def draw(title: str, summary: str, make: Callable[[int], Any]) -> Chart:
    """The chart that `make` gives for a width in pixels."""
    return Chart(title, summary, *(_svg(make(width), width) for width in (WIDE, NARROW)))


def altair() -> Any:
    """The module; OptionError where it, or what it draws with, is not installed."""
    try:
        import altair
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError:
        raise OptionError(
            "report needs altair, jinja2 and vl-convert-python, which are not installed",
            "pip install 'tightc[report]'",
        ) from None
    return altair


def short_names(names: Sequence[str], length: int) -> list[str]:
    """The `names`, each at most `length` letters long without its beginning, which layers share; none twice."""
    found: dict[str, None] = {}
    for name in names:
        short = name if len(name) <= length else f"…{name[1 - length :]}"
        number = 2
        while short in found:
            short = f"{short.partition(' #')[0]} #{number}"
            number += 1
        found[short] = None
    return list(found)


def _svg(chart: Any, width: int) -> str:
    import vl_convert

    spec = chart.properties(width=width, autosize={"type": "fit", "contains": "padding"}).to_dict()
    legend = {**_CONFIG["legend"], **({"columns": 2} if width == NARROW else {})}
    spec["config"] = {**_CONFIG, "legend": legend}
    text: str = vl_convert.vegalite_to_svg(spec)
    # its marks are read from the tables; a picture has one name, which the figure gives it
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
