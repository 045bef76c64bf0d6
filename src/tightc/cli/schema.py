"""`tightc schema`."""

from __future__ import annotations

import importlib
import json

import click

from tightc.cli.command import StageCommand

# kind of file -> module and class of its options
_KINDS = {
    "hardware": ("tightc.accelerator.hardware", "Hardware"),
    "energy": ("tightc.accelerator.energy_table", "EnergyTable"),
    "area": ("tightc.accelerator.area_table", "AreaTable"),
    "recipe": ("tightc.recipe.recipe", "Recipe"),
    "schedule": ("tightc.permutation.annealing.temperature_schedule", "TemperatureSchedule"),
}


@click.command(cls=StageCommand, epilog="Example: tightc schema hardware > hardware.schema.json")
@click.argument("kind", type=click.Choice(tuple(_KINDS)), metavar="|".join(_KINDS))
def schema(kind: str) -> None:
    """Print the JSON Schema of a kind of YAML file, for editors.

    An editor then completes keys, shows what they mean and marks wrong values. In VS Code, with the YAML extension, a
    first line "# yaml-language-server: $schema=hardware.schema.json" does that.
    """
    from tightc.config.json_schema import json_schema

    module, name = _KINDS[kind]
    click.echo(json.dumps(json_schema(getattr(importlib.import_module(module), name)), indent=1))
