"""`tandem gc`, `export`, `import`: what is kept, and where."""

from __future__ import annotations

from pathlib import Path

import click

from cli import output
from cli.launch import ensure_router, spinner
from cli.params import RUN
from cli.render.loose import items, mapping, objects, text, whole
from cli.render.summary import ending_lines, for_program
from cli.render.table import table
from cli.render.text import one_line
from tandem.errors import BadInput

_LONG_S = 660.0
_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what could be freed.")
@click.option(
    "--older-than", "days", type=click.FloatRange(min=0), metavar="DAYS", help="Instead of the configured ages."
)
@click.option("--run", "run", type=RUN, metavar="RUN", help="This run too, whatever its age.")
@_json
def gc(dry_run: bool, days: float | None, run: str | None, as_json: bool) -> None:
    """Clear away what is old: ended runs, drafts, records of calls, installed packages, leftovers; here and on the workers.

    Runs that work or wait are never touched, and what was merged is yours. Ages are [keep] in the configuration.
    """
    body = {"dry_run": dry_run, **({"days": days} if days is not None else {}), **({"run": run} if run else {})}
    with spinner("clearing up"):
        told = ensure_router().post("/v1/clear", body, read_s=_LONG_S)
    if as_json:
        output.say_json(told)
        return
    freed = objects(told.get("freed"))
    if freed:
        rows = [[one_line(text(one, "what")), str(whole(one, "count")), size(whole(one, "bytes"))] for one in freed]
        for line in table(["", "count", "size"], rows, width=output.width(), grow=0):
            output.say(line)
    total = size(sum(whole(one, "bytes") for one in freed))
    output.say(f"{total} could be freed" if dry_run else f"{total} freed" if freed else "nothing is old enough to go")
    for trouble in items(told.get("troubles")):
        output.remark(one_line(str(trouble)))


@click.command()
@click.argument("run", type=RUN)
@click.argument("file", type=click.Path(), required=False, metavar="[FILE]")
@click.option("--move", is_flag=True, help="It goes on only where it is imported; needed for a run that is not over.")
@_json
def export(run: str, file: str | None, move: bool, as_json: bool) -> None:
    """Write a run with its journal into FILE (RUN.tandem here, if none is named), to go on with it on another machine."""
    client = ensure_router()
    found = client.get(f"/v1/runs/{run}")
    target = _place(file or f"{found['run']}.tandem")
    with spinner("writing"):
        told = client.post(f"/v1/runs/{found['run']}/export", {"file": str(target), "move": move}, read_s=_LONG_S)
    if as_json:
        output.say_json(told)
        return
    output.say(f"{told['file']}  ({size(whole(told, 'bytes'))})")
    output.remark(
        f"it holds the task, the drafts and what was said to models; `tandem import {target.name}` takes it in"
    )


@click.command("import")
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option("--repo", default=".", show_default="this folder", metavar="PATH", help="The same repository, here.")
@_json
def take_in(file: str, repo: str, as_json: bool) -> None:
    """Take in a run that was exported on another machine, for the repository here that it belongs to.

    What it says was approved there counts as approved here: take in only what you, or somebody you trust, exported.
    """
    source, folder = _place(file), _place(repo)
    if not _is_file(source):
        raise BadInput(f"there is no file {file!r}; `tandem export RUN` on the other machine writes one")
    with spinner("reading"):
        told = ensure_router().post("/v1/import", {"file": str(source), "repo": str(folder)}, read_s=_LONG_S)
    if as_json:
        output.say_json(for_program(told))
        return
    for line in ending_lines(mapping(told)):
        output.say(line)


def _place(path: str) -> Path:
    """Return a path as the router, which works elsewhere, can use it.

    Raises:
        BadInput: It begins with the home of a user there is not.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(f"{path!r} cannot be found ({error}); name the folder itself") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder closed to us
        return False


def size(count: int) -> str:
    """Return bytes as people read them."""
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
