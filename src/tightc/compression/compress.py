"""Compress: finds how far to prune within a drop by short trainings, trains that in full, packs and measures it."""

from __future__ import annotations

import json
import math
from pathlib import Path

from tightc.compression.bisection import MOST, bisect, further, nearer
from tightc.compression.goals import GOALS
from tightc.compression.options import CompressOptions
from tightc.compression.outcome import Chosen, Outcome
from tightc.compression.progress import TrialProgress
from tightc.compression.splits import Reference, open_splits
from tightc.compression.trials import PACKED, Trial, Trials, chain, with_evaluation, with_training
from tightc.data.function import names_function
from tightc.data.options import DataOptions
from tightc.files import write_file_atomically
from tightc.finetuning.finetune import require_torch
from tightc.model.file import Model, load_model
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.recipe.recipe import Recipe, RecipeData
from tightc.recipe.run import run_resolved
from tightc.recipe.workspace import Workspace
from tightc.report import Report
from tightc.report_page.run_page import write_page
from tightc.selection.network.prunable import largest_gain, prunable

_STEPS_ON = 2
_STEPS_BACK = 4
_FAR = 3.0  # standard errors


def compress(
    model: Path, folder: Path, options: CompressOptions, *, seed: int, progress: Progress = no_progress
) -> Report:
    """Compress the model in the file `model` towards the goal of `options`, within its drop; results go to `folder`.

    Short trainings bisect the sparsity, or for energy the gain of a budget. Each is a recipe run in `folder`/trials, so
    that an interrupted call goes on where it was. The furthest within the drop on held-out images is trained in full,
    then further ones while these are within the drop, or nearer ones until one is. At last the test set is read.
    `folder` then holds the run of the result, with `recipe.yaml` and, where the packages that draw are installed,
    `report.html`.

    The totals say whether the drop was `met` on both; the rows are the trials. DataError where the data has neither
    labels nor, in `options`, a teacher, or no test set.
    """
    require_torch()
    dense = load_model(model)
    plain = unpack_layers(dense)
    network = read_network(plain)
    covered = coverage(plain, network)  # before data is read: it refuses a model without layers
    given = (*DataOptions.model_fields, "validation_from")
    data = RecipeData(**{name: getattr(options, name) for name in given})
    recipe = chain(str(model), options, data, seed=seed)  # before data is read: it refuses wrong options
    most = _most(plain, network, recipe)
    splits = open_splits(data, dense, load_model(options.teacher) if options.teacher else None)
    data = data.model_copy(update={"validation": options.validation or splits.default_count})
    recipe = recipe.model_copy(update={"data": data})
    held_out, test = splits.references(dense, data.validation)
    planned = options.trials * options.short_epochs + (1 + _STEPS_ON) * options.epochs
    with Workspace.locked(folder / "trials") as workspace:
        shown = TrialProgress(progress, planned)
        kind = GOALS[options.goal].kind
        trials = Trials(recipe, kind, workspace.folder, splits.opened, held_out, shown)
        chosen, notes = _search(trials, options, most)
        trials.progress.finish()
        result = None
        if chosen is not None:
            result = _finish(folder, trials, chosen, test)
            notes += [*_remarks(held_out, test, data), *write_page(folder, progress=trials.progress)]
        report = Outcome(options, recipe, folder, trials.done, result, covered, tuple(notes)).report()
        text = json.dumps(report.to_dict(), indent=1) + "\n"
        write_file_atomically(folder / "compress.json", text.encode())
    return report


def _most(plain: Model, network: Network, recipe: Recipe) -> float:
    """The largest factor that a trial may have: a hundred, or the largest gain that a budget permits."""
    finetune = recipe.stages[0].finetune
    assert finetune is not None, "the chain begins with it"
    if finetune.budget is None:
        return MOST
    return min(MOST, largest_gain(prunable(plain, network, finetune)))


def _search(trials: Trials, options: CompressOptions, most: float) -> tuple[Trial | None, list[str]]:
    """The full training that was chosen, None where no short training is within the drop; and remarks.

    Short trainings lose more than full ones. So a full training that is within the drop is followed by further ones,
    and one that is not by nearer ones. `most`: the largest factor.
    """
    best = bisect(
        lambda factor: trials.run(factor, options.short_epochs).is_within(options), options.trials, most
    )
    if best is None:
        return None, []
    trial = trials.run(best, options.epochs)
    if not trial.is_within(options):
        return _step_back(trials, trial, options)
    for _ in range(_STEPS_ON):
        factor = further(trial.target.factor)
        if factor > most:
            return trial, []
        next_one = trials.run(factor, options.epochs)
        if not next_one.is_within(options):
            return trial, []
        trial = next_one
    return trial, [
        f"the full training to {trial.target}, the furthest tried, is within the drop too: more --trials or "
        "--trial-epochs may go further"
    ]


def _step_back(trials: Trials, trial: Trial, options: CompressOptions) -> tuple[Trial, list[str]]:
    """The first of a few full trainings, each nearer than the one before, that is within the drop, or the last one."""
    notes: list[str] = []
    for _ in range(_STEPS_BACK):
        if trial.is_within(options) or trial.target.factor == 1:
            break
        nearer_one = trials.run(nearer(trial.target.factor), options.epochs)
        notes.append(
            f"after the full training to {trial.target} the drop on the held-out images is {trial.drop}: stepped back "
            f"to {nearer_one.target}"
        )
        trial = nearer_one
    return trial, notes


def _finish(folder: Path, trials: Trials, chosen: Trial, test: Reference) -> Chosen:
    """Take the run of the `chosen` trial to `folder`, add the test set to it, and measure the drop there."""
    for path in sorted(chosen.folder.glob("[0-9][0-9]-*")):
        write_file_atomically(folder / path.name, path.read_bytes())
    recipe = with_training(trials.recipe, chosen.target, chosen.epochs)
    evaluated = with_evaluation(recipe, by_teacher=test.teacher is not None)
    report = run_resolved(evaluated, folder, opened=trials.opened, progress=trials.progress)
    accuracy = report.layers[-1]["accuracy"] if test.teacher is None else None
    return Chosen(chosen, test.drop(load_model(folder / f"{PACKED}.onnx")), accuracy)


def _remarks(held_out: Reference, test: Reference, data: RecipeData) -> list[str]:
    """Whether the dense network knows the held-out images, and what repeating the recipe needs."""
    notes = []
    if held_out.right is not None and test.right is not None and data.trained_without:
        known, unknown = (float(right.mean()) for right in (held_out.right, test.right))
        n, m = len(held_out.right), len(test.right)
        error = math.sqrt(known * (1 - known) / n + unknown * (1 - unknown) / m)
        if known - unknown > _FAR * error:
            notes.append(
                f"the dense network has {100 * known:.2f} % on the held-out images and {100 * unknown:.2f} % on the "
                "test set: it was trained on the former, so their drop is too large; try --validation-from test"
            )
    if names_function(data.data):
        notes.append("the recipe names a function for its data: repeat it with tightc run --allow-code")
    return notes
