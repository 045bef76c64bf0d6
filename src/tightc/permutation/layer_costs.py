"""What packings cost in each layer of a model, for the inputs of the model and the hardware of the options."""

from __future__ import annotations

from collections.abc import Mapping

from tightc.accelerator.accelerator import Accelerator
from tightc.config.input_sizes import InputSizeOptions
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


def layer_costs(plain: Model, network: Network, options: PermuteOptions) -> Mapping[str, PackingCosts]:
    """The costs of the layers of a plain model, by their output; of one image, where the batch is open.

    Empty where an input size is open that no tried size fits, and the objective does not depend on it; ModelError where
    it does.
    """
    accelerator = Accelerator.of(options.hardware) if options.hardware else Accelerator(options.array)
    try:
        sizes = resolve_open_sizes(plain.proto, plain.origin, InputSizeOptions())[0]
        gemms = network_gemms(plain, network, count_macs(plain, network, sizes))
    except LimitError:
        raise
    except ModelError as fault:
        if options.objective not in _COUNTED:
            return {}
        # its remedy is a flag of simulate
        remedy = "fix the size in the model, or take --objective passes, which needs none"
        raise ModelError(fault.sentence, remedy) from None
    return {
        layer.output: PackingCosts(gemms[layer.output], accelerator, options.energy)
        for layer in network.owners
    }
