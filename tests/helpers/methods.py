"""The names of the methods, by what they keep."""

from __future__ import annotations

LOSSLESS = (
    "dense",
    "structured",
    "first-fit",
    "tight",
    "column-combine",
    "row-nm",
    "series-nm",
    "displace",
    "vusa",
)  # column-combine at gamma 0
METHODS = (*LOSSLESS, "nm")
