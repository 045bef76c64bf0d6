"""The channels of a network's values while its nodes are followed in execution order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tightc.model.onnx_proto.graph import Node
from tightc.selection.channels import (
    ALWAYS,
    NEVER,
    OUTPUT,
    ChannelGraph,
    ChannelNumbers,
    Flags,
    Join,
    Read,
    Shift,
    Write,
)
from tightc.selection.network.channel_map import ChannelMap, broadcast, distinct_members
from tightc.selection.network.graph_values import GraphValues


class ChannelTrace:
    """What is known of the channels so far; `maps` are those of the values by name, absent where nothing is known."""

    def __init__(self, values: GraphValues) -> None:
        self.values = values
        self.maps: dict[str, ChannelMap] = {}
        self._count = ALWAYS + 1
        self._steps: list[Read | Write | Join] = []
        self._shifts: list[Shift] = []
        self._read: list[ChannelNumbers] = [np.zeros(0, np.int64)]
        self._kept: list[tuple[ChannelNumbers, int]] = []  # with the reason
        self._never_reasons: dict[int, int] = {}  # by the first channel of the Join
        self._fixed: set[int] = set()
        self._operators: list[str] = []

    # --- what operators do

    def join(self, maps: Sequence[ChannelMap], kind: str) -> ChannelMap | None:
        """The map of a sum ("all") of values with these maps, or of a product ("any") of two."""
        together = broadcast(maps)
        if together is None:
            return None
        first, *others = together
        if all((other == first).all() for other in others):
            return first
        members = np.stack([one.ravel() for one in together], axis=1)
        return self._joined(members if kind == "any" else distinct_members(members), kind).reshape(
            first.shape
        )

    def sum_along(self, channels: ChannelMap, axes: Sequence[int]) -> ChannelMap:
        """The map of a sum over `axes`, which stay with length 1."""
        axes = [axis for axis in axes if channels.shape[axis] > 1]
        if not axes:
            return channels
        kept = [side if axis not in axes else 1 for axis, side in enumerate(channels.shape)]
        moved = np.moveaxis(channels, axes, range(-len(axes), 0))
        members = distinct_members(moved.reshape(int(np.prod(kept)), -1))
        if members.shape[1] == 1:
            return members.reshape(kept)
        return self._joined(members, "all").reshape(kept)

    def nonzero(self, channels: ChannelMap, operator: str) -> ChannelMap:
        """The map behind `operator`, which turns channels of zeros into a constant, such as a sigmoid."""
        numbers, inverse = np.unique(channels, return_inverse=True)
        found = self._joined(numbers[:, None], "never")
        self._never_reasons[int(found[0])] = self._reason(operator)
        return found[inverse.ravel()].reshape(channels.shape)

    def shifted(self, channels: ChannelMap, node: Node, slot: int, axes: Sequence[int] = ()) -> ChannelMap:
        """The map of a value to which `node` adds its input `slot`.

        A channel of zeros stays one where the addend is zero, or is a constant with an element of its own for it, which
        can be set to zero. `axes`: those of the value that the addend's lie along, without them the last.
        """
        operator, addend = f"{node.op} {node.label}", self.values.addend(node.inputs[slot])
        if addend is None:
            return self.nonzero(channels, operator)
        numbers = addend.numbers
        shape = [1] * channels.ndim
        for axis, side in zip(axes or range(-numbers.ndim, 0), numbers.shape, strict=True):
            shape[axis] = side
        spread = numbers.reshape(shape) != 0
        if not spread.any():
            return channels
        own = all(side > 1 or varies == 1 for side, varies in zip(shape, channels.shape, strict=True))
        if addend.changeable and own:
            elements = np.broadcast_to(channels, shape).reshape(numbers.shape)
            self._shifts.append(Shift(addend.tensor, elements, node.outputs[0], slot, addend.shared))
            return channels
        axes_along = tuple(axis for axis, side in enumerate(channels.shape) if side == 1)
        changed = np.broadcast_to(spread.any(axis=axes_along, keepdims=True), channels.shape)
        return np.where(changed, self.nonzero(channels, operator), channels)

    def mark_read(self, channels: ChannelMap) -> None:
        """Mark channels as read by something that stays."""
        self._read.append(np.unique(channels))

    def keep(self, channels: ChannelMap, operator: str) -> None:
        """Mark channels as read by `operator`, which cannot be followed, or by an output if it is empty.

        Their filters stay.
        """
        self._kept.append((np.unique(channels), self._reason(operator) if operator else OUTPUT))

    # --- what layers do

    def read(self, layer: int, channels: ChannelNumbers) -> None:
        """Layer number `layer` reads `channels`, (groups, channels of a group)."""
        self._steps.append(Read(layer, channels))

    def write(self, layer: int, filters: int, *, fixed: bool = False) -> ChannelNumbers:
        """The channels of the filters of layer number `layer`, (filters,); if `fixed`, all of them stay."""
        first = self._new(filters)
        self._steps.append(Write(layer, first, filters))
        if fixed:
            self._fixed.add(layer)
        return np.arange(first, first + filters)

    def graph(self, layers: int) -> ChannelGraph:
        """All that was found, of a network with so many candidate `layers`."""
        reasons = self._reasons()
        steps = tuple(_without_starved(self._steps, self._count))
        removable: list[Flags] = [np.zeros(0, bool)] * layers
        obstacles: list[tuple[int, str]] = []
        for step in self._steps:
            if isinstance(step, Write):
                own = reasons[step.first : step.first + step.filters]
                removable[step.layer] = (own == 0) & (step.layer not in self._fixed)
                operators = own[own > OUTPUT]
                if len(operators):
                    obstacles.append((step.layer, self._operators[operators[0] - OUTPUT - 1]))
        read = [*self._read, *(channels for channels, _ in self._kept)]
        return ChannelGraph(
            count=self._count,
            steps=steps,
            removable=tuple(_without_followers(steps, removable, self._count)),
            read=np.unique(np.concatenate(read)),
            shifts=tuple(self._shifts),
            obstacles=tuple(sorted(obstacles)),
        )

    def _new(self, count: int) -> int:
        first, self._count = self._count, self._count + count
        return first

    def _joined(self, members: ChannelNumbers, kind: str) -> ChannelNumbers:
        first = self._new(len(members))
        self._steps.append(Join(first, members, kind))  # type: ignore[arg-type]
        return np.arange(first, first + len(members))

    def _reason(self, operator: str) -> int:
        if operator not in self._operators:
            self._operators.append(operator)
        return OUTPUT + 1 + self._operators.index(operator)

    def _reasons(self) -> ChannelNumbers:
        """Why each channel's filter stays, (count,): 0 if it may go, OUTPUT, or the number of an operator.

        A sigmoid keeps a filter, since the layers after it would read its constant. But it does not if the constant is
        multiplied by the same channel, as in x * sigmoid(x).
        """
        reasons = np.zeros(self._count, np.int64)
        visible = np.zeros(self._count, bool)  # a number other than zero would be read
        origins = np.arange(self._count)
        for step in self._steps:
            if isinstance(step, Join) and step.zero_if == "never":
                origins[step.first : step.first + len(step.members)] = origins[step.members[:, 0]]
        visible[np.concatenate(self._read)] = True
        for channels, reason in self._kept:
            visible[channels] = True
            reasons[channels] = np.where(reasons[channels] == 0, reason, reasons[channels])
        for step in reversed(self._steps):
            if isinstance(step, Read):
                visible[step.channels] = True
            elif isinstance(step, Join):
                self._reason_of_members(step, reasons, visible, origins)
        return reasons

    def _reason_of_members(
        self, join: Join, reasons: ChannelNumbers, visible: Flags, origins: ChannelNumbers
    ) -> None:
        """Pass the reasons of a Join's channels, and whether they are read, on to its members, in place."""
        span = slice(join.first, join.first + len(join.members))
        seen, why = visible[span], reasons[span]
        if join.zero_if == "never":
            why = np.where(seen & (why == 0), self._never_reasons[join.first], why)
        for place, member in enumerate(join.members.T):
            shown = seen
            if join.zero_if == "any":
                shown = seen & (join.members[:, 1 - place] != origins[member])
            visible[member[shown]] = True
            passed = (why != 0) & (reasons[member] == 0)
            reasons[member[passed]] = why[passed]


def _without_starved(steps: Sequence[Read | Write | Join], count: int) -> Iterator[Read | Write | Join]:
    """`steps` in which a group that reads nothing but zeros anyway, such as padding, keeps its inputs and filters."""
    zero = np.zeros(count, bool)
    zero[ALWAYS] = True
    for step in steps:
        if isinstance(step, Join):
            zero[step.first : step.first + len(step.members)] = step.combine(zero)
        if isinstance(step, Read):
            starved = zero[step.channels].all(axis=1, keepdims=True)
            yield Read(step.layer, np.where(starved, NEVER, step.channels))
        else:
            yield step


def _without_followers(
    steps: Sequence[Read | Write | Join], removable: list[Flags], count: int
) -> list[Flags]:
    """`removable`, (filters,) bool per layer, without the depthwise filters that go with the channel that they read."""
    found = list(removable)
    mortal = np.zeros(count, bool)  # channels that can become zero
    mortal[ALWAYS] = True
    read: dict[int, Flags] = {}
    for step in steps:
        if isinstance(step, Read):
            read[step.layer] = mortal[step.channels]
        elif isinstance(step, Write):
            inputs = read.get(step.layer, np.zeros((1, 1), bool))
            follows = np.repeat(inputs.all(axis=1), step.filters // len(inputs))
            if inputs.shape[1] == 1 < len(inputs):
                found[step.layer] = found[step.layer] & ~follows
            mortal[step.first : step.first + step.filters] = found[step.layer] | follows
        else:
            mortal[step.first : step.first + len(step.members)] = step.combine(mortal)
    return found
