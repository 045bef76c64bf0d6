"""The network from the banks of the activation buffer to the lanes: which bank an input is in, and who sees it when."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from tightc.accelerator.hardware import ActivationBuffer


@dataclass(frozen=True)
class BankNetwork:
    """Banks that each give a word in a cycle, and the network from them to the lanes of an array.

    Input i is in bank i % `banks`, bank b in bank group b % `groups`. In a cycle a lane sees `window` groups. Input i
    comes to lane l in rotation ((i - l + c) % groups) // window, with a constant c of the tile. Where every lane sees
    all banks at once, `groups` and `window` are 1.
    """

    banks: int
    groups: int = 1
    window: int = 1

    @classmethod
    def of(cls, buffer: ActivationBuffer, rows: int) -> BankNetwork | None:
        """The network of a hardware file whose array has so many `rows`; None where its buffer has no banks."""
        banks, reach = buffer.banks, buffer.lane_reach
        if banks is None:
            return None
        if reach is None or reach == banks:
            return cls(banks)
        groups = min(banks, rows)
        return cls(banks, groups, reach * groups // banks)

    @property
    def rotations(self) -> int:
        """Rotations of the network in which a lane sees every bank once."""
        return self.groups // self.window

    @property
    def reach(self) -> int:
        """Banks that a lane sees in a cycle."""
        return self.banks * self.window // self.groups

    @property
    def lane_levels(self) -> int:
        """2:1 multiplexers that a byte passes at a lane input."""
        return ceil(log2(self.reach))

    @property
    def rotator_levels(self) -> int:
        """2:1 multiplexers that a byte passes between its bank and the lane inputs; 0 where lanes see all banks."""
        return ceil(log2(self.banks)) if self.rotations > 1 else 0
