"""`tightc hardware`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tightc.accelerator.hardware import Hardware
from tightc.cli.command import StageCommand
from tightc.cli.console import table_console
from tightc.cli.suggestions import Suggested
from tightc.config.options import unknown_name
from tightc.config.shipped import find_file, shipped_file, shipped_names
from tightc.config.yaml import parse_options, read_text
from tightc.errors import OptionError
from tightc.reporting.rows import rows_as_csv


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc hardware list\n         tightc hardware show edge-32x32 > mine.yaml",
)
@click.argument("action", type=click.Choice(["list", "show"]), metavar="list|show")
@click.argument(
    "name",
    required=False,
    metavar="[NAME|FILE.yaml]",
    type=Suggested(shipped_names(Hardware.shipped), files=True),
)
@click.option("--json", "as_json", is_flag=True, help="Print the values as one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the values as CSV, a row for each file.")
def hardware(action: str, name: str | None, as_json: bool, as_csv: bool) -> None:
    """List the hardware files that come with tightc, or show one.

    --hardware takes these names. show prints a file as it is, to start your own from; it checks a file of yours too,
    and tells all that is wrong.
    """
    if action == "list" and name is not None:
        raise click.UsageError("list: expected no name, got one; use show NAME.")
    if action == "show" and name is None:
        raise click.UsageError(
            "show: expected a name or the path of a YAML file, got none; see tightc hardware list."
        )
    if as_csv and as_json:
        raise OptionError("--csv and --json: expected one of them, got both", "leave one out")
    paths = [_path(name)] if name is not None else _all_paths()
    texts = [read_text(path) for path in paths]
    found = [
        parse_options(text, str(path), Hardware, path.parent) for text, path in zip(texts, paths, strict=True)
    ]
    rows = [one.model_dump(mode="json") for one in found]
    if as_json:
        schema = {"schema": "tightc.hardware/1", "totals": {"files": len(rows)}, "hardware": rows}
        click.echo(json.dumps(schema, indent=1))
    elif as_csv:
        click.echo(rows_as_csv(rows), nl=False)
    elif action == "list":
        _print_table([_row(row) for row in rows])
    else:
        click.echo(texts[0].encode(), nl=False)


def _all_paths() -> list[Path]:
    return [shipped_file(Hardware.shipped, name) for name in shipped_names(Hardware.shipped)]


def _path(name: str) -> Path:
    path = find_file(name, Hardware.shipped, Path())
    if path is None:
        sentence, remedy = unknown_name(name, Hardware)
        raise OptionError(f"show: {sentence}", remedy)
    return path


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """The cells of a hardware file; buffers of activations, weights and partial sums."""
    arrays = f"{values['arrays']} x " if values["arrays"] > 1 else ""
    buffers = (values[f"{name}_buffer"]["size"] for name in ("activation", "weight", "partial_sum"))
    return {
        "name": values["name"],
        "shape": f"{arrays}{values['array']}",
        "clock": values["clock"],
        "fan_in_max": values["fan_in"],
        "buffers": ", ".join(buffers),
        "dram": values["dram"]["bandwidth"],
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The table as wide as the terminal, and what the buffers are."""
    from tightc.reporting.text import fitted_table, left_out_line

    console = table_console(sys.stdout)
    fitted = fitted_table(list(rows[0]), rows, console.width)
    console.print(fitted.table)
    click.echo("buffers: activations, weights, partial sums")
    if fitted.left_out:
        click.echo(left_out_line(fitted.left_out, "--json and --csv have them"))
