"""`tandem bench`: what Tandem itself costs, apart from models and tests. The measuring is the bench room's."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.render.loose import mapping
from cli.render.text import one_line
from tandem.errors import BadInput


@click.command()
@click.argument("what", type=click.Choice(["dispatch", "run", "craft", "map"]))
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--transcripts", type=click.Path(), metavar="FILE", help="With craft: play calls that were exported.")
@click.option("--repo", type=click.Path(exists=True), metavar="GITDIR", help="With map: whose history to take.")
@click.option("--commits", type=click.IntRange(1, 500), help="With map: how many commits (10).")
@click.option("--quick", is_flag=True, help="Fewer rounds: a look, not a figure to quote.")
def bench(
    what: str, transcripts: str | None, repo: str | None, commits: int | None, as_json: bool, quick: bool
) -> None:
    """Measure what a call to a model costs over the wire (dispatch), a whole rehearsed run (run), the craft or the map.

    The craft is what is made of malformed tool calls, near-miss edits and loops. The map is how often the files that
    real commits changed stand among its first 20.
    """
    if (repo or commits) and what != "map":
        raise BadInput(f"--repo and --commits belong to `tandem bench map`, not to {what}")
    if what == "map":
        _map(repo, commits or (3 if quick else 10), as_json)
        return
    if transcripts and what != "craft":
        raise BadInput(f"--transcripts belongs to `tandem bench craft`, not to {what}")
    module: Any = importlib.import_module("bench.craft.recorded" if transcripts else f"bench.{what}")
    found: dict[str, Any] = module.play(Path(transcripts)) if transcripts else module.run(quick)
    _say(found, as_json)


def _map(repo: str | None, commits: int, as_json: bool) -> None:
    if not repo:
        raise BadInput(
            "`tandem bench map` needs a history to measure on; give --repo with a checkout or a Git directory"
        )
    module: Any = importlib.import_module("bench.map")
    found: dict[str, Any] = module.run(Path(repo), commits)
    if not as_json:
        del found["each"]
    _say(found, as_json)


def _say(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.say_json(found)
        return
    for line in _tree(found, ""):
        output.say(line)


def _tree(value: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += [f"{indent}{one_line(key)}", *_tree(mapping(inner), indent + "  ")]
        else:
            shown = f"{inner:.3f}" if isinstance(inner, float) else one_line(str(inner))
            lines.append(f"{indent}{one_line(key)}: {shown}")
    return lines
