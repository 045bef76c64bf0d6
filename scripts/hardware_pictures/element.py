"""One processing element: what pe.sv computes and which registers it has."""

from __future__ import annotations

from hardware_pictures.svg import arrow, box, document, rect, text, text_lines

_WIDTH, _HEIGHT = 700, 412
_LANE, _PRODUCT, _SUM = 286, 152, 470  # y of the lane, y of the multiplier, x of the sums
_MULTIPLIER = 372  # x
_SELECT_BITS = "1 + ⌈log2 F⌉ bits"


def draw() -> bytes:
    """The picture."""
    body = [
        text(10, 20, "One processing element (pe.sv); F is the fan-in", "bold"),
        rect(104, 62, 496, 272, "bare"),
        *_slots(),
        *_lane(),
        *_arithmetic(),
        *text_lines(
            10,
            366,
            (
                "Green: registers. Dashed: with --prefetch-weights only. Without it, slots load from below.",
                "Every g-th column has a lane register (--columns-per-lane-register g). Elsewhere a lane is a wire.",
                "A select has one bit that says whether the slot is used, and the number of the lane's input.",
            ),
            "small",
        ),
    ]
    return document(_WIDTH, _HEIGHT, "A PE: slot, select, multiplexer, multiplier, adder, registers", body)


def _slots() -> list[str]:
    """The registers of the slot, their shadows, and the way on which they are loaded."""
    shadow, active, width = 128, 246, 92
    found = []
    for left, names in ((shadow, ("next slot", "next select")), (active, ("slot", "select"))):
        kind = "register dashed" if left == shadow else "register"
        found += box(left, _PRODUCT - 25, width, 50, (names[0], "8 bits"), kind)
        found += box(left, _PRODUCT + 25, width, 50, (names[1], _SELECT_BITS), kind)
    middle = shadow + width / 2
    for y in (_PRODUCT, _PRODUCT + 50):
        found += arrow(((shadow + width, y), (active, y)))
    found += arrow(((middle, 346), (middle, _PRODUCT + 75)))
    found += arrow(((middle, _PRODUCT - 25), (middle, 40)))
    return [
        *found,
        text(middle + 8, 52, "slot_above, select_above", "small"),
        text(middle + 8, 328, "slot_below, select_below", "small"),
        *arrow(((shadow - 8 + 30, 112), (shadow - 8 + 30, _PRODUCT - 25))),
        text(shadow + 22, 106, "load", "mid small"),
        *arrow(((active + 46, 112), (active + 46, _PRODUCT - 25))),
        text(active + 46, 106, "swap", "mid small"),
    ]


def _lane() -> list[str]:
    """The lane, its register, and the multiplexer on it."""
    top, bottom = _PRODUCT + 36, _PRODUCT + 66
    left, right = _MULTIPLIER - 22, _MULTIPLIER + 46
    points = f"{left},{bottom} {right},{bottom} {right - 14},{top} {left + 14},{top}"
    middle = (left + right) / 2
    return [
        *arrow(((20, _LANE), (516, _LANE))),
        *box(516, _LANE - 22, 72, 44, ("lane", "8 F bits"), "register"),
        *arrow(((588, _LANE), (680, _LANE))),
        text(20, _LANE - 8, "lane_left: 8 F", "small"),
        text(606, _LANE - 8, "lane_right: 8 F", "small"),
        *arrow(((middle, _LANE), (middle, bottom))),
        f'<polygon points="{points}" class="box"/>',
        text(middle, bottom - 9, "F : 1", "mid small"),
        *arrow(((338, _PRODUCT + 50), (left + 7, _PRODUCT + 50))),
        text(middle + 5, bottom + 24, "8 F", "small"),
    ]


def _arithmetic() -> list[str]:
    """The product, the sum, and the register of the sum."""
    middle = _MULTIPLIER + 12
    return [
        *arrow(((middle, _PRODUCT + 36), (middle, _PRODUCT + 15))),
        text(middle + 5, _PRODUCT + 29, "8", "small"),
        *_circle(middle, _PRODUCT, "×"),
        *arrow(((338, _PRODUCT), (middle - 15, _PRODUCT))),
        text(345, _PRODUCT - 6, "8", "small"),
        *arrow(((middle + 15, _PRODUCT), (_SUM - 15, _PRODUCT))),
        text(middle + 20, _PRODUCT - 6, "16", "small"),
        *_circle(_SUM, _PRODUCT, "+"),
        *arrow(((_SUM, 40), (_SUM, _PRODUCT - 15))),
        text(_SUM + 8, 52, "sum_above: 32 bits", "small"),
        *arrow(((_SUM, _PRODUCT + 15), (_SUM, _PRODUCT + 46))),
        text(_SUM + 5, _PRODUCT + 34, "32", "small"),
        *box(_SUM - 36, _PRODUCT + 46, 72, 44, ("sum", "32 bits"), "register"),
        *arrow(((_SUM, _PRODUCT + 90), (_SUM, 352))),
        text(_SUM + 8, 328, "sum_below: 32 bits", "small"),
    ]


def _circle(x: float, y: float, sign: str) -> list[str]:
    return [f'<circle cx="{x:g}" cy="{y:g}" r="15" class="box"/>', text(x, y + 5, sign, "mid bold")]
