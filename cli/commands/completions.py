"""`tandem completions`: the script that makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli import output


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL, as in: eval "$(tandem completions zsh)"."""
    kind = get_completion_class(shell)
    assert kind is not None  # click knows the three of the choice
    root = context.find_root().command
    output.say(kind(root, {}, "tandem", "_TANDEM_COMPLETE").source())
