"""The verbs that tell two models apart, or hold one against requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, overload

from tightc.api.arguments import options_from, require_data, require_model, require_seed
from tightc.api.documentation import public_verb
from tightc.api.measurement import simulate
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.difference.options import DiffOptions
from tightc.model.file import Model
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.requirements.options import CheckOptions
from tightc.simulation.options import SimulateOptions
from tightc.verification.options import VerifyOptions

if TYPE_CHECKING:
    from tightc.api import keywords as kw


@public_verb(CheckOptions)
def check(
    model: Model,
    options: CheckOptions | None = None,
    *,
    against: Model | None = None,
    images: NormalizedImages | Samples | None = None,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CheckKeywords],
) -> Report:
    """Check requirements on a model, such as `require=["speedup>=4", "accuracy_drop<=1"]`.

    All measures are computed afresh. A requirement on the accuracy needs `images`, one on `accuracy_drop` or
    `agreement` also a model to compare `against`. A requirement without a value fails.

    Returns
    -------
    Report
        Whether all requirements hold (`passed`), and a row for each with its value and limit.
    """
    from tightc.requirements.check import check as stage

    chosen = options_from(CheckOptions, options, keywords)
    network = require_model(model)
    base = None if against is None else require_model(against, "against")
    data = None if images is None else require_data(images, network)
    return stage(network, chosen, against=base, data=data, progress=progress)


@public_verb(DiffOptions)
def diff(
    model: Model,
    other: Model,
    options: DiffOptions | None = None,
    *,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.DiffKeywords],
) -> Report:
    """Show what differs between two models, layer by layer.

    Layers are matched by the names of their weights. Both models are simulated on the same hardware.

    Returns
    -------
    Report
        Whether the models are `equal`, and a row for each layer with its measures in `a`, the model, and in `b`, the
        other.
    """
    from tightc.difference.diff import diff as stage

    chosen = options_from(DiffOptions, options, keywords)
    return stage(require_model(model), require_model(other, "other"), chosen, progress=progress)


@overload
def verify(
    model: Model,
    other: Model,
    options: VerifyOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.VerifyKeywords],
) -> Report: ...
@overload
def verify(
    model: Model,
    other: SimulateOptions | None = None,
    options: SimulateOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.SimulateKeywords],
) -> Report: ...
@public_verb(VerifyOptions, SimulateOptions)
def verify(
    model: Model,
    other: Model | SimulateOptions | None = None,
    options: Any = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Any,
) -> Report:
    """Verify that two models have the same weights and outputs, such as a permuted and a packed one.

    Weights are compared exactly after unpacking, but for the sign of zeros; outputs within a tolerance, by onnxruntime.
    Without another model, the cycle engine checks the cycles and values of every layer, with the options of `simulate`:
    as `simulate(model, verify=True)`, with a VerifyError where the engine, the closed forms and onnxruntime disagree.

    Returns
    -------
    Report
        Whether the models agree (`passed`), with a row for each weight and output. Without another model, as
        `simulate`, with `engine_cycles` and `value_error` for each layer.
    """
    if other is None or isinstance(other, SimulateOptions):
        own = options_from(SimulateOptions, options if other is None else other, keywords)
        return simulate(model, own.model_copy(update={"verify": True}), seed=seed, progress=progress)
    from tightc.verification.verify import verify as stage

    chosen = options_from(VerifyOptions, options, keywords)
    models = require_model(model), require_model(other, "other")
    return stage(*models, chosen, seed=require_seed(seed), progress=progress)
