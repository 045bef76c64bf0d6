"""`tightc completion`, and what the scripts that it prints ask tightc for."""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class

from tightc.cli.command import StageCommand

_VARIABLE = "_TIGHTC_COMPLETE"  # by which the script asks tightc
_SHELLS = ("bash", "zsh", "fish")
# click's, with files beside names in place of readline's own, which comes only where there are no names
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' word="${COMP_WORDS[COMP_CWORD]}" found type value
    [[ $word == "=" ]] && word=""
    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == file || $type == dir ]]; then
            compopt -o filenames 2> /dev/null
            while read -r found; do
                COMPREPLY+=("$found")
            done < <(compgen "-${type:0:1}" -- "$word")
        elif [[ $type == plain ]]; then
            COMPREPLY+=("$value")
        fi
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Completion for bash, which divides `--flag=value` into three words."""

    source_template = _BASH

    def source(self) -> str:
        """The script; the version of a bash is left to whoever sources it."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one."""
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc completion bash >> ~/.bashrc\n         tightc completion zsh >> ~/.zshrc\n"
    "         tightc completion fish > ~/.config/fish/completions/tightc.fish",
)
@click.argument("shell", type=click.Choice(_SHELLS), metavar="|".join(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    It completes commands, flags, their values, names of hardware files, and files and folders. For zsh, the script has
    to come after compinit.
    """
    click.echo(_classes()[shell](click.Command("tightc"), {}, "tightc", _VARIABLE).source())


def _classes() -> dict[str, type]:
    add_completion_class(_Bash)
    return {shell: found for shell in _SHELLS if (found := get_completion_class(shell))}


def complete(command: click.Command) -> int:
    """Prints what a shell asks for; nothing where the line so far is wrong, since the user still types."""
    _classes()
    with suppress(Exception):
        command.main([], prog_name="tightc", standalone_mode=False)
    return 0
