"""What a budget counts of each layer: by the cost model, on the array that weights are aligned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tightc.accelerator.choose import accelerator_of
from tightc.cost_model.cost_basis import CostBasis
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.network_gemms import network_gemms
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.selection.options import SelectionOptions
from tightc.tile.segment_costs import SegmentCosts


def budget_costs(
    model: Model, network: Network, options: SelectionOptions, stored: Network
) -> Mapping[str, Mapping[int, SegmentCosts]]:
    """The costs of the layers of a plain `model`, by weight and rows of a segment.

    Those of all layers that share a weight, since each loads it anew. Empty without a budget, and for one of slots
    alone, which needs no model. `network`: the layers of the model; `stored`: the same with the types that weights are
    saved in. ModelError where no input size that is tried runs; OptionError where the options contradict each other.
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
        found[owner.weight] = {
            rows: _costs(own, widths[owner.output], options, replace(cycles, segment_rows=rows))
            for rows in options.tile_heights or (array.rows,)
        }
    return found


def _costs(
    gemms: Sequence[GemmWorkload], width: int, options: SelectionOptions, cycles: CostBasis
) -> SegmentCosts:
    """What the budget of `options` counts of the products that share a weight of so many bits.

    `cycles`: the same for a speedup.
    """
    assert options.budget is not None, "the caller checked"
    kind, gemm = options.budget.kind, gemms[0]
    of_cycles = cycles.of(gemms, width)
    if kind == "compression":
        filters, inputs = gemm.filters * gemm.groups, gemm.inputs * cycles.slots_per_weight
        costs = SegmentCosts.slots(filters, inputs, cycles.tile.rows)
    elif kind == "speedup":
        costs = of_cycles
    else:
        costs = replace(cycles, kind=kind).of(gemms, width)
    return costs.filled(of_cycles.of_segments) if options.fill_passes else costs


def _is_counted(options: SelectionOptions) -> bool:
    """Whether the cost model has to say what a budget counts."""
    return options.budget is not None and (options.budget.kind != "compression" or options.fill_passes)


def budget_notes(model: Model, options: SelectionOptions) -> tuple[str, ...]:
    """A note for each input size that `budget_costs` assumes, and for an array that is not the hardware's."""
    if not _is_counted(options):
        return ()
    notes = resolve_open_sizes(model.proto, model.origin, options)[1]
    hardware, array = options.hardware, options.align
    if hardware is None or hardware.array == array:
        return notes
    return (
        *notes,
        f"--align {array} takes the place of the {hardware.array} array of {hardware.name} in the budget: give --array "
        f"{array} to tightc permute and simulate, or --tile-heights for lower tiles on the same array",
    )
