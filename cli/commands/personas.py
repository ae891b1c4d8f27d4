"""`tandem personas`: who is on the team, what each is told, and whether a person's own files fit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.render.table import table
from cli.render.text import visible
from tandem.errors import BadPersona

if TYPE_CHECKING:
    from agents.personas import Persona


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.pass_context
def personas(context: click.Context, as_json: bool) -> None:
    """List the personas of the team; your own files in ~/.config/tandem/personas replace one or add to it.

    coder.md there replaces the coder; coder.add.md is added to the end of what the coder is told.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


def _team() -> Mapping[str, Persona]:
    from agents.personas import load, own_folder

    return load(own_folder())


def _told(persona: Persona) -> dict[str, Any]:
    from agents.context import estimate_tokens

    return {
        "name": persona.name,
        "title": persona.title,
        "slot": persona.slot,
        "tools": list(persona.tools),
        "steps": persona.steps,
        "temperature": persona.temperature,
        "max_tokens": persona.max_tokens,
        "source": persona.source,
        "prompt_tokens": estimate_tokens(persona.prompt),
    }


def _list(as_json: bool) -> None:
    team = [_told(persona) for persona in _team().values()]
    if as_json:
        output.say_json({"personas": team})
        return
    rows = [
        [
            str(one["name"]),
            str(one["slot"]),
            str(one["source"]),
            f"~{one['prompt_tokens']} tokens",
            f"up to {one['steps']} turns with {len(one['tools'])} tools" if one["steps"] > 1 else "one answer",
        ]
        for one in team
    ]
    for line in table(["PERSONA", "MODEL", "WHOSE", "PROMPT", "WORKS"], rows, width=output.width(), grow=4):
        output.say(line)


@personas.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def show(name: str, as_json: bool) -> None:
    """Print what a persona is told, its tools, and the form its answer must have."""
    from agents.schemas import schema_of

    team = _team()
    if name not in team:
        raise BadPersona(f"there is no persona {name!r}; there are {', '.join(team)}")
    persona = team[name]
    schema = schema_of(persona.reply)
    if as_json:
        output.say_json({**_told(persona), "prompt": persona.prompt, "schema": schema})
        return
    output.say(f"{persona.title} ({persona.name}), for the {persona.slot}'s model, {persona.source}")
    if persona.tools:
        output.say(f"tools: {', '.join(persona.tools)}; up to {persona.steps} turns")
    output.say("")
    output.say(visible(persona.prompt, keep="\n"))
    output.say("")
    output.say("answers with:")
    output.say(json.dumps(schema, indent=2, ensure_ascii=False))


@personas.command()
@click.argument("place", required=False, type=click.Path(), metavar="[FILE|FOLDER]")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def check(place: str | None, as_json: bool) -> None:
    """Check a persona's file, or a folder of them; without one, your own folder over those that ship."""
    from agents.context import build
    from agents.personas import check_file, load, own_folder
    from tandem import config

    path = Path(place).expanduser() if place else own_folder()
    if place and not os.path.lexists(path):  # also where the name is too long to be one
        raise BadPersona(f"{str(path)[:200]!r} does not exist; name a persona's file or a folder of them")
    found = list(load(path).values()) if not place or path.is_dir() else [check_file(path)]
    room = config.load().context
    for one in found:
        build(one, [], language="en", context_tokens=room.router if one.slot == "router" else room.worker)
    told = [_told(persona) for persona in found]
    if as_json:
        output.say_json({"fits": True, "personas": told})
        return
    for one in told:
        output.say(f"✓ {one['name']}: {one['source']}, about {one['prompt_tokens']} tokens")
