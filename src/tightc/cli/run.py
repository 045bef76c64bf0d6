"""`tightc run`."""

from __future__ import annotations

from pathlib import Path

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, show


@click.command(cls=StageCommand, epilog="Example: tightc run configs/resnet20-cifar10.yaml -o build/resnet20")
@click.argument("recipe", required=False, metavar="[RECIPE.yaml]")
@click.option(
    "-o", "--output", metavar="FOLDER", help="Folder for models and records.  [default: tightc-run/NAME]"
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of all randomness.  [default: the recipe's]")
@click.option(
    "--allow-code",
    is_flag=True,
    help="Allow the recipe to run code: a data function or a Dask scheduler.",
)
@display_flags
def run(recipe: str | None, output: str | None, seed: int | None, allow_code: bool, display: Display) -> None:
    """Run a recipe: a list of stages with options.

    Without a recipe the embedded example runs: a small CNN for handwritten digits. A stage is skipped where its input
    and options did not change, so an interrupted run resumes. It ends with the page
    report.html, which needs altair: pip install 'tightc[report]'.
    """
    from tightc.example import RECIPE
    from tightc.recipe.run import run_recipe
    from tightc.report_page.run_page import with_page

    path = Path(recipe) if recipe else RECIPE
    folder = Path(output) if output else Path("tightc-run") / path.stem
    display.standing.kept = f"{folder} keeps what is done; run the same command again to go on"
    with display.progress() as progress:
        report = run_recipe(path, folder, seed=seed, allow_code=allow_code, progress=progress)
        report = with_page(report, folder, progress=progress)
    show(report, display)
