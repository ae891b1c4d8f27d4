"""`tandem share`: repositories that this machine keeps for itself and the machines it is paired with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cli import machine, output
from cli.render.text import one_line
from tandem import shared
from tandem.paths import private_dir, state_dir

_ID_CHARS = 8  # enough to tell a person's machines apart


@click.command()
@click.argument("name", required=False)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take over branches and tags of this repository.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def share(name: str | None, source: Path | None, as_json: bool) -> None:
    """Make a repository that paired machines clone and push by name; without NAME, list what is shared here.

    A machine that this one works for reaches it as `git clone tandem::MACHINE/NAME`, MACHINE being what it calls this one,
    or the beginning of this one's id, as is printed; here it is a folder like any other. Pushes may not rewrite history. To
    share it no longer, move its folder away.
    """
    if name is None:
        if source is not None:
            raise click.UsageError("--from needs a NAME")
        _list(as_json=as_json)
        return
    place = asyncio.run(shared.make(private_dir(state_dir()), name, source))
    if as_json:
        output.say_json(_told(place))
        return
    output.say(f"{place.stem} is shared")
    output.say(f"  on this machine: git clone {place}")
    output.say(f"  on machines it works for: git clone {_url(place)}")
    output.say(f"    or tandem::NAME/{place.stem}, with the name that `tandem nodes` there has for this machine")


def _list(*, as_json: bool) -> None:
    found = shared.listed(state_dir())
    if as_json:
        output.say_json({"shared": [_told(place) for place in found]})
        return
    for place in found:
        output.say(f"{one_line(place.stem)}: {place}")
    if not found:
        output.say("this machine shares no repository; `tandem share NAME` makes one")


def _told(place: Path) -> dict[str, str]:
    return {"name": place.stem, "path": str(place), "url": _url(place)}


def _url(place: Path) -> str:
    """Return where paired machines find it, by this one's id: what they call this one is their own affair."""
    return f"tandem::{machine.mine().id[:_ID_CHARS].lower()}/{place.stem}"
