"""Channel dependencies of a network as arrays: which channels are zero, and which are read, once filters are removed.

Every channel has a number, 0 to `count` - 1. `NEVER` is a channel that is never zero, such as one of the input image;
`ALWAYS` is one that is always zero, such as padding. A removed filter computes a channel of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ChannelNumbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEVER, ALWAYS = 0, 1
OUTPUT = 1  # the reason to keep a filter that reaches an output of the network; larger ones are operators


@dataclass(frozen=True)
class Read:
    """Layer number `layer` reads `channels`, (groups, channels of a group), each with equally many adjacent inputs."""

    layer: int
    channels: ChannelNumbers


@dataclass(frozen=True)
class Write:
    """Layer number `layer` computes `filters` channels, numbered from `first`.

    Each has equally many adjacent rows of the layer matrix: one, or one for each position of a transposed convolution.
    """

    layer: int
    first: int
    filters: int

    @property
    def numbers(self) -> ChannelNumbers:
        """The numbers of its channels: (filters,)."""
        return np.arange(self.first, self.first + self.filters)


@dataclass(frozen=True)
class Join:
    """Channels numbered from `first` that an operator computes from `members`, (channels, members of each).

    `zero_if`: a channel is zero if all its members are zero (a sum), if any of its two members is (a product), or it is
    never known to be (a sigmoid, which is 0.5 for zero).
    """

    first: int
    members: ChannelNumbers
    zero_if: Literal["all", "any", "never"]

    def combine(self, zero: Flags) -> Flags:
        """Which of the channels are zero if the channels in `zero`, (count,) bool, are: (channels,) bool."""
        members = zero[self.members]
        if self.zero_if == "never":
            return np.zeros(len(members), bool)
        return np.asarray(members.all(axis=1) if self.zero_if == "all" else members.any(axis=1))


@dataclass(frozen=True)
class Shift:
    """A constant `tensor` that is added to channels, such as a bias: a channel is zero only if its elements are.

    `channels`: the channel of each element, in the shape of the tensor. `node` and `slot`: the first output and the
    input of the node that adds it. If `shared`, other nodes read the tensor too, for which it stays as it is.
    """

    tensor: str
    channels: ChannelNumbers
    node: str
    slot: int
    shared: bool


@dataclass(frozen=True)
class ChannelGraph:
    """The channel dependencies of a network. Its layers are numbered as in the list of candidates.

    `steps` are in execution order: a layer's Read before its Write, unless several layers share its weight.
    `removable`: which filters of each layer may be removed. Filters of the network's outputs may not, nor those before
    operators that cannot be followed, nor those of a depthwise layer that go with the channel that they read. `read`:
    channels that something other than the layers reads. `shifts`: what else has to be zero in a channel of zeros.
    `obstacles`: by number of the layer, the operator that keeps its filters.
    """

    count: int
    steps: tuple[Read | Write | Join, ...]
    removable: tuple[Flags, ...]
    read: ChannelNumbers
    shifts: tuple[Shift, ...] = ()
    obstacles: tuple[tuple[int, str], ...] = ()

    def filters(self) -> list[int]:
        """The number of filters of each layer."""
        found = {step.layer: step.filters for step in self.steps if isinstance(step, Write)}
        return [found[layer] for layer in range(len(self.removable))]

    def same_as(self, other: ChannelGraph) -> bool:
        """Whether both say the same of the layers."""
        pairs = zip(self.steps, other.steps, strict=False)
        return (
            (self.count, len(self.steps), self.obstacles) == (other.count, len(other.steps), other.obstacles)
            and all(_same_step(*pair) for pair in pairs)
            and all(map(np.array_equal, self.removable, other.removable))
            and np.array_equal(self.read, other.read)
            and len(self.shifts) == len(other.shifts)
            and all(
                (one.node, one.slot) == (two.node, two.slot) and np.array_equal(one.channels, two.channels)
                for one, two in zip(self.shifts, other.shifts, strict=True)
            )
        )

    def zero_channels(self, removed: Sequence[Flags]) -> Flags:
        """Which channels are zero without the `removed` filters, (filters,) bool per layer: (count,) bool."""
        return self._forward(removed)[0]

    def live(self, removed: Sequence[Flags]) -> tuple[list[Flags], list[Flags]]:
        """The filters and channels that each layer needs without the `removed` filters, (filters,) bool per layer.

        A filter without live inputs is not needed, nor one whose channel nobody reads, such as the gate of a channel of
        zeros. Of each layer, (filters,) bool, and (groups, channels of a group) bool for those it reads.
        """
        zero, channels = self._forward(removed)
        return self._backward(zero, len(removed)), channels

    def _forward(self, removed: Sequence[Flags]) -> tuple[Flags, list[Flags]]:
        """Zero channels, (count,) bool, and the live ones that each layer reads."""
        zero = np.zeros(self.count, bool)
        zero[ALWAYS] = True
        live: dict[int, Flags] = {}
        for step in self.steps:
            if isinstance(step, Read):
                live[step.layer] = ~zero[step.channels]
            elif isinstance(step, Write):
                dead = removed[step.layer]
                if step.layer in live:
                    groups = live[step.layer]
                    dead = dead | np.repeat(~groups.any(axis=1), step.filters // len(groups))
                zero[step.first : step.first + step.filters] = dead
            else:
                zero[step.first : step.first + len(step.members)] = step.combine(zero)
        return zero, [live[layer] for layer in range(len(removed))]

    def _backward(self, zero: Flags, layers: int) -> list[Flags]:
        """The filters that each layer needs: those that compute a channel that is not zero and is read."""
        needed = np.zeros(self.count, bool)
        needed[self.read] = True
        filters: list[Flags | None] = [None] * layers
        writes = {step.layer: step for step in self.steps if isinstance(step, Write)}
        for step in reversed(self.steps):
            if isinstance(step, Join):
                wanted = needed[step.first : step.first + len(step.members)][:, None]
                if step.zero_if == "any":  # the other factor of a zero does not matter
                    wanted = wanted & ~zero[step.members[:, ::-1]]
                needed[step.members[np.broadcast_to(wanted, step.members.shape)]] = True
            elif isinstance(step, Write):
                span = slice(step.first, step.first + step.filters)
                alive = ~zero[span]
                read = alive & needed[span]
                filters[step.layer] = read if read.any() else alive  # no layer is emptied
            else:
                alive = _filters_of(writes[step.layer], filters[step.layer], zero)
                groups = alive.reshape(len(step.channels), -1).any(axis=1)
                needed[step.channels[groups]] = True
        return [alive for alive in filters if alive is not None]


def _filters_of(write: Write, needed: Flags | None, zero: Flags) -> Flags:
    """The needed filters of a layer; all that are not zero where a shared weight is read again later."""
    return ~zero[write.first : write.first + write.filters] if needed is None else needed


def _same_step(one: Read | Write | Join, other: Read | Write | Join) -> bool:
    if isinstance(one, Read) and isinstance(other, Read):
        return one.layer == other.layer and np.array_equal(one.channels, other.channels)
    if isinstance(one, Join) and isinstance(other, Join):
        same = (one.first, one.zero_if) == (other.first, other.zero_if)
        return same and np.array_equal(one.members, other.members)
    return isinstance(one, Write) and isinstance(other, Write) and one == other


def separate_layers(shapes: Sequence[tuple[int, int, int]]) -> ChannelGraph:
    """The graph of layers that depend on nothing, from their (filters, inputs, groups)."""
    steps: list[Read | Write | Join] = []
    count = ALWAYS + 1
    for layer, (filters, inputs, groups) in enumerate(shapes):
        steps.append(Read(layer, np.full((groups, inputs), NEVER)))
        steps.append(Write(layer, count, filters))
        count += filters
    removable = tuple(np.ones(filters, bool) for filters, _, _ in shapes)
    read = np.arange(ALWAYS + 1, count)
    return ChannelGraph(count, tuple(steps), removable, read)


def depends_on(graph: ChannelGraph, channels: ChannelNumbers, live: Sequence[Flags]) -> Flags:
    """The channels that decide whether `channels` are zero: (count,) bool.

    `live`: the live channels that each layer reads, (groups, channels of a group). Only where a group reads none do its
    filters depend on what it reads.
    """
    marked = np.zeros(graph.count, bool)
    marked[channels] = True
    starved: dict[int, Flags] = {}
    for step in reversed(graph.steps):
        if isinstance(step, Join):
            if step.zero_if != "never":
                marked[step.members[marked[step.first : step.first + len(step.members)]]] = True
        elif isinstance(step, Write):
            read = live[step.layer]
            filters = marked[step.first : step.first + step.filters].reshape(len(read), -1)
            starved[step.layer] = np.logical_and(filters.any(axis=1), ~read.any(axis=1))
        elif step.layer in starved:
            marked[step.channels[starved[step.layer]]] = True
    return marked
