"""The blocks of the accelerator, and what flows between them in a cycle, in bits."""

from __future__ import annotations

from hardware_pictures.svg import arrow, box, document, text, text_lines

_WIDTH, _HEIGHT = 700, 596


def draw() -> bytes:
    """The picture."""
    body = [
        text(10, 20, "The accelerator: R x C processing elements, fan-in F; widths in bits a cycle", "bold"),
        '<g transform="translate(0 12)">',
        *_control(),
        *_inputs(),
        *_array(),
        *_outputs(),
        "</g>",
        *text_lines(
            10,
            544,
            (
                "Yellow: memories. Blue: logic. W = 9 + ⌈log2 F⌉ bits: a weight and its select. N filters, T vectors.",
                "Dashed: the bank network is there to be synthesized. The simulated buffers are ideal and need none.",
                "The testbench writes the bytes of complete sums back, and computes the pools between two layers.",
            ),
            "small",
        ),
    ]
    label = "Buffers, bank network, lane feeders, array, accumulators, requantizers and controller"
    return document(_WIDTH, _HEIGHT, label, body)


def _control() -> list[str]:
    """The controller, and where a step and a tile come from."""
    return [
        *box(10, 50, 96, 52, ("layers", "768 each"), "memory"),
        *arrow(((106, 76), (150, 76))),
        *box(150, 50, 100, 52, ("controller", "load, swap, step")),
        *arrow(((250, 76), (292, 76))),
        text(271, 70, "2", "mid small"),
        *box(292, 50, 108, 52, ("step counter", "window of a step")),
        *arrow(((346, 102), (346, 160))),
        text(352, 124, "98: a row later", "small"),
        text(352, 138, "in each cycle", "small"),
        *arrow(((200, 50), (200, 36), (510, 36), (510, 50))),
        text(418, 30, "number of the row that loads: 32", "mid small"),
        *box(450, 50, 120, 52, ("slots, selects", "R C W per tile"), "memory"),
    ]


def _inputs() -> list[str]:
    """The way of activations into the array."""
    return [
        *box(10, 160, 96, 140, ("activations", "B banks of bytes"), "memory"),
        *arrow(((292, 182), (106, 182))),
        text(200, 176, "32 R F: addresses", "mid small"),
        *arrow(((106, 256), (148, 256))),
        text(126, 250, "8 B", "mid small"),
        *box(148, 212, 100, 88, ("bank network", "B to R F"), "box dashed"),
        *arrow(((248, 256), (292, 256))),
        text(269, 250, "8 R F", "mid small"),
        *box(292, 160, 108, 140, ("lane feeders", "R, one a lane")),
        *arrow(((400, 230), (450, 230))),
        text(425, 224, "8 R F", "mid small"),
        *box(292, 334, 108, 44, ("lane lists", "64 R F per tile"), "memory"),
        *arrow(((346, 334), (346, 300))),
        text(352, 321, "64 F", "small"),
    ]


def _array() -> list[str]:
    """The array, its slots and its sums."""
    return [
        *box(
            450,
            160,
            120,
            140,
            ("array", "R x C PEs", "inputs move right,", "sums move down,", "slots move up"),
        ),
        *arrow(((570, 76), (606, 76), (606, 286), (570, 286))),
        text(612, 180, "C W: a row of", "small"),
        text(612, 194, "the next tile,", "small"),
        text(612, 208, "into the lowest", "small"),
        *arrow(((510, 300), (510, 392))),
        text(516, 350, "32 C", "small"),
    ]


def _outputs() -> list[str]:
    """The way of sums out of the array."""
    return [
        *box(292, 392, 108, 44, ("columns", "32 C per tile"), "memory"),
        *arrow(((400, 414), (450, 414))),
        text(425, 408, "32 C", "mid small"),
        *box(450, 392, 120, 44, ("accumulators", "C, one a column")),
        *arrow(((570, 404), (620, 404))),
        text(595, 398, "32 C", "mid small"),
        *arrow(((620, 424), (570, 424))),
        text(595, 437, "32 C", "mid small"),
        *box(620, 392, 72, 44, ("sums", "32 N T"), "memory"),
        *arrow(((510, 436), (510, 464))),
        text(516, 454, "32 C", "small"),
        *box(450, 464, 120, 44, ("requantizers", "C, one a column")),
        *box(620, 464, 72, 44, ("filters", "102 N"), "memory"),
        *arrow(((620, 486), (570, 486))),
        text(595, 480, "102 C", "mid small"),
        *arrow(((450, 486), (58, 486), (58, 300))),
        text(254, 480, "8 C: bytes of complete sums", "mid small"),
    ]
