"""What packings cost in each layer of a model, for the inputs of the model and the hardware of the options."""

from __future__ import annotations

from collections.abc import Mapping

from tightc.accelerator.choose import accelerator_of
from tightc.cost_model.network_gemms import network_gemms
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.runtime.limited import LimitError
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts

_COUNTED = ("cycles", "replicated-cycles", "energy")  # objectives that depend on the input vectors


def layer_costs(
    plain: Model, network: Network, options: PermuteOptions
) -> tuple[Mapping[str, PackingCosts], tuple[str, ...]]:
    """(the costs of the layers of a plain model, by their output, a note for each input size that was assumed).

    Both are empty where no tried size runs and nothing asks for sizes; ModelError where the objective depends on them
    or the options give some. Notes are for objectives that depend on them.
    """
    accelerator = accelerator_of(options, options.array)
    try:
        sizes, notes = resolve_open_sizes(plain.proto, plain.origin, options)
        gemms = network_gemms(plain, network, count_macs(plain, network, sizes))
    except LimitError:
        raise
    except ModelError:
        if options.objective in _COUNTED or options.batch is not None or options.input_shape:
            raise
        return {}, ()
    costs = {
        layer.output: PackingCosts(gemms[layer.output], accelerator, options.energy)
        for layer in network.owners
    }
    return costs, notes if options.objective in _COUNTED else ()
