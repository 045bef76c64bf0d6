"""What packings cost in each layer of a model, for the inputs of the model and the hardware of the options."""

from __future__ import annotations

from collections.abc import Mapping

from tightc.accelerator.choose import accelerator_of
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.network_gemms import network_gemms
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.runtime.limited import LimitError
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts

_WITHOUT_HARDWARE = (
    "the sizes of the model's inputs are unknown, so packings are ranked for ideal hardware, not for that of "
    "--hardware; give --input-shape"
)


def layer_costs(
    plain: Model, network: Network, options: PermuteOptions
) -> tuple[Mapping[str, PackingCosts], tuple[str, ...]]:
    """(the costs of the layers of a plain model, by their output, a note for each input size that was assumed).

    No costs where no tried size runs and nothing asks for sizes, with a note if hardware was given; ModelError where
    the objective or a budget depends on them or the options give some. Other notes are for what depends on them.
    """
    accelerator = accelerator_of(options, options.array)
    try:
        sizes, notes = resolve_open_sizes(plain.proto, plain.origin, options)
        gemms = network_gemms(plain, network, count_macs(plain, network, sizes))
    except LimitError:
        raise
    except ModelError:
        if options.counts_vectors or options.batch is not None or options.input_shape:
            raise
        return {}, (_WITHOUT_HARDWARE,) if options.hardware else ()
    uses: dict[str, list[GemmWorkload]] = {}  # by weight, that of its owner first
    for layer in network.layers:
        uses.setdefault(layer.weight, []).append(gemms[layer.output])
    costs = {}
    for layer in network.owners:
        own, *further = uses[layer.weight]
        costs[layer.output] = PackingCosts(own, accelerator, options.energy, tuple(further))
    return costs, notes if options.counts_vectors else ()
