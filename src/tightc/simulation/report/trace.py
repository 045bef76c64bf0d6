"""A trace: every cycle of one layer on the arrays, as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tightc.files import make_folder, write_file_atomically
from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.model.layer_view.layer_names import find_layer
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.names import file_stems
from tightc.simulation.choose_accelerator import choose_accelerator
from tightc.simulation.engine.cycle_log import Trace
from tightc.simulation.engine.stationary import LOG_COLUMNS
from tightc.simulation.options import SimulateOptions
from tightc.simulation.verify import trace_layer
from tightc.simulation.workload import read_workload

COLUMNS = ("cycle", "array", "pass", "temporal_tile", "phase", *LOG_COLUMNS)


def write_trace(
    model: Model, options: SimulateOptions, layer: str | None, folder: Path, *, seed: int = 0
) -> Path:
    """Writes LAYER.csv into `folder`, made if missing, with a line for each cycle of each array; returns its path.

    `layer` is a layer of `model` by its node, label or weight; None is the first. `options` as in simulate, with random
    inputs from `seed` where they give none. OptionError where no layer has that name.
    """
    options, _ = resolve_open_sizes(model.proto, model.origin, options)
    workload = read_workload(model, options)
    accelerator = choose_accelerator(workload, options)
    layers = [entry.layer for entry in workload.layers]
    number = 0 if layer is None else layers.index(find_layer(layers, layer, "--layer"))
    if options.inputs:
        feeds = read_feeds(options.inputs, workload.plain, options)
    else:
        feeds = random_feeds(workload.plain, options, seed)
    entry = workload.layers[number]
    traces = trace_layer(workload, entry, accelerator, options.dataflow, feeds)
    path = folder / f"{file_stems([entry.name for entry in layers])[number]}.csv"
    make_folder(folder)
    write_file_atomically(path, _as_csv(traces).encode())
    return path


def _as_csv(traces: list[Trace]) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    clocks: dict[int, int] = {}
    for trace in traces:
        first = clocks.get(trace.array, 0)
        for i, counts in enumerate(trace.log.tolist()):
            lines.writerow((first + i, trace.array, trace.tile, trace.temporal_tile, trace.phase, *counts))
        clocks[trace.array] = first + len(trace.log)
    return text.getvalue()
