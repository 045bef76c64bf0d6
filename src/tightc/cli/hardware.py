"""`tightc hardware`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tightc.accelerator.hardware import Hardware
from tightc.cli.command import StageCommand
from tightc.cli.suggestions import Suggested
from tightc.config.options import unknown_name
from tightc.config.shipped import find_file, shipped_file, shipped_names
from tightc.config.yaml import parse_options, read_text
from tightc.errors import OptionError
from tightc.names import escape

_TITLES = ("name", "array", "clock", "fan-in", "buffers", "DRAM")


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
def hardware(action: str, name: str | None, as_json: bool) -> None:
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
    paths = [_path(name)] if name is not None else _all_paths()
    texts = [read_text(path) for path in paths]
    found = [
        parse_options(text, str(path), Hardware, path.parent) for text, path in zip(texts, paths, strict=True)
    ]
    if as_json:
        rows = [one.model_dump(mode="json") for one in found]
        schema = {"schema": "tightc.hardware/1", "totals": {"files": len(rows)}, "hardware": rows}
        click.echo(json.dumps(schema, indent=1))
    elif action == "list":
        click.echo("\n".join(_table([_row(one.model_dump(mode="json")) for one in found])))
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


def _row(values: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a hardware file; buffers of activations, weights and partial sums."""
    arrays = f"{values['arrays']} x " if values["arrays"] > 1 else ""
    buffers = (values[f"{name}_buffer"]["size"] for name in ("activation", "weight", "partial_sum"))
    return (
        escape(values["name"]),
        f"{arrays}{values['array']}",
        values["clock"],
        str(values["fan_in"]),
        ", ".join(buffers),
        values["dram"]["bandwidth"],
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """The lines of the table, and what the buffers are."""
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_TITLES, *rows)
    ]
    return [*lines, "buffers: activations, weights, partial sums"]
