"""Selection that passes over idle weights: those on which no output depends once others are pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from tightc.model.file import Model
from tightc.model.layer_view.idle_weights import idle_weights
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.selection.options import SelectionOptions
from tightc.selection.select import Candidates, select
from tightc.selection.top_k import Mask

_ROUNDS = 10  # of selection, each without the idle weights of the one before; most networks need five or six
_IDLE = 1e-12  # what the square of an idle weight counts: a millionth of its magnitude

FindIdle = Callable[[Sequence[Mask]], Mapping[int, Mask]]


def select_live(
    candidates: Sequence[Candidates], options: SelectionOptions, fraction: float, find_idle: FindIdle
) -> Sequence[Mask]:
    """`select`, with single weights first on which an output depends.

    Pruning leaves filters without weights, and weights that read nothing but their zeros, or feed only what nobody
    reads. Such idle weights count little in the next round, and others are kept in their place. Of the rounds the one
    with the fewest idle weights is taken. `find_idle`: which weights are idle where those of the masks stay, or would
    be if they stayed too, by the number of the layer.
    """
    masks = select(candidates, options, fraction)
    if options.granularity == "filter":  # a removed filter takes its dependents along
        return masks
    best, fewest = masks, None
    passed_over: dict[int, Mask] = {}
    for _ in range(_ROUNDS):
        idle = find_idle(masks)
        count = sum(int((flags & masks[number]).sum()) for number, flags in idle.items())
        if fewest is None or count < fewest:
            best, fewest = masks, count
        if not count:
            break
        # one that an output would depend on again is no longer passed over
        passed_over = {
            number: flags & (masks[number] | passed_over.get(number, False)) for number, flags in idle.items()
        }
        weighed = [
            one.times(passed_over[number], _IDLE) if number in passed_over else one
            for number, one in enumerate(candidates)
        ]
        masks = select(weighed, options, fraction)
    return best


def idle_in(model: Model, network: Network, layers: Sequence[Layer], units: int = 1) -> FindIdle:
    """Finds the idle weights of `layers`, with `units` subwords each, in the plain `model` of that `network`."""
    numbers = {layer.weight: number for number, layer in enumerate(layers)}

    def kept(masks: Sequence[Mask], layer: Layer) -> Mask:
        if layer.weight not in numbers:
            return np.ones((1, 1), bool)
        mask = masks[numbers[layer.weight]]
        return mask if units == 1 else np.asarray(mask.reshape(len(mask), -1, units).any(axis=2))

    def find(masks: Sequence[Mask]) -> Mapping[int, Mask]:
        found = idle_weights(model, network, partial(kept, masks))
        return {
            numbers[name]: np.repeat(flags, units, axis=1) for name, flags in found.items() if name in numbers
        }

    return find
