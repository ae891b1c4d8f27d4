"""`tandem init`: look at this machine and the workers it is paired with, propose models each can carry, and write them
into this machine's configuration.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from cli import machine, output
from cli.doctor import ollama
from cli.exits import WAITING
from cli.launch import spinner
from cli.render.text import one_line, size
from cli.setup.catalogue import Slot, catalogue
from cli.setup.others import Other, asked, best, other
from cli.setup.proposal import Proposal, Role, propose, role_beside
from cli.setup.writing import changed, write
from tandem import hardware
from tandem.config import Config, load
from tandem.errors import BadConfig
from tandem.paths import config_path
from tandem.types import Hardware

_NOTHING_FITS = 4


@click.command(name="init")
@click.option(
    "--role",
    type=click.Choice(["alone", "router", "worker"]),
    help="What this machine carries: both models, the router's small one, or the worker's large one. Left out, it follows "
    "from the pairing.",
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one object; writes only with --yes.")
def init(role: Role | None, yes: bool, as_json: bool) -> int:
    """Propose models that this machine and those paired with it can carry, and write them into the configuration if you
    agree.

    Looks at memory, chip, disk, the models Ollama has and the pairing: of a router, its paired workers are asked the same,
    and the large model is proposed for them. Nothing is downloaded, nothing is written on another machine, and what else
    you wrote in the file stays. Exits with 3 where nobody said to write, with 4 where nothing fits.
    """
    over = sorted(name for name in os.environ if name.startswith("TANDEM_MODELS_"))
    config = load(env={name: value for name, value in os.environ.items() if name not in over})
    file, here = config_path(), hardware.here(config.ollama.url)
    contexts: dict[Slot, int] = {"router": config.context.router, "worker": config.context.worker}
    found = _found(config, here, contexts, role)
    changes: dict[Slot, str] = {
        slot: name for slot, name in found.names.items() if getattr(config.models, slot) != name
    }
    if not as_json:
        for line in _lines(found, contexts):
            output.say(line)
        for name in over:
            output.remark(f"{name} is set here and goes before what the file says")
    code, written = _written(file, changes, yes=yes, ask=not as_json) if found.names else (_NOTHING_FITS, False)
    if as_json:
        output.say_json({**_told(found), "file": str(file), "changes": changes, "written": written})
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was found: this machine and what it can carry in its role, and the paired workers where it is a router."""

    role: Role
    because: str
    hardware: Hardware
    there: frozenset[str] | None
    proposal: Proposal
    others: Sequence[Other]
    names: Mapping[Slot, str]
    """What the configuration is to name."""


def _found(config: Config, here: Hardware, contexts: Mapping[Slot, int], role: Role | None) -> _Found:
    peers = machine.paired().read()
    chosen, because = (role, "as you said") if role else role_beside(peers.peers)
    workers = peers.of("worker") if chosen == "router" else ()
    there, models = _pulled(config), catalogue()
    with spinner(f"asking {' and '.join(one_line(peer.name) for peer in workers)}") if workers else nullcontext():
        said = asked(workers, config.link)
    others = [other(peer, said[peer.id], models, contexts) for peer in workers]
    proposal = propose(here, models, contexts, chosen, there=there or (), free_bytes=here.room_bytes)
    names: dict[Slot, str] = {slot: model.name for slot, model in proposal.chosen.items()}
    large = best(others, models)
    if large is not None:
        names[large.slot] = large.name
    return _Found(
        role=chosen,
        because=because,
        hardware=here,
        there=there,
        proposal=proposal,
        others=others,
        names=names,
    )


def _written(file: Path, changes: Mapping[Slot, str], *, yes: bool, ask: bool) -> tuple[int, bool]:
    """Write what is to be changed, if a person says so; return the exit code and whether it was written."""
    if not changes:
        if ask:
            output.say(f"nothing to write: {file if file.exists() else 'the defaults'} say so already")
        return 0, False
    text = changed(_text(file), "models", {str(slot): name for slot, name in changes.items()})
    if not yes and not (ask and _agreed(file, changes)):
        return WAITING, False
    write(file, text)
    if ask:
        output.say(f"{file} is written")
    return 0, True


def _agreed(file: Path, changes: Mapping[Slot, str]) -> bool:
    for slot, name in changes.items():
        output.say(f"  models.{slot} = {name}")
    if not output.at_terminal():
        output.say(f"nothing is written; `tandem init --yes` writes that into {file}")
        return False
    return click.confirm(f"write that into {file}?")


def _pulled(config: Config) -> frozenset[str] | None:
    """Return the models Ollama has, or None where it does not answer."""
    try:
        return frozenset(ollama.ask(config.ollama.url).sizes)
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"cannot read {file}: {error}") from error


def _lines(found: _Found, contexts: Mapping[Slot, int]) -> list[str]:
    """Return what was found as people read it."""
    lines = [f"role {found.role}: {one_line(found.because)}"]
    lines += _machine_lines(found.hardware, found.proposal, contexts, found.there, "")
    for one in found.others:
        name = one_line(one.peer.name)
        lines.append("")
        if one.hardware is None or one.proposal is None:
            lines.append(f"! {name}: {one_line(one.trouble)}")
            lines.append(f"  so nothing is proposed for {name}; `tandem init` there, or here once it answers")
            continue
        told = _machine_lines(one.hardware, one.proposal, contexts, one.there, f" on {name}")
        lines += [f"{name}, paired: {told[0]}", *told[1:]]
        large = found.names.get("worker")
        if one.proposal.chosen and large not in [model.name for model in one.proposal.chosen.values()]:
            lines.append(
                f"! models.worker is one name for all, {large}; {name} cannot carry it, and is not asked for it"
            )
    return lines


def _machine_lines(
    made: Hardware,
    proposal: Proposal,
    contexts: Mapping[Slot, int],
    there: Collection[str] | None,
    on: str,
) -> list[str]:
    """Return one machine and what it can carry; `on` says which, where it is not this one."""
    may = "not known" if made.model_bytes is None else size(made.model_bytes)
    has = "not known" if made.memory_bytes is None else size(made.memory_bytes)
    wanted = sum(model.download_bytes for model in proposal.chosen.values() if model.name not in (there or ()))
    room = (
        "free space not known" if made.room_bytes is None else f"{size(made.room_bytes)} free where Ollama keeps models"
    )
    lines = [
        f"{one_line(made.system)}, {one_line(made.chip or 'chip not known')}, memory {has}",
        f"models may take {may}: {one_line(made.limit)}",
        f"disk: {room}, {size(wanted) if wanted else 'nothing'} to download",
    ]
    for slot, model in proposal.chosen.items():
        state = "already there" if there and model.name in there else f"{size(model.download_bytes)} to download"
        lines += [
            f"{slot}: {model.name}, {model.licence}, {state}",
            f"    {size(model.memory_bytes(contexts[slot]))} in memory with a context of {contexts[slot]} tokens",
            f"    {model.speed}",
        ]
    if there is None:
        lines.append("! Ollama does not answer, so which models are there is not known")
    lines += [f"! {note}" for note in proposal.notes]
    missing = [model.name for model in proposal.chosen.values() if model.name not in (there or ())]
    pulls = " && ".join(f"ollama pull {name}" for name in missing)
    return [*lines, f"get them{on} with `{pulls}`"] if missing else lines


def _told(found: _Found) -> dict[str, Any]:
    """Return what was found as an object."""
    return {
        "role": found.role,
        "because": found.because,
        **_told_of(found.hardware, found.proposal, found.there),
        "workers": [
            {
                **machine.told(one.peer),
                "trouble": one.trouble or None,
                **(_told_of(one.hardware, one.proposal, one.there) if one.hardware and one.proposal else {}),
            }
            for one in found.others
        ],
    }


def _told_of(made: Hardware, proposal: Proposal, there: Collection[str] | None) -> dict[str, Any]:
    models = {
        slot: {**model.model_dump(), "there": None if there is None else model.name in there}
        for slot, model in proposal.chosen.items()
    }
    missing = [model for model in proposal.chosen.values() if model.name not in (there or ())]
    return {
        "machine": asdict(made),
        "models": models,
        "memory_bytes": proposal.memory_bytes,
        "free_bytes": made.room_bytes,
        "download_bytes": sum(model.download_bytes for model in missing),
        "notes": list(proposal.notes),
    }
