"""The largest layer that the cost model counts exactly, in integers of 64 bits."""

from __future__ import annotations

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.passes import Passes
from tightc.errors import OptionError

_LARGEST = 2.0**62


def check_counts(passes: Passes, accelerator: Accelerator) -> None:
    """OptionError where events or cycles of a layer, the `passes` on `accelerator`, may not fit 64 bits.

    Both are bounded from above: no pass has more events in a step than PEs and lane inputs allow, and none takes longer
    than the array, its banks and the slowest buffer need for its words, one after the other.
    """
    if not len(passes):
        return
    rows, columns = accelerator.array
    words = sum(
        float(counts.sum())
        for counts in (
            passes.activation_words,
            passes.weight_words,
            passes.edge_words,
            passes.sums_read,
            passes.sums_written,
        )
    )
    loaded = float((passes.loaded_words + passes.loaded_bits + passes.unloaded_sums).sum())
    pes = float(rows * columns)
    events = SUM_BYTES * passes.steps * (len(passes) * pes + words * columns)
    buffers = (accelerator.activations, accelerator.weights, accelerator.sums)
    rate = min(1.0, *(buffer.words_per_cycle for buffer in buffers)) / accelerator.arrays
    # replicas may round the steps up, to twice as many; temporal tiles and replicas load a pass once a step at most
    moved = passes.steps * (2 * words + loaded)
    cycles = moved / rate + passes.steps * len(passes) * (2.0 * rows + columns)
    if max(events, cycles) > _LARGEST:
        raise OptionError(
            f"--batch: expected a layer of at most {_LARGEST:.1e} cycles and events, which 64-bit integers hold, "
            f"got up to {max(events, cycles):.1e} for {passes.steps:,} vectors",
            "give a smaller --batch or --input-shape, or buffers of more bandwidth",
        )
