"""The passes of a layer on an accelerator, dense or packed, as they read the banks that it has."""

from __future__ import annotations

from tightc.accelerator.accelerator import Accelerator
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.cost_model.passes import Dataflow, Passes, dense_passes, packed_passes
from tightc.tile.packing import Packing


def passes_of_packing(packing: Packing, gemm: GemmWorkload, accelerator: Accelerator) -> Passes:
    """The tiles of `packing`, weight-stationary, or for a dense one all weights of `gemm`."""
    if packing.method == "dense":
        return passes_of_dense("ws", gemm, accelerator)
    passes = packed_passes(packing, gemm)
    if accelerator.bank_network is None:
        return passes
    return _with_banks(passes, LaneInputs.of_packing(packing), gemm, accelerator)


def passes_of_dense(dataflow: Dataflow, gemm: GemmWorkload, accelerator: Accelerator) -> Passes:
    """All weights of `gemm` in `dataflow`, which is weight-stationary where `accelerator` has banks."""
    passes = dense_passes(dataflow, gemm, accelerator.array)
    if accelerator.bank_network is None:
        return passes
    return _with_banks(passes, LaneInputs.of_dense(gemm, accelerator.array), gemm, accelerator)


def _with_banks(
    passes: Passes, lane_inputs: LaneInputs, gemm: GemmWorkload, accelerator: Accelerator
) -> Passes:
    # loads numba, which costs without banks do not need
    from tightc.cost_model.banks import with_banks

    assert accelerator.bank_network is not None
    return with_banks(passes, lane_inputs, gemm, accelerator.bank_network)
