"""`tandem bench tasks`: have a pack of exercises done, and say what was accepted. The doing is the bench room's."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.progress import progress
from tandem.errors import BadInput

_CODERS = ("oracle", "flaky", "cheater", "team", "solo")
_BELONGS = {"wrong": ("flaky",), "trick": ("cheater",), "budget": ("solo",)}
_INTERRUPTED = 130


@click.command()
@click.argument("pack", default="starter")
@click.option("--coder", type=click.Choice(_CODERS), default="oracle", show_default=True, help="Who does them.")
@click.option("--only", metavar="GLOB", help="Exercises whose names fit, as in python/* or *list*.")
@click.option(
    "--wrong", type=click.IntRange(1, 18), metavar="K", help="With flaky: wrong drafts before the right one (2)."
)
@click.option("--trick", metavar="GLOB", help="With cheater: tricks whose names fit.")
@click.option("--budget", type=click.Path(), metavar="FOLDER", help="With solo: a team's results, to spend no more.")
@click.option("--verify", is_flag=True, help="Prove what was merged again, on a clean clone.")
@click.option("--jobs", type=click.IntRange(1, 4), default=1, show_default=True, metavar="N", help="Runs at a time.")
@click.option("--out", type=click.Path(file_okay=False), metavar="FOLDER", help="Keep results and report.md here.")
@click.option("--resume", is_flag=True, help="Go on with the results in --out.")
@click.option("--plot", type=click.Path(dir_okay=False), metavar="FILE.svg", help="Draw the results.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def tasks(pack: str, as_json: bool, plot: str | None, **options: Any) -> int:
    """Have the exercises of PACK done, each in a throw-away repository, by the whole way of a task.

    PACK is a folder in Exercism's or QuixBugs' layout, or a pack that ships (starter). oracle hands in the reference
    solution, flaky K wrong drafts before it, cheater every known trick beside an honest twin. team is your own models, and
    solo one persona of them alone; both are judged by tests they have not seen.

    Exits with 0 if all went as it must, else with 1; with 130 where it was interrupted.
    """
    for name, coders in _BELONGS.items():
        if options[name] is not None and options["coder"] not in coders:
            raise BadInput(f"--{name} belongs to --coder {coders[0]}, not to {options['coder']}")
    room: Any = importlib.import_module("bench.tasks.run")
    report: Any = importlib.import_module("bench.tasks.report")
    totals: Any = importlib.import_module("bench.tasks.totals")
    asked = room.Options(pack=pack, **_given(options))
    room.leave_by_finally()
    with progress(0, "exercises") as tell:
        found = room.run(asked, tell)
    if asked.out is not None:
        _write(asked.out / "report.md", report.markdown(found))
    if plot:
        _write(Path(plot), report.plot(found))
    if as_json:
        output.say_json(found)
    else:
        for line in report.lines(found, output.width()):
            output.say(line)
    return _INTERRUPTED if found["interrupted"] else 0 if totals.as_it_must(found) else 1


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, with folders as paths."""
    given = {name: value for name, value in options.items() if value is not None}
    paths = {name: Path(given[name]).expanduser().absolute() for name in ("out", "budget") if name in given}
    return {**given, **paths}


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        output.remark(f"{file} was not written: {error.strerror}")
