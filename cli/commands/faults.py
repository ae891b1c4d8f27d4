"""`tandem faults`: the points at which a test may break the programs; for whoever wants to see that nothing is lost."""

from __future__ import annotations

import click

from cli import output
from cli.render.table import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def faults(as_json: bool) -> None:
    """List the points at which a test may break the programs.

    TANDEM_FAULT=POINT:ACTION[:NTH] breaks the process that passes POINT for the NTH time: kill, raise, hang or enospc (a
    full disk). Without the variable the points do nothing.
    """
    from tandem.faults import ACTIONS, POINTS

    if as_json:
        output.say_json({"points": POINTS, "actions": list(ACTIONS)})
        return
    rows = [[name, *said.split(": ", 1)] for name, said in POINTS.items()]
    for line in table(["point", "program", "where"], rows, width=output.width(), grow=2):
        output.say(line)
