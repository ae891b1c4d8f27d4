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
@click.argument("what", type=click.Choice(["dispatch", "run", "craft"]))
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--transcripts", type=click.Path(), metavar="FILE", help="With craft: play calls that were exported.")
@click.option("--quick", is_flag=True, help="Fewer rounds: a look, not a figure to quote.")
def bench(what: str, transcripts: str | None, as_json: bool, quick: bool) -> None:
    """Measure what a call to a model costs over the wire (dispatch), a whole rehearsed run (run), or the craft.

    The craft is what is made of malformed tool calls, near-miss edits and loops.
    """
    if transcripts and what != "craft":
        raise BadInput(f"--transcripts belongs to `tandem bench craft`, not to {what}")
    module: Any = importlib.import_module("bench.craft.recorded" if transcripts else f"bench.{what}")
    found: dict[str, Any] = module.play(Path(transcripts)) if transcripts else module.run(quick)
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
