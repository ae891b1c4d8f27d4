"""The `tandem` command's table of contents: names, one line each, and where to find them.

No command's module is imported before it is called, so that `tandem --help` costs click and this table alone.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from cli.exits import HELP as EXIT_CODES
from tandem import __version__

# name: (module under cli.commands, attribute, help), by section in the order people meet them
SECTIONS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Start here": {
        "demo": ("demo", "demo", "Watch the team take a task to a merged commit; a rehearsal, no model needed."),
        "init": ("init", "init", "Propose models this machine can carry, and write the configuration."),
        "doctor": ("doctor", "doctor", "Say what is missing on this machine, and the remedy."),
    },
    "Work": {
        "run": ("run", "run", "Give the team a task and watch it."),
        "plan": ("plan", "plan", "Have a plan written: options, steps, risks, scenarios, a checklist."),
        "watch": ("watch", "watch", "Watch a run that is under way."),
        "runs": ("runs", "runs", "List runs, newest first."),
        "show": ("show", "show", "Show one run: plan, steps, proof, report."),
    },
    "Decide": {
        "approve": ("decide", "approve", "Say yes to what a run asks, and go on with it."),
        "reject": ("decide", "reject", "Say no, or send comments on lines back to the coder."),
        "answer": ("decide", "answer", "Answer a run's question with one of its choices."),
    },
    "Team": {
        "personas": ("personas", "personas", "Say who is on the team and what each is told; check your own files."),
    },
    "Control": {
        "cancel": ("control", "cancel", "Stop a run; nothing is lost."),
        "resume": ("control", "resume", "Go on with a run that stopped or failed."),
        "replay": ("control", "replay", "Run a finished run again from its journal, without models; compare commits."),
        "undo": ("control", "undo", "Take a merged run's commit back with a commit of its own."),
        "verify": ("verify", "verify", "Prove a commit again: red on its base, green on itself."),
    },
    "Keep": {
        "gc": ("keep", "gc", "Clear away what is old, and say what that frees."),
        "export": ("keep", "export", "Write a run with its journal into a file, for another machine."),
        "import": ("keep", "take_in", "Take in a run that was exported on another machine."),
    },
    "Machines": {
        "status": ("machines", "status", "Say what the router does and which machines it sees."),
        "up": ("machines", "up", "Start the router."),
        "down": ("machines", "down", "Stop the router; runs go on when it is back."),
        "pair": ("pair", "pair", "Make two machines trust each other: one shows a code, the other is told it."),
        "nodes": ("nodes", "nodes", "List the paired machines, or rename one."),
        "unpair": ("nodes", "unpair", "Trust a paired machine no longer, at once."),
        "share": ("share", "share", "Keep a repository here that paired machines clone and push by name."),
        "worker": ("machines", "worker", "Run a worker in the foreground."),
        "install": ("service", "install_service", "Have the router or a worker started at login and kept running."),
        "upgrade": ("upgrade", "upgrade_all", "Bring Tandem forward, here and on paired workers."),
        "uninstall": ("service", "uninstall_service", "Stop an installed router or worker and remove it."),
        "faults": ("faults", "faults", "List the points at which a test may break the programs."),
        "bench": ("bench", "bench", "Measure what Tandem itself costs."),
        "accept": ("accept", "accept", "Measure this machine against its targets, and write the result down."),
        "completions": ("completions", "completions", "Print the completion script for a shell."),
    },
}
_WIDTH_MAX = 112  # columns of help, on however wide a terminal
TABLE = {name: where for section in SECTIONS.values() for name, where in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Tell click the width of the terminal: it would import shutil to find out."""
        extra.setdefault("terminal_width", _columns())
        return super().make_context(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None where there is none by that name."""
        if cmd_name not in TABLE:
            return None
        module, attribute, _ = TABLE[cmd_name]
        return getattr(importlib.import_module(f"cli.commands.{module}"), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing what it names."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, _, text) in section.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none by that name."""
        if args[0] not in TABLE and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], TABLE, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "`tandem --help` lists them."
            ctx.fail(f"no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)


def _columns() -> int:
    try:
        return max(50, min(os.get_terminal_size(sys.stdout.fileno()).columns, _WIDTH_MAX) - 2)
    except (OSError, ValueError, AttributeError):
        return 100


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="tandem", message="%(prog)s %(version)s")
def tandem() -> None:
    """A local software team: plan, failing tests, code, review, proof, merge.

    `tandem demo` shows it in under a minute. Errors go to standard error; `--json` prints objects, one a line.
    """


__all__ = ["EXIT_CODES", "LazyGroup", "tandem"]
