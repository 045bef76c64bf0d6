"""Elements of the pictures, as SVG in the colors of the reader's scheme, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

_LIGHT = (
    "text{font-family:sans-serif;font-size:12px;fill:#222}.small{font-size:10px}.bold{font-weight:bold}"
    ".mid{text-anchor:middle}.end{text-anchor:end}.page{fill:#fff}"
    ".box{fill:#e8eef4;stroke:#445}.memory{fill:#f8ecd2;stroke:#445}.register{fill:#d5e8d4;stroke:#445}"
    ".dashed{stroke-dasharray:4 3}.bare{fill:none;stroke:#667}.wire{fill:none;stroke:#445;stroke-width:1.3}"
    ".head{fill:#445;stroke-dasharray:none}.head.mark{fill:#b03030}.grid{stroke:#ddd}.mark{stroke:#b03030;stroke-width:1.3;fill:none}.note{fill:#b03030}"
    ".first{fill:#bfd7ea;stroke:#889}.second{fill:#f6d7a7;stroke:#889}.empty{fill:none;stroke:#889}"
)
_DARK = (
    "text{fill:#e4e4e4}.page{fill:#1c1c20}.box{fill:#2b3542;stroke:#9ab}.memory{fill:#473b22;stroke:#9ab}"
    ".register{fill:#2c442b;stroke:#9ab}.bare{stroke:#99a}.wire{stroke:#9ab}.head{fill:#9ab}.head.mark{fill:#f08080}.grid{stroke:#383840}"
    ".mark{stroke:#f08080}.note{fill:#f08080}.first{fill:#28506f}.second{fill:#6b4c1a}"
)
_HEAD = 4  # half the width of an arrow's head
_LINE = 14  # from one line of text to the next


def document(width: int, height: int, label: str, body: Sequence[str]) -> bytes:
    """A picture of `width` x `height` pixels; `label` says what it shows to those who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(label)}>'
    )
    style = f"<style>{_LIGHT}@media(prefers-color-scheme:dark){{{_DARK}}}</style>"
    return ("\n".join((head, style, rect(0, 0, width, height, "page"), *body, "</svg>")) + "\n").encode()


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A rectangle by its upper left corner."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{kind}"/>'


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """A line of text; `y` is its base line."""
    return f'<text x="{x:g}" y="{y:g}"' + (f' class="{kind}"' if kind else "") + f">{escape(content)}</text>"


def text_lines(x: float, y: float, contents: Sequence[str], kind: str = "") -> list[str]:
    """Lines of text under each other."""
    return [text(x, y + _LINE * place, content, kind) for place, content in enumerate(contents)]


def box(
    x: float, y: float, width: float, height: float, contents: Sequence[str], kind: str = "box"
) -> list[str]:
    """A rectangle with a bold line of text in its middle, and small ones under it."""
    top = y + height / 2 + 4 - _LINE * (len(contents) - 1) / 2
    kinds = ("mid bold", *("mid small" for _ in contents[1:]))
    return [
        rect(x, y, width, height, kind),
        *(
            text(x + width / 2, top + _LINE * place, content, style)
            for place, (content, style) in enumerate(zip(contents, kinds, strict=True))
        ),
    ]


def wire(points: Sequence[tuple[float, float]], kind: str = "wire") -> str:
    """A line through `points`."""
    return f'<polyline points="{_listed(points)}" class="{kind}"/>'


def arrow(points: Sequence[tuple[float, float]], kind: str = "wire") -> list[str]:
    """A line through `points`, level or upright, with a head at its end."""
    (x0, y0), (x1, y1) = points[-2:]
    along = ((x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0))
    back = (x1 - 2 * _HEAD * along[0], y1 - 2 * _HEAD * along[1])
    side = (_HEAD * along[1], _HEAD * along[0])
    head = [(x1, y1), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
    return [wire(points, kind), f'<polygon points="{_listed(head)}" class="head {kind}"/>']


def _listed(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
