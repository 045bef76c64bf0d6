"""The verbs that work in folders and files: recipes, compressions and their pages."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tightc.api.arguments import options_from, python_errors, require_model, require_seed
from tightc.api.documentation import public_verb
from tightc.compression.options import CompressOptions
from tightc.model.file import Model
from tightc.progress import Progress, no_progress
from tightc.report import Report, Result
from tightc.report_page.options import ReportOptions

if TYPE_CHECKING:
    from tightc.api import keywords as kw


@python_errors
def run_recipe(
    recipe: str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    seed: int | None = None,
    allow_code: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Run a recipe: a YAML file with a model, data and a list of stages.

    A stage is skipped where its input and options did not change. The folder gets the report page too, with the extra
    `report`.

    Parameters
    ----------
    recipe : str or PathLike
        The YAML file of the recipe.
    folder : str or PathLike, optional
        Folder for the models and records, default tightc-run/NAME.
    seed : int, optional
        Seed of all randomness, default the recipe's.
    allow_code : bool, default False
        Allow the recipe to run code: a function that gives its data, or a Dask scheduler.
    progress : callable, optional
        Called as `progress(task, done, figures)`: the name of a task, the fraction done, label to value.

    Returns
    -------
    Report
        A row for the model that the recipe starts from, and one for each stage.
    """
    from tightc.recipe.run import run_recipe as run
    from tightc.report_page.run_page import with_page

    path = Path(recipe)
    where = Path("tightc-run") / path.stem if folder is None else Path(folder)
    checked = None if seed is None else require_seed(seed)
    report = run(path, where, seed=checked, allow_code=allow_code, progress=progress)
    return with_page(report, where, progress=progress)


@public_verb(CompressOptions)
def compress(
    model_path: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    options: CompressOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CompressKeywords],
) -> Report:
    """Compress a model as far as a drop of accuracy permits, by the whole chain towards a goal.

    Short trainings find the sparsity, or for energy the gain, and full ones follow. Held-out images choose; the test
    set is read once, at the end. The folder then holds the packed model and the recipe that repeats it. A call that
    was interrupted goes on where it was.

    Returns
    -------
    Report
        A row for each training. `report.totals["met"]` says whether the drop was kept, on the held-out images and on
        the test set.
    """
    from tightc.compression.compress import compress as run

    path = Path(model_path)
    chosen = options_from(CompressOptions, options, keywords)
    folder = Path("tightc-compress") / path.stem if output is None else Path(output)
    return run(path, folder, chosen, seed=require_seed(seed), progress=progress)


@public_verb(ReportOptions)
def write_report(
    sources: Model | str | PathLike[str] | Sequence[Model | str | PathLike[str]],
    path: str | PathLike[str],
    options: ReportOptions | None = None,
    *,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.WriteReportKeywords],
) -> Report:
    """Write one HTML page on a run or on models.

    The page is one HTML file that needs no network. The models are simulated by closed forms; nothing is searched or
    trained. Needs altair: `pip install 'tightc[report]'`.

    Returns
    -------
    Report
        How large the page is, and the layers whose tiles it holds.
    """
    from tightc.files import write_file_atomically
    from tightc.report_page.page import report_page as stage

    chosen = options_from(ReportOptions, options, keywords)
    several = sources if isinstance(sources, list | tuple) and not isinstance(sources, Result) else [sources]
    given = [
        Path(one) if isinstance(one, str | PathLike) else require_model(one, "sources") for one in several
    ]
    html, report = stage(given, chosen, progress=progress)
    write_file_atomically(Path(path), html)
    return report
