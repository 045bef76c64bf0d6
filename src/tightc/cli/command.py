"""Commands with options under headings, rare options in `--help-all` only, and old flags answered with the new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tightc.cli.suggestions import suggest_files
from tightc.config.renamed import new_name, renaming
from tightc.errors import OptionError

_OPTIONS, _GENERAL = "Options", "General"
_GENERAL_FLAGS = {"--seed", "--output", "--json", "--quiet", "--verbose", "--help", "--help-all"}
_SHOW_ALL = "tightc.show_all_options"


class StageOption(click.Option):
    """A flag made from a field of a stage's options: `heading` it stands under, `advanced` where it is rare."""

    def __init__(
        self, declarations: Sequence[str], *, heading: str = "", advanced: bool = False, **settings: Any
    ) -> None:
        super().__init__(declarations, **settings)
        self.heading = heading or _OPTIONS
        self.advanced = advanced


class StageCommand(click.Command):
    """A command whose help groups its options and leaves the rare ones to `--help-all`.

    Shells complete files for options and arguments that are paths by their metavar.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        suggest_files(self.params)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, then `--help-all`, then `--help`."""
        *params, last = super().get_params(ctx)
        help_all = click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_all_help,
            help="Show this message with the rare options.",
            hidden=not any(isinstance(param, StageOption) and param.advanced for param in params),
        )
        return [*params, help_all, last]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings, those that all commands share last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option) and not _is_left_out(param, ctx):
                sections.setdefault(_heading(param), []).append(record)
        general = sections.pop(_GENERAL)
        for heading, records in {**sections, _GENERAL if sections else _OPTIONS: general}.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, then where the rare options are."""
        super().format_epilog(ctx, formatter)
        if any(_is_left_out(param, ctx) for param in self.params):
            formatter.write_paragraph()
            formatter.write_text("Rare options: --help-all")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; OptionError for a flag that was renamed, or given twice where one value counts."""
        try:
            self._refuse_repeated(ctx, args)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            names = [param.name for param in self.params if param.name]
            old = error.option_name.lstrip("-").replace("-", "_")
            new = new_name(old, names) or new_name(old.removeprefix("no_"), names)
            if new is None:
                raise
            sentence, remedy = renaming("--" + new.replace("_", "-"))
            raise OptionError(f"{error.option_name}: {sentence}", remedy) from None

    def _refuse_repeated(self, ctx: click.Context, args: list[str]) -> None:
        """OptionError where a flag, or a pair such as --verify and --no-verify, is given more than once."""
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        if ctx.resilient_parsing or any(param.is_eager for param in order):
            return  # a completion or the help is asked for, and nothing is done
        for param in order:
            if isinstance(param, click.Option) and not param.multiple and order.count(param) > 1:
                flag = "/".join([*param.opts[-1:], *param.secondary_opts])
                times = "twice" if order.count(param) == 2 else f"{order.count(param)} times"
                raise OptionError(f"{flag}: expected once, got it {times}", "give it once")


def _heading(param: click.Option) -> str:
    if isinstance(param, StageOption):
        return param.heading
    return _GENERAL if _GENERAL_FLAGS.intersection(param.opts) else _OPTIONS


def _is_left_out(param: click.Parameter, ctx: click.Context) -> bool:
    return isinstance(param, StageOption) and param.advanced and not ctx.meta.get(_SHOW_ALL)


def _show_all_help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(full_help(ctx))
        ctx.exit()


def full_help(ctx: click.Context) -> str:
    """The help of the command with the rare options."""
    ctx.meta[_SHOW_ALL] = True
    return ctx.get_help()
