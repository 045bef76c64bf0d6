"""The fan-in of a network: the one asked for, or of several the one whose objective times area is smallest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import NamedTuple

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.choose import accelerator_of
from tightc.config.yaml import parse_options
from tightc.cost_model.area import ArrayForm, area_mm2
from tightc.deadline import Deadline
from tightc.errors import OptionError
from tightc.permutation.layer_scheduler import LayerJob, PackedLayers, pack_layers
from tightc.permutation.options import PermuteOptions
from tightc.permutation.ranking import KEYS, Candidate
from tightc.progress import Progress

TRIED = (2, 4, 8, 16)
_LEAST_SECONDS = 1e-9  # a time limit of 0 is none
_DEFAULT_TABLE = "configs/area/nangate45.yaml"


class Choice(NamedTuple):
    """The options with the fan-in that was chosen, and the packings for it."""

    options: PermuteOptions
    packed: PackedLayers


def pack_best(jobs: Sequence[LayerJob], options: PermuteOptions, seed: int, progress: Progress) -> Choice:
    """The packing of every job for the fan-in of the options.

    Where that is auto, the network is packed for each of TRIED, and the first measure of the objective, summed over the
    layers, times the area of the arrays decides; of equals the smaller fan-in. The time limit holds for all of them
    together. OptionError where the area table lacks one.
    """
    if options.fan_in != "auto":
        return Choice(options, pack_layers(jobs, options, seed, progress))
    tried = _tried(options)
    for fan_in in tried:
        _area(options, fan_in)
    limit = options.time_limit or options.temp_schedule.time_limit
    deadline = Deadline(limit or math.inf)
    choices: list[Choice] = []
    for number, fan_in in enumerate(tried):
        own = options.model_copy(update={"fan_in": fan_in})
        seconds = deadline.remaining() / (len(tried) - number)
        limited = own.model_copy(update={"time_limit": max(seconds, _LEAST_SECONDS)}) if limit else own
        part = _part(progress, number, len(tried))
        packed = pack_layers([_with_fan_in(job, fan_in) for job in jobs], limited, seed, part)
        choices.append(Choice(own, packed))
        if packed.interrupted:
            break
    best = min(choices, key=lambda choice: _times_area(choice, jobs))
    return best._replace(packed=_ended(best.packed, choices, jobs, whole=len(choices) == len(tried)))


def _tried(options: PermuteOptions) -> list[int]:
    """TRIED, on hardware those below its fan-in and that."""
    if options.hardware is None:
        return list(TRIED)
    most = options.hardware.fan_in
    return [*(fan_in for fan_in in TRIED if fan_in < most), most]


def _ended(
    best: PackedLayers, choices: Sequence[Choice], jobs: Sequence[LayerJob], *, whole: bool
) -> PackedLayers:
    """`best` with what ended the search for any fan-in; without the `whole` of them, every layer was cut short."""
    cut = {name for choice in choices for name in choice.packed.cut_short}
    return PackedLayers(
        best.packings,
        any(choice.packed.interrupted for choice in choices),
        tuple(job.name for job in jobs if job.name in cut or not whole),
        best.curves,
    )


def _part(progress: Progress, number: int, parts: int) -> Progress:
    """Reports to `progress` from part `number` of so many alike."""

    def report(task: str, done: float, figures: Mapping[str, str], /) -> None:
        progress(task, (number + done) / parts, figures)

    return report


def _with_fan_in(job: LayerJob, fan_in: int) -> LayerJob:
    """The job on its accelerator with multiplexers of so many inputs; on an ideal one they are as each layer needs."""
    if job.costs is None or job.costs.accelerator.fan_in is None:
        return job
    accelerator = replace(job.costs.accelerator, fan_in=fan_in)
    return replace(job, costs=replace(job.costs, accelerator=accelerator))


def _times_area(choice: Choice, jobs: Sequence[LayerJob]) -> float:
    """The first measure of the objective, summed over the layers, times mm2 of the arrays, both as simulate reports."""
    options, packings = choice.options, choice.packed.packings
    assert options.fan_in != "auto"
    first, fan_in = KEYS[options.objective][0], options.fan_in
    if options.hardware is None:
        fan_in = max((packing.fan_in for packing in packings), default=1)
    total = 0.0
    for packing, job in zip(packings, jobs, strict=True):
        costs = _with_fan_in(job, fan_in).costs
        if costs and options.objective == "replicated-cycles":
            costs = costs.replicating()
        total += Candidate(packing, costs).measure(first)
    return _area(options, fan_in) * total


def _area(options: PermuteOptions, fan_in: int) -> float:
    """mm2 of the arrays of the options with multiplexers of so many inputs.

    OptionError where the array is not of the kind that was synthesized.
    """
    accelerator = accelerator_of(options, options.array)
    if accelerator.operand_bytes != 1:
        raise OptionError(
            "--fan-in auto: expected hardware with int8 operands, as the area table's elements have, got fp32",
            "give an integer",
        )
    form = ArrayForm.of(accelerator, fan_in, options.subword_bits)
    return sum(area_mm2(form, options.area or _default_table()).values())


def _default_table() -> AreaTable:
    text = files("tightc").joinpath(_DEFAULT_TABLE).read_text(encoding="utf-8")
    return parse_options(text, _DEFAULT_TABLE, AreaTable)
