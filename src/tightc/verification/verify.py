"""Verify: whether two models, such as a permuted and a packed one, have the same weights and give the same outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.model.packings.packed_form import unpack_layers
from tightc.model.runtime.float32_copy import bfloat16_notes
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.verification.options import VerifyOptions
from tightc.verification.outputs import feeds_for, output_rows, outputs_of
from tightc.verification.weights import weight_rows

Row = dict[str, Any]


def verify(
    a: Model, b: Model, options: VerifyOptions, *, seed: int = 0, progress: Progress = no_progress
) -> Report:
    """A row for each weight of the layers, and for each output of one run; `passed` where none failed.

    Weights are those of the unpacked models, compared exactly but for the sign of zeros. Both models run as they are,
    on the inputs of `options` or on random ones from `seed`; integer outputs have to be equal. ModelError where one
    cannot run.
    """
    plain = unpack_layers(a)
    rows = list(weight_rows(plain, unpack_layers(b)))
    progress("verify", 0.5, {"": "weights"})
    options, assumed = resolve_open_sizes(plain.proto, a.origin, options)
    outputs, names = _output_rows(a, b, plain, options, seed)
    rows += outputs
    progress("verify", 1.0, {"": "outputs"})
    failed = [row for row in rows if row["result"] == "failed"]
    errors = [row["error"] for row in rows if row["error"] is not None]
    totals = {
        "a": a.origin,
        "b": b.origin,
        "passed": not failed,
        "layers": sum(row["kind"] == "weight" for row in rows),
        "layers_differing": sum(row["kind"] == "weight" for row in failed),
        "weights_differing": sum(row["differing"] or 0 for row in failed if row["kind"] == "weight"),
        "constants_differing": sum(row["kind"] == "constant" for row in failed),
        "outputs_differing": sum(row["kind"] == "output" for row in failed),
        "output_error": max(errors, default=None),
        "inputs": options.inputs or f"random, seed {seed}",
        "input_shapes": names,
    }
    notes = dict.fromkeys((*a.notes, *b.notes, *assumed, *bfloat16_notes(a.proto)))
    return Report("verify", totals, rows, notes=(*notes, *_reasons(failed)))


def _output_rows(
    a: Model, b: Model, plain: Model, options: VerifyOptions, seed: int
) -> tuple[list[Row], dict[str, list[int]]]:
    """The rows of the outputs, and the shape of each input that both were run on."""
    given = options.inputs
    feeds = read_feeds(given, plain, options) if given else random_feeds(plain, options, seed)
    others = feeds_for(b, a, feeds)
    shapes = {name: list(array.shape) for name, array in feeds.items()}
    if others is None:
        reason = f"{b.origin} takes other inputs than {a.origin}"
        return [{**_NOT_RUN, "reason": reason}], shapes
    rows = output_rows(outputs_of(a, feeds), outputs_of(b, others), options.tolerance)
    return list(rows), shapes


_NOT_RUN: Row = {
    "name": "outputs",
    "kind": "output",
    "type": None,
    "values": None,
    "differing": None,
    "largest_difference": None,
    "error": None,
    "result": "failed",
}


def _reasons(failed: Sequence[Row]) -> list[str]:
    return [f"{row['name']}: {row['reason']}" for row in failed if row["reason"]]
