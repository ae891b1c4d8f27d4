"""`tandem show`: one run, whole."""

from __future__ import annotations

import sys

import click

from cli import output
from cli.launch import ensure_router
from cli.render.summary import detail_lines, for_program


@click.command()
@click.argument("run", default="latest")
@click.option("--diff", "with_diff", is_flag=True, help="Show the change; its plain bytes where output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def show(run: str, with_diff: bool, as_json: bool) -> None:
    """Show one run: how it stands, plan, calls, checks, question, report. RUN is an id, its beginning, or latest."""
    client = ensure_router()
    found = client.get(f"/v1/runs/{run}")
    raw = client.get_bytes(f"/v1/runs/{found['run']}/diff") if with_diff else b""
    if as_json:
        shown = for_program(found)
        output.say_json({**shown, "diff": raw.decode("utf-8", "backslashreplace")} if with_diff else shown)
        return
    if with_diff and not output.draws():
        sys.stdout.buffer.write(raw)  # for `git apply`; a terminal gets it made visible instead
        sys.stdout.buffer.flush()
        return
    if with_diff:
        from cli.ask import page
        from cli.render.diff import parse

        page(parse(raw))
        return
    for line in detail_lines(found, output.width()):
        output.say(line)
