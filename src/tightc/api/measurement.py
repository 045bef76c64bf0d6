"""The verbs that measure models and write none."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tightc.api.arguments import (
    images_and_normalization,
    options_from,
    refuse_without_images,
    require_data,
    require_images,
    require_model,
    require_models,
    require_seed,
)
from tightc.api.documentation import public_verb
from tightc.comparison.options import CompareOptions
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.evaluation.options import EvaluateOptions
from tightc.exploration.options import ExploreOptions
from tightc.inspection.options import InspectOptions, SensitivityOptions
from tightc.model.file import Model
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.rtl.options import RtlOptions
from tightc.simulation.options import SimulateOptions

if TYPE_CHECKING:
    from tightc.api import keywords as kw


@public_verb(InspectOptions, SensitivityOptions)
def inspect(
    model: Model,
    options: InspectOptions | None = None,
    *,
    images: NormalizedImages | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.InspectKeywords],
) -> Report:
    """List the layers of a model, and what is not covered.

    With `images` each layer is also pruned alone, by magnitude, to measure its sensitivity: the loss of accuracy and
    the divergence of the class probabilities.

    Returns
    -------
    Report
        A row for each layer: its matrix, the vectors that stream through it, its density.
    """
    from tightc.inspection.inspect import inspect as stage

    given: dict[str, Any] = dict(keywords)
    about_images = {name: given.pop(name) for name in SensitivityOptions.model_fields if name in given}
    chosen = options_from(InspectOptions, options, given)
    report = stage(require_model(model), chosen)
    if images is None:
        refuse_without_images(about_images)
        return report
    from tightc.inspection.sensitivity import with_sensitivity

    seen = require_images(images)
    sensitivity = SensitivityOptions(**{**about_images, "seed": require_seed(seed)})
    return with_sensitivity(report, model, seen.images, seen.normalization, sensitivity, progress=progress)


@public_verb(SimulateOptions)
def simulate(
    model: Model,
    options: SimulateOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.SimulateKeywords],
) -> Report:
    """Count cycles and energy on a systolic array, and compare with the dense network.

    A permuted or packed layer runs its tiles, any other layer runs dense. Cycles are exact closed forms; energy is a
    model, not a measurement.

    Returns
    -------
    Report
        Cycles, utilisation and energy of the network and of each layer, beside those of the dense network.
    """
    from tightc.simulation.simulate import simulate as stage

    chosen = options_from(SimulateOptions, options, keywords)
    return stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)


@public_verb(EvaluateOptions)
def evaluate(
    model: Model,
    images: NormalizedImages | Samples,
    options: EvaluateOptions | None = None,
    *,
    teacher: Model | None = None,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.EvaluateKeywords],
) -> Report:
    """Measure top-1 accuracy, or another metric, with onnxruntime.

    With a `teacher` the agreement with it: the images of the same class, or the error of other outputs.

    Returns
    -------
    Report
        Accuracy in percent, and the counts behind it; or the measures of the metric.
    """
    from tightc.evaluation.evaluate import evaluate as stage

    chosen = options_from(EvaluateOptions, options, keywords)
    network = require_model(model)
    seen, normalization = images_and_normalization(require_data(images, network))
    if teacher is not None:
        require_model(teacher, "teacher")
    return stage(network, seen, normalization, chosen, teacher=teacher, progress=progress)


@public_verb(CompareOptions)
def compare(
    models: Model | Sequence[Model],
    options: CompareOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CompareKeywords],
) -> Report:
    """Compare methods of packing on the same hardware.

    Every method packs the weights of each model anew and is simulated on the same array. The models are not changed.

    Returns
    -------
    Report
        A row for each model and variant.
    """
    from tightc.comparison.compare import compare as stage

    chosen = options_from(CompareOptions, options, keywords)
    given = require_models(models)
    return stage(given, chosen, seed=require_seed(seed), progress=progress)


@public_verb(ExploreOptions)
def explore(
    models: Model | Sequence[Model],
    options: ExploreOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    store: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.ExploreKeywords],
) -> Report:
    """Find the Pareto front of arrays, fan-ins, sparsities and methods.

    Points are kept in the SQLite file `store`, if one is given, and taken from it when they are there. A point is
    skipped only where a proven lower bound of it is dominated. With `images` accuracy is a measure of the front.

    Returns
    -------
    Report
        A row for each point, with `status` front, dominated, skipped or unfit.
    """
    from tightc.exploration.explore import explore as stage

    chosen = options_from(ExploreOptions, options, keywords)
    given = require_models(models)
    data = None if images is None else require_data(images, given[0])
    where = None if store is None else Path(store)
    found = stage(given, chosen, data, store=where, seed=require_seed(seed), progress=progress)
    return found.report


@public_verb(RtlOptions)
def write_rtl(
    model: Model,
    folder: str | PathLike[str],
    options: RtlOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.WriteRtlKeywords],
) -> Report:
    """Write the array as SystemVerilog, the network in its memories.

    The model has int8 weights and activations. VerifyError where a simulation finds other values or cycles than
    onnxruntime and `simulate`.

    Returns
    -------
    Report
        Passes and cycles of each layer, and what the simulation found.
    """
    from tightc.rtl.cosimulation import check_simulator, simulated_report
    from tightc.rtl.rtl import rtl as stage
    from tightc.rtl.write import write_design

    chosen = options_from(RtlOptions, options, keywords)
    check_simulator(chosen)
    design = stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)
    write_design(design, Path(folder))
    return simulated_report(design, Path(folder), chosen)
