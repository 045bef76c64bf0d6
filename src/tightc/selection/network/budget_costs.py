"""What a budget counts of each layer: by the cost model, on the array that weights are aligned to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tightc.accelerator.choose import accelerator_of
from tightc.cost_model.network_gemms import network_gemms
from tightc.cost_model.segment_costs import CostBasis
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.selection.options import SelectionOptions
from tightc.selection.select import LayerCosts, slots_of


def budget_costs(
    model: Model, network: Network, options: SelectionOptions, stored: Network
) -> Mapping[str, LayerCosts]:
    """The costs of the layers of a plain `model`, by weight; of all layers that share it, since each loads it anew.

    Empty without a budget, and for one of slots alone, which needs no model. `network`: the layers of the model;
    `stored`: the same with the types that weights are saved in. ModelError where no input size that is tried runs;
    OptionError where the options contradict each other.
    """
    budget, array = options.budget, options.align
    if not _is_counted(options) or budget is None or array is None:
        return {}
    sizes, _ = resolve_open_sizes(model.proto, model.origin, options)
    gemms = network_gemms(model, network, count_macs(model, network, sizes))
    accelerator = accelerator_of(options, array)
    accelerator = replace(accelerator, fan_in=options.fan_in or accelerator.fan_in)
    bits = options.bits_per_subword if options.granularity == "subword" else None
    cycles = CostBasis("speedup", accelerator, options.energy, bits)
    widths = {layer.output: stored.weight_bits(layer) for layer in stored.owners}
    found = {}
    for owner in network.owners:
        own = [gemms[layer.output] for layer in network.layers if layer.weight == owner.weight]
        width = widths[owner.output]
        of_cycles = cycles.of(own, width)
        if budget.kind == "compression":
            costs = slots_of(owner.filters, owner.inputs * cycles.slots_per_weight, array.rows)
        elif budget.kind == "speedup":
            costs = LayerCosts(*of_cycles)
        else:
            costs = LayerCosts(*replace(cycles, kind=budget.kind).of(own, width))
        found[owner.weight] = costs.filled(of_cycles.of_segments) if options.fill_passes else costs
    return found


def _is_counted(options: SelectionOptions) -> bool:
    """Whether the cost model has to say what a budget counts."""
    return options.budget is not None and (options.budget.kind != "compression" or options.fill_passes)


def assumed_sizes(model: Model, options: SelectionOptions) -> tuple[str, ...]:
    """A note for each input size that `budget_costs` assumes."""
    if not _is_counted(options):
        return ()
    return resolve_open_sizes(model.proto, model.origin, options)[1]
