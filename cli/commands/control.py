"""`tandem cancel`, `resume`, `replay`, `undo`: stop a run, go on with it, prove it repeats, take it back."""

from __future__ import annotations

import time

import click

from cli import output
from cli.commands.run import asker, follow
from cli.launch import ensure_router, spinner
from cli.params import RUN
from cli.render.summary import ending_lines, for_program
from cli.render.text import visible
from cli.show import display

_LONG_S = 620.0  # the router itself gives up a little earlier, with better words

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


@click.command()
@click.argument("run", type=RUN)
@_json
def cancel(run: str, as_json: bool) -> None:
    """Stop a run. What it has is kept, and `tandem resume RUN` goes on with it."""
    told = ensure_router().post(f"/v1/runs/{run}/cancel")
    if as_json:
        output.say_json(for_program(told))
        return
    for line in ending_lines(told):
        output.say(line)


@click.command()
@click.argument("run", type=RUN, default="latest")
@click.option("--no-input", is_flag=True, help="Ask nothing here; exit with 3 where a person is needed.")
@click.option("--detach", is_flag=True, help="Set it going and leave.")
@_json
def resume(run: str, no_input: bool, detach: bool, as_json: bool) -> int:
    """Go on with a run that failed or was cancelled; no answered question is asked again."""
    client = ensure_router()
    began_s = time.time()
    told = client.post(f"/v1/runs/{run}/resume")
    if detach:
        output.say_json(for_program(told)) if as_json else output.say(str(told["run"]))
        return 0
    screen = display(as_json=as_json)
    return follow(client, told, screen, asker(no_input=no_input or as_json), since_s=began_s)


@click.command()
@click.argument("run", type=RUN, default="latest")
@_json
def replay(run: str, as_json: bool) -> int:
    """Run a run again from its journal alone, without models or machines, and compare the commits."""
    client = ensure_router()
    with spinner("replaying"):
        told = client.post(f"/v1/runs/{run}/replay", read_s=_LONG_S)
    if as_json:
        output.say_json(told)
    elif told["same"]:
        output.say(f"the same: {told['run']}  commit {str(told['commit'] or 'none')[:12]}")
    else:
        output.say(f"different: {told['run']}\n  first difference: {visible(str(told['difference']))}")
    return 0 if told["same"] else 7


@click.command()
@click.argument("run", type=RUN)
@_json
def undo(run: str, as_json: bool) -> None:
    """Take back what a run merged, with a commit of its own on the branch."""
    client = ensure_router()
    with spinner("undoing"):
        told = client.post(f"/v1/runs/{run}/undo", read_s=_LONG_S)
    if as_json:
        output.say_json(told)
        return
    where = f"commit {str(told.get('commit') or '')[:12]} on {visible(str(told.get('branch') or ''))}"
    output.say(f"{'undone' if told.get('merged') else 'prepared, not merged'}: {told['run']}  {where}")
    if told.get("message"):
        output.say(f"  {visible(str(told['message']))}")
