"""The fan-in of a network: the one asked for, or of several the one whose objective times area is smallest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import NamedTuple

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.choose import accelerator_of
from tightc.config.yaml import parse_options
from tightc.cost_model.area import ArrayForm, area_mm2
from tightc.permutation.layer_scheduler import LayerJob, PackedLayers, pack_layers
from tightc.permutation.options import PermuteOptions
from tightc.permutation.ranking import KEYS, Candidate
from tightc.progress import Progress

TRIED = (2, 4, 8, 16)
_DEFAULT_TABLE = "configs/area/nangate45.yaml"


class Choice(NamedTuple):
    """The options with the fan-in that was chosen, and the packings for it."""

    options: PermuteOptions
    packed: PackedLayers


def pack_best(jobs: Sequence[LayerJob], options: PermuteOptions, seed: int, progress: Progress) -> Choice:
    """The packing of every job for the fan-in of the options.

    Where that is auto, the network is packed for each of TRIED that its hardware has, and the first measure of the
    objective, summed over the layers, times the area of the arrays decides; of equals the smaller fan-in.
    """
    if options.fan_in != "auto":
        return Choice(options, pack_layers(jobs, options, seed, progress))
    most = options.hardware.fan_in if options.hardware else max(TRIED)
    tried = [fan_in for fan_in in TRIED if fan_in <= most] or [most]
    choices = []
    for fan_in in tried:
        own = options.model_copy(update={"fan_in": fan_in})
        choices.append(
            Choice(own, pack_layers([_with_fan_in(job, fan_in) for job in jobs], own, seed, progress))
        )
        if choices[-1].packed.interrupted:
            break
    return min(choices, key=lambda choice: _times_area(choice, jobs))


def _with_fan_in(job: LayerJob, fan_in: int) -> LayerJob:
    """The job on an accelerator with multiplexers of so many inputs."""
    if job.costs is None:
        return job
    accelerator = replace(job.costs.accelerator, fan_in=fan_in)
    return replace(job, costs=replace(job.costs, accelerator=accelerator))


def _times_area(choice: Choice, jobs: Sequence[LayerJob]) -> float:
    """The first measure of the objective, summed over the layers, times mm2 of the arrays."""
    options, first = choice.options, KEYS[choice.options.objective][0]
    assert options.fan_in != "auto"
    form = ArrayForm.of(accelerator_of(options, options.array), options.fan_in, options.subword_bits)
    area = sum(area_mm2(form, options.area or _default_table()).values())
    packed = zip(choice.packed.packings, jobs, strict=True)
    return area * sum(Candidate(packing, job.costs).measure(first) for packing, job in packed)


def _default_table() -> AreaTable:
    text = files("tightc").joinpath(_DEFAULT_TABLE).read_text(encoding="utf-8")
    return parse_options(text, _DEFAULT_TABLE, AreaTable)
