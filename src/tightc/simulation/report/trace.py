"""A trace: every cycle of one layer on the arrays, as CSV."""

from __future__ import annotations

import csv
import difflib
import io
from pathlib import Path

from tightc.errors import OptionError
from tightc.files import make_folder, write_file_atomically
from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.names import file_stems
from tightc.report import join_names
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

    `layer` is a layer of `model` by its name in the report; None is the first. `options` as in simulate, with random
    inputs from `seed` where they give none. OptionError where no layer has that name.
    """
    options, _ = resolve_open_sizes(model.proto, model.origin, options)
    workload = read_workload(model, options)
    accelerator = choose_accelerator(workload, options)
    names = [entry.layer.name for entry in workload.layers]
    if layer is not None and layer not in names:
        nearest = difflib.get_close_matches(layer, names, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else f"give one of {join_names(names)}"
        raise OptionError(f"--layer: expected the name of a layer, got {layer!r}", hint)
    if options.inputs:
        feeds = read_feeds(options.inputs, workload.plain, options)
    else:
        feeds = random_feeds(workload.plain, options, seed)
    number = names.index(layer) if layer else 0
    entry = workload.layers[number]
    traces = trace_layer(workload, entry, accelerator, options.dataflow, feeds)
    path = folder / f"{file_stems(names)[number]}.csv"
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
