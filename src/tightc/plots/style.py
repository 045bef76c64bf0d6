"""What all charts share: Altair where it is installed, colors that color-blind people tell apart, fonts and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tightc.errors import OptionError

if TYPE_CHECKING:
    import altair

Rows = Sequence[Mapping[str, Any]]

# of the palette of Okabe and Ito (2008), which is safe for color-blind people
BLUE, ORANGE, GRAY, BLACK = "#0072B2", "#D55E00", "#999999", "#000000"
SERIES = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)
BAR = 13  # pixels of a bar, so that the names of the layers do not touch
WIDTH = 460
_LONGEST_NAME = 420  # pixels of a name
# 1500 is 1.5k; alone, that format writes 0.5 as 500m, and 0 as 0k
_SHORT_NUMBERS = "datum.value < 1 ? format(datum.value, '~g') : format(datum.value, '~s')"


def load_altair() -> Any:
    """The module `altair`; OptionError where it or vl-convert-python, which draws without a browser, is missing."""
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError:
        raise OptionError(
            "a plot needs altair and vl-convert-python, which are not installed",
            "pip install 'tightc[report]'",
        ) from None
    return altair


def data(rows: Rows) -> altair.Data:
    """The rows as a chart takes them."""
    return load_altair().Data(values=[dict(row) for row in rows])


def layer_name(row: Mapping[str, Any]) -> str:
    """The readable name of a layer, which tables show too; rows of older reports have only that of the node."""
    return str(row.get("label", row["name"]))


def names_axis(name: str, title: str) -> altair.Y:
    """A vertical axis with a name for each row, in the order of the rows; `title` stands above the names."""
    alt = load_altair()
    axis = alt.Axis(labelLimit=_LONGEST_NAME, titleAngle=0, titleAlign="right", titleX=-6, titleY=-7)
    return alt.Y(f"{name}:N", sort=None, title=title, axis=axis)


def by_color(field: str, colors: Mapping[str, str], **settings: Any) -> altair.Color:
    """The encoding of `field` by the color of each of its values, in their order."""
    alt = load_altair()
    scale = alt.Scale(domain=[*colors], range=[*colors.values()])
    return alt.Color(f"{field}:N", sort=[*colors], scale=scale, **settings)


def grouped_bars(
    values: Rows, y: altair.Y, x: altair.X, field: str, colors: Mapping[str, str], **settings: Any
) -> altair.Chart:
    """A chart of bars, as many for each value of `y` as there are values of `field`, below each other, by color."""
    alt = load_altair()
    return alt.Chart(data(values)).encode(
        y=y,
        yOffset=alt.YOffset(f"{field}:N", sort=[*colors]),
        x=x,
        color=by_color(field, colors, **settings),
    )


def numbers_axis(**settings: Any) -> altair.Axis:
    """An axis of numbers with prefixes, such as 1.5k."""
    return load_altair().Axis(labelExpr=_SHORT_NUMBERS, **settings)


def styled(chart: altair.TopLevelMixin) -> altair.TopLevelMixin:
    """The chart in the style of all charts."""
    return (
        chart.configure(font="Liberation Sans, Arial, sans-serif", background="white", padding=12)
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#e5e5e5")
        .configure_title(fontSize=13, anchor="start", fontWeight="bold")
        .configure_legend(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", symbolLimit=20)
        .configure_view(stroke=None)
    )
