"""`tandem watch`: look on while a run works; leaving changes nothing."""

from __future__ import annotations

import click

from cli.commands.run import follow
from cli.follow import Nobody
from cli.launch import ensure_router
from cli.params import RUN
from cli.show import display


@click.command()
@click.argument("run", type=RUN, default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print events and, last, the summary: one object a line.")
def watch(run: str, as_json: bool) -> int:
    """Watch a run to its end or its question, from its beginning. Ctrl-C only leaves."""
    client = ensure_router()
    found = client.get(f"/v1/runs/{run}")
    screen = display(as_json=as_json)
    return follow(client, found, screen, Nobody(), owns=False)
