"""The blocks of the accelerator, and what flows between them in a cycle, in bits."""

from __future__ import annotations

from hardware_pictures.svg import arrow, box, document, text, text_lines

_WIDTH, _HEIGHT = 700, 624


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
                "Yellow: memories. Blue: logic. W = 9 + ⌈log2 F⌉: weight and select of a slot. N filters, T vectors.",
                "A bits of an address in the activations, S bits of a side of a feature map with its padding.",
                "Dashed: the bank network is there to be synthesized. The simulated buffers are ideal and need none.",
                "The testbench writes the bytes of complete sums back, and computes the pools between two layers.",
                "Load and swap also go to lane feeders, array and accumulators, with a bit for each row or column.",
            ),
            "small",
        ),
    ]
    label = "Buffers, bank network, lane feeders, array, accumulators, requantizers and controller"
    return document(_WIDTH, _HEIGHT, label, body)


def _control() -> list[str]:
    """The controller, and where a step and a tile come from."""
    return [
        *box(10, 50, 96, 52, ("layers", "768 per layer"), "memory"),
        *arrow(((106, 76), (150, 76))),
        *box(150, 50, 100, 52, ("controller", "load, swap, step")),
        *arrow(((250, 76), (292, 76))),
        text(271, 70, "2", "mid small"),
        *box(292, 50, 108, 52, ("step counter", "window of a step")),
        *arrow(((346, 102), (346, 160))),
        text(352, 124, "36 + A + 2S:", "small"),
        text(352, 138, "a row each cycle", "small"),
        *arrow(((200, 50), (200, 36), (640, 36), (640, 50))),
        text(420, 30, "load, tile, row: 65", "mid small"),
        *box(440, 50, 110, 52, ("tiles", "R C W + 32 C each"), "memory"),
        *arrow(((550, 76), (590, 76))),
        *box(590, 50, 102, 52, ("loader", "a row in a cycle")),
    ]


def _inputs() -> list[str]:
    """The way of activations into the array."""
    return [
        *box(10, 160, 96, 140, ("activations", "B banks of bytes"), "memory"),
        *arrow(((292, 182), (106, 182))),
        text(200, 176, "A R F: addresses", "mid small"),
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
        *arrow(((604, 102), (604, 286), (570, 286))),
        *text_lines(610, 180, ("C W: a row", "of the next", "tile, enters", "below"), "small"),
        *arrow(((684, 102), (684, 348), (546, 348), (546, 392))),
        text(620, 342, "32 C: filter of", "mid small"),
        text(620, 361, "each column", "mid small"),
        *arrow(((484, 300), (484, 392))),
        text(478, 350, "32 C", "end small"),
    ]


def _outputs() -> list[str]:
    """The way of sums out of the array."""
    return [
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
