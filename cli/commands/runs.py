"""`tandem runs`: the list, newest first. Light: nothing but the client and a plain table."""

from __future__ import annotations

import time
from typing import Any

import click

from cli import output
from cli.launch import ensure_router
from cli.render.lines import state_words
from cli.render.loose import mapping, text, whole
from cli.render.table import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one list.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="Show the newest N only.")
def runs(as_json: bool, count: int | None) -> None:
    """List runs, newest first."""
    found: list[dict[str, Any]] = ensure_router().get("/v1/runs")["runs"][:count]
    if as_json:
        output.say_json(found)
        return
    if not found:
        output.say("no runs yet; `tandem run TASK` begins one, `tandem demo` shows one")
        return
    head = ("run", "state", "check", "commit", "began", "repository", "task")
    for line in table(head, [_row(run) for run in found], width=output.width(), grow=len(head) - 1):
        output.say(line)


def _row(run: dict[str, Any]) -> list[str]:
    held = text(mapping(run.get("hold")), "kind")
    state = state_words(str(run["state"]), held, whole(run, "before"))
    state += " (rehearsal)" if run.get("rehearsed") else ""
    began = time.strftime("%m-%d %H:%M", time.localtime(float(run.get("created_s") or 0)))
    repository = str(run["repo"]).rstrip("/").rpartition("/")[2]
    title = str(run.get("title") or "")
    return [str(run["run"]), state, str(run["verdict"] or ""), str(run["commit"] or "")[:10], began, repository, title]
