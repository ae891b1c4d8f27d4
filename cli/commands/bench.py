"""`tandem bench`: what Tandem itself costs, apart from models and tests, and what it makes of a pack of exercises.

The measuring is the bench room's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.progress import progress
from cli.render.loose import mapping
from cli.render.text import one_line
from tandem.errors import BadInput

_BELONGS = {  # options that mean something for one bench alone
    "transcripts": "craft",
    "repo": "map",
    "commits": "map",
    "rounds": "resume or link",
    "only": "link",
    "files": "link",
    "delta_mb": "link",
    "runs": "soak",
    "checks": "soak",
    "sample": "soak",
    "plot": "soak or placement",
}
_MEASURES = {
    "dispatch": "What a call to a model costs over the wire.",
    "run": "What a whole rehearsed run costs.",
    "check": "What the judge costs over the bare test command: sandbox, controls, twins.",
    "resume": "How soon an interrupted run goes on after a start.",
    "soak": "What router and worker hold over many runs, and whether it grows.",
    "link": "What the link between two paired machines costs, next to bare TCP, bare gRPC and a plain `git push`.",
    "craft": "What is made of malformed tool calls, near-miss edits and loops.",
    "placement": "How calls fare on 2 to 200 workers, next to round robin and the shortest queue; simulated.",
    "map": "How often files that real commits changed stand among the map's first 20.",
}
MISSED = 1  # the exit code where an aim was missed, as `tandem accept` has it
_TASKS = "Have a folder of real exercises done, and say what was accepted."


class _Benches(click.Group):
    """One command for all that is measured, under each of its names, and the task packs beside it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_MEASURES, "tasks"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "tasks":
            return importlib.import_module("cli.commands.tasks").tasks
        return measure if cmd_name in _MEASURES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*_MEASURES.items(), ("tasks", _TASKS)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Leave all but the task packs to `measure`, the name with the rest: its options may stand before it."""
        if args[0] == "tasks":
            return super().resolve_command(ctx, args)
        return "", measure, args


@click.command(cls=_Benches, context_settings={"ignore_unknown_options": True})
def bench() -> None:
    """Measure what Tandem itself costs, or have it do a pack of exercises.

    `tandem bench soak --help` lists the options of what is measured, `tandem bench tasks --help` those of packs.
    """


@click.command()
@click.argument("what", type=click.Choice(list(_MEASURES)))
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--transcripts", type=click.Path(), metavar="FILE", help="With craft: play calls that were exported.")
@click.option("--repo", type=click.Path(exists=True), metavar="GITDIR", help="With map: whose history to take.")
@click.option("--commits", type=click.IntRange(1, 500), help="With map: how many commits (10).")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    help="With resume: how many interruptions (20); with link: how often all sides take turns (10).",
)
@click.option("--only", type=click.Choice(["rtt", "throughput", "token", "sync"]), help="With link: one part of it.")
@click.option("--files", type=click.IntRange(1, 1_000_000), help="With link: of the repository to sync (100,000).")
@click.option("--delta-mb", type=click.IntRange(1, 2000), help="With link: the size of its large change (200).")
@click.option("--runs", type=click.IntRange(1, 100_000), help="With soak: how many (500).")
@click.option("--checks", type=click.Choice(["noop", "real"]), help="With soak: what tests them (noop).")
@click.option("--sample", type=click.IntRange(1), metavar="EVERY", help="With soak: runs between two samples.")
@click.option("--plot", type=click.Path(dir_okay=False), metavar="FILE.svg", help="With soak, placement: draw it.")
@click.option("--quick", is_flag=True, help="Fewer rounds: a look, not a figure to quote.")
def measure(what: str, as_json: bool, quick: bool, **options: Any) -> int:
    """Measure what a call to a model costs over the wire (dispatch), a whole rehearsed run (run), the judge (check), …

    Check is what the judge costs over the bare test command. Resume is how soon an interrupted run goes on after a
    start. Soak is what router and worker hold over many runs, and whether it grows. The craft is what is made of
    malformed tool calls, near-miss edits and loops. The link is what mutual TLS, gRPC and Git between two paired machines
    cost next to bare TCP, bare gRPC and a plain push. Placement is how calls fare on 2 to 200 simulated workers. The map is
    how often the files that real commits changed stand among its first 20.

    Link and placement exit with 1 where an aim was missed.
    """
    for name, value in options.items():
        if value is not None and what not in _BELONGS[name].split(" or "):
            option = name.replace("_", "-")
            raise BadInput(f"--{option} belongs to `tandem bench {_BELONGS[name]}`, not to {what}")
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "map": lambda: _map(options["repo"], options["commits"] or (3 if quick else 10), as_json),
        "resume": lambda: _resume(options["rounds"], quick),
        "link": lambda: _link(options, quick),
        "soak": lambda: _soak(options, quick),
        "craft": lambda: _craft(options["transcripts"], quick),
        "placement": lambda: _drawn(_module("placement"), _module("placement").run(quick), options["plot"]),
    }
    measure = measures.get(what, lambda: _module(what).run(quick))
    found = measure()
    _say(found, as_json, getattr(_module(what), "lines", None))
    return MISSED if _module("aims").missed(found) else 0


def _module(name: str) -> Any:
    return importlib.import_module(f"bench.{name}")


def _craft(transcripts: str | None, quick: bool) -> dict[str, Any]:
    return _module("craft.recorded").play(Path(transcripts)) if transcripts else _module("craft").run(quick)


def _map(repo: str | None, commits: int, as_json: bool) -> dict[str, Any]:
    if not repo:
        raise BadInput(
            "`tandem bench map` needs a history to measure on; give --repo with a checkout or a Git directory"
        )
    found: dict[str, Any] = _module("map").run(Path(repo), commits)
    if not as_json:
        del found["each"]
    return found


def _resume(rounds: int | None, quick: bool) -> dict[str, Any]:
    resume = _module("resume")
    wanted = rounds or (resume.QUICK if quick else resume.ROUNDS)
    with progress(wanted, "interruptions") as tell:
        return resume.run(wanted, tell=tell)


def _link(options: dict[str, Any], quick: bool) -> dict[str, Any]:
    link = _module("link")
    rounds = options["rounds"] or (link.QUICK if quick else link.ROUNDS)
    sizes = {name: options[name] for name in ("only", "files", "delta_mb") if options[name]}
    with progress(link.steps(rounds, options["only"] or ""), "rounds") as tell:
        return link.run(rounds, tell=tell, **sizes)


def _soak(options: dict[str, Any], quick: bool) -> dict[str, Any]:
    soak = _module("soak")
    wanted = options["runs"] or (soak.QUICK if quick else soak.RUNS)
    with progress(wanted, "runs") as tell:
        found = soak.run(wanted, options["checks"] or "noop", options["sample"], tell=tell)
    return _drawn(soak, found, options["plot"])


def _drawn(module: Any, found: dict[str, Any], file: str | None) -> dict[str, Any]:
    """Write the picture of what was found, where one is wanted."""
    if file:
        try:
            Path(file).write_text(module.plot(found), "utf-8")
        except OSError as error:
            output.remark(f"the plot was not written: {error.strerror}; {file}")
    return found


def _say(found: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any], int], list[str]] | None) -> None:
    if as_json:
        output.say_json(found)
        return
    for line in lines(found, output.width()) if lines else _tree(found, ""):
        output.say(_coloured(line))


def _coloured(line: str) -> str:
    return line.replace("MISSED", click.style("MISSED", fg="red", bold=True)) if output.colours() else line


def _tree(value: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += [f"{indent}{one_line(key)}", *_tree(mapping(inner), indent + "  ")]
        else:
            shown = f"{inner:.3f}" if isinstance(inner, float) else one_line(str(inner))
            lines.append(f"{indent}{one_line(key)}: {shown}")
    return lines
