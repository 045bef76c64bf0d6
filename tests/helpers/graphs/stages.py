"""A drawn model through all stages, each reading the bytes of the one before; stock onnxruntime computes outputs."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import onnx
import torch
from hypothesis import event, note

import tightc
from helpers.chains import again, constants, unsigned
from helpers.graphs.drawing import GeneratedGraph
from helpers.graphs.filters import removed_filters, shifted_channels, with_inputs_restored
from helpers.graphs.network import Array, run
from helpers.loading import loaded
from tightc.bridge.module import TorchGraph
from tightc.errors import InternalError, TightcError, VerifyError
from tightc.model.onnx_proto.graph import read_graph
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule

# of the largest output: sums may be taken in another order
TOLERANCE = 1e-5
HALF_TOLERANCE = 5e-3  # where values are float16
STEP = 2e-2  # where activations are quantized: one may be rounded to the next integer
# another library, with kernels of its own
BRIDGE_TOLERANCES = (1e-4, 2e-2)
ARRAY = "8x8"


def is_sentence(fault: TightcError) -> bool:
    """Whether an error blames the model, in one line with a remedy."""
    is_ours = isinstance(fault, InternalError | VerifyError)
    return not is_ours and bool(fault.sentence and fault.remedy) and "\n" not in str(fault)


def unpruned(graph: GeneratedGraph) -> tightc.Model | None:
    """The model as prune writes it at a sparsity of 0; None where it is refused by a sentence."""
    try:
        model = again(tightc.prune(loaded(graph.proto), sparsity=0).model)
    except TightcError as fault:
        event(f"refused: {fault.sentence.partition('(')[0]}")
        note(str(fault))
        assert is_sentence(fault), fault
        assert is_permitted(fault), fault
        return None
    onnx.checker.check_model(model.proto, full_check=True)
    return model


PERMITTED = (
    "no layer can be packed",  # all weights are outputs too, are in subgraphs, or are computed
    "and none can be inferred",  # the rank of an output without a shape, behind a Loop with open sizes
)


def is_permitted(fault: TightcError) -> bool:
    """Whether a sentence is among those that drawn models may be refused with."""
    return any(part in fault.sentence for part in PERMITTED)


def assert_equal(want: list[Array], got: list[Array], tolerance: float) -> None:
    """Outputs agree within `tolerance` of the largest."""
    for one, other in zip(want, got, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        bound = tolerance * max(1.0, float(np.abs(one).max(initial=0)))
        np.testing.assert_allclose(other.astype(float), one.astype(float), rtol=0, atol=bound)


def tolerance_of(graph: GeneratedGraph) -> float:
    if "op: QuantizeLinear" in graph.kinds:
        return STEP
    return HALF_TOLERANCE if graph.has_half else TOLERANCE


def sizes(graph: GeneratedGraph) -> tuple[str, ...]:
    """The shapes of the inputs, as `--input-shape` takes them."""
    return tuple(
        f"{name}={'x'.join(map(str, array.shape))}" for name, array in graph.feeds.items() if array.ndim
    )


def assert_finite(report: tightc.Report) -> None:
    """No NaN or infinity among the numbers of a report."""

    def numbers(entry: Any) -> Any:
        if isinstance(entry, dict):
            for one in entry.values():
                yield from numbers(one)
        elif isinstance(entry, list | tuple):
            for one in entry:
                yield from numbers(one)
        elif isinstance(entry, float):
            yield entry

    assert all(map(isfinite, numbers(report.to_dict())))


METHODS: dict[str, dict[str, Any]] = {
    "first-fit": {},
    "tight": {"temp_schedule": TemperatureSchedule(steps=2, moves_per_weight=5)},
    "column-combine": {"alpha": 4},
    "dense": {},
}


def check_chain(graph: GeneratedGraph, method: str = "first-fit") -> bool:
    """Prune, permute, pack, unpack and verify a drawn model; whether it was accepted."""
    model = unpruned(graph)
    if model is None:
        return False
    assert_equal(graph.outputs(), run(model.proto, graph.feeds), tolerance_of(graph))
    pruned, pruning = tightc.prune(model, sparsity=0.8)
    pruned = again(pruned)
    permuted, permutation = tightc.permute(
        pruned, array=ARRAY, fan_in=4, method=method, jobs=1, **METHODS[method]
    )
    permuted = again(permuted)
    packed, packing = tightc.pack(permuted)
    packed = again(packed)
    unpacked, unpacking = tightc.unpack(packed)
    unpacked = again(unpacked)
    assert_same_constants(pruned.proto, unpacked.proto)
    want = run(pruned.proto, graph.feeds)
    for one in (pruned, permuted, packed, unpacked):
        onnx.checker.check_model(one.proto, full_check=True)
        # the kernel of a packed MatMul has no weight that it could lay out beforehand
        bound = tolerance_of(graph) if one is packed else 0.0
        assert_equal(want, run(one.proto, graph.feeds), bound)
    verified = tightc.verify(packed, array=ARRAY, input_shape=sizes(graph))
    assert verified.totals["verified_layers"] == len(verified.layers) == len(pruning.layers)
    for report in (pruning, permutation, packing, unpacking, verified):
        assert_finite(report)
    return True


def assert_same_constants(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """The tensors of two models are equal to the bit, but for the sign of zeros."""
    ours, theirs = constants(before), constants(after)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        other = theirs[name]
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
        assert unsigned(other) == unsigned(array), name


def check_filters(graph: GeneratedGraph, sparsity: float) -> bool:
    """Prune filters of a drawn model; whether some were removed."""
    model = unpruned(graph)
    if model is None:
        return False
    before, after = (
        model.proto,
        again(tightc.prune(model, sparsity=sparsity, granularity="filter").model).proto,
    )
    onnx.checker.check_model(after, full_check=True)
    want = run(with_inputs_restored(before, after), graph.feeds)
    assert_equal(want, run(after, graph.feeds), tolerance_of(graph))
    for channel in shifted_channels(before, after, graph.feeds):
        assert not channel.any()
    return removed_filters(before, after) > 0


def check_bridge(graph: GeneratedGraph) -> bool:
    """Run a drawn model in torch; whether torch has its operators."""
    try:
        parts = read_graph(loaded(graph.proto).proto)
        module = TorchGraph(parts).eval()
    except TightcError as fault:
        event(f"refused: {fault.sentence.partition('(')[0]}")
        assert is_sentence(fault), fault
        return False
    with torch.no_grad():
        found = module(*(torch.from_numpy(np.array(graph.feeds[name])) for name in parts.inputs))
    assert_equal(
        graph.outputs(), [tensor.detach().numpy() for tensor in found], BRIDGE_TOLERANCES[graph.has_half]
    )
    return True
