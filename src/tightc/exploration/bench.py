"""One network of the grid, prepared once for all its points: pruned, its layers read, its products counted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.choose import accelerator_of
from tightc.data.images import Normalization, NormalizedImages
from tightc.data.samples import Samples
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.exploration.bounds import Costs, least_costs
from tightc.exploration.grid import Network, Point
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network as Layers
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.layer_scheduler import LayerJob, packing_problem
from tightc.permutation.methods import dense, first_fit, structured
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.permute import layer_jobs, zeroed_weights
from tightc.permutation.problem import PackingProblem
from tightc.pruning.prune import prune
from tightc.tile.fan_in_bound import LaneInputs
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

Data = NormalizedImages | Samples


@dataclass
class Bench:
    """What the points of `network` share. Nothing is computed before it is needed."""

    network: Network
    _counted: tuple[dict[str, PackingCosts], tuple[str, ...]] | None = None

    @cached_property
    def plain(self) -> Model:
        """The plain model with its zeros, without packings."""
        chosen = self.network.prune
        model = unpack_layers(self.network.model)
        return with_packings(model if chosen is None else prune(model, chosen).model, {})

    @cached_property
    def layers(self) -> Layers:
        """The layers of the plain model."""
        return read_network(self.plain)

    def costs(self, options: PermuteOptions) -> tuple[dict[str, PackingCosts], tuple[str, ...]]:
        """(the costs of each layer on the accelerator of `options`, by output, a note for each assumed size)."""
        shared, notes = self._products(options)
        accelerator = accelerator_of(options, options.array)
        return {name: replace(one, accelerator=accelerator) for name, one in shared.items()}, notes

    def _products(self, options: PermuteOptions) -> tuple[dict[str, PackingCosts], tuple[str, ...]]:
        if self._counted is None:
            # an objective that needs the products, so that unknown sizes are an error
            counting = options.model_copy(update={"objective": "cycles"})
            found, notes = layer_costs(self.plain, self.layers, counting)
            self._counted = (dict(found), notes)
        return self._counted

    def jobs(self, options: PermuteOptions) -> list[LayerJob]:
        """The layers to pack by `options`, in the order of the network."""
        return layer_jobs(self.layers, options, self.costs(options)[0])

    @cached_property
    def _dense(self) -> dict[Accelerator, tuple[float, float]]:
        return {}

    def dense(self, point: Point) -> tuple[float, float]:
        """Cycles and energy in pJ of the network with all its weights on the accelerator of `point`."""
        accelerator = replace(accelerator_of(point.permute, point.permute.array), fan_in=None)
        if accelerator not in self._dense:
            cycles = energy = 0.0
            for job in self.jobs(point.permute):
                assert job.costs is not None
                packing = dense.pack(job.load(), packing_problem(point.permute, job.costs))
                own = job.costs.of(packing)
                cycles, energy = cycles + own.cycles, energy + own.energy_pj
            self._dense[accelerator] = (cycles, energy)
        return self._dense[accelerator]

    def accuracy(self, data: Data, packings: Sequence[Packing] = ()) -> float:
        """Top-1 accuracy in percent on `data`; with `packings` without the weights that have no slot in them."""
        model = self.plain
        if packings:
            by_weight = {layer.weight: one for layer, one in zip(self.layers.owners, packings, strict=True)}
            model = self.layers.store(model, zeroed_weights(self.layers, by_weight))
        images, normalization = (
            (data, Normalization()) if isinstance(data, Samples) else (data.images, data.normalization)
        )
        return float(evaluate(model, images, normalization, EvaluateOptions()).totals["accuracy"])


def layer_bounds(jobs: Sequence[LayerJob], options: Sequence[PermuteOptions]) -> list[Costs]:
    """What any packing of a layer costs at least that tight returns: of its job by each of `options`, for one array."""
    matrix = jobs[0].load()
    inputs = LaneInputs.of(matrix.slots(), matrix.groups, options[0].array)
    problems = [packing_problem(own, job.costs) for job, own in zip(jobs, options, strict=True)]
    return [least_costs(matrix, problem, most_passes(matrix, problem), inputs) for problem in problems]


def most_passes(matrix: LayerMatrix, problem: PackingProblem) -> int:
    """Passes that tight never exceeds for the objective passes: it offers these packings too, and keeps the fewest.

    Where buffers limit, the packing of fewest passes may not run. Then it is the passes of any packing at all.
    """
    assert problem.costs is not None, "buffers need costs"
    array = problem.array
    if math.isinf(problem.costs.accelerator.sums.usable):
        filled = first_fit.passes(*matrix.nonzeros(), array, problem.fan_in)
        return min(filled, structured.passes(matrix, array))
    whole = len(dense.pack(matrix, problem).tiles)
    return max(int(np.count_nonzero(matrix.values)), whole)


def data_digest(data: Data) -> str:
    """A digest of images or samples, their labels and normalization."""
    digest = hashlib.sha256()
    arrays: list[Any]
    if isinstance(data, Samples):
        arrays = [*data.inputs.values(), data.labels]
    else:
        arrays = [data.images.pixels, data.images.labels, data.normalization.mean, data.normalization.std]
    for array in arrays:
        content = np.asarray(array)
        digest.update(f"{content.dtype}{content.shape}".encode())
        digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()
