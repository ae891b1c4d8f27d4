"""`tandem init`: look at this machine, propose models it can carry, and write them into the configuration."""

from __future__ import annotations

import http.client
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from cli import hardware, output
from cli.doctor import ollama
from cli.exits import WAITING
from cli.hardware import Hardware
from cli.render.text import one_line, size
from cli.setup.catalogue import Slot, catalogue
from cli.setup.proposal import Proposal, Role, propose
from cli.setup.writing import changed, write
from tandem import disk
from tandem.config import Config, load
from tandem.errors import BadConfig
from tandem.paths import config_path, home_dir

_NOTHING_FITS = 4


@click.command(name="init")
@click.option(
    "--role",
    type=click.Choice(["alone", "router", "worker"]),
    default="alone",
    show_default=True,
    help="What this machine carries: both models, the router's small one, or the worker's large one.",
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one object; writes only with --yes.")
def init(role: Role, yes: bool, as_json: bool) -> int:
    """Propose models this machine can carry, and write them into the configuration if you agree.

    Looks at memory, chip, disk and the models Ollama has. Other machines are not looked at; nothing is downloaded, and
    what else you wrote in the file stays. Exits with 3 where nobody said to write, with 4 where nothing fits.
    """
    over = sorted(name for name in os.environ if name.startswith("TANDEM_MODELS_"))
    config = load(env={name: value for name, value in os.environ.items() if name not in over})
    file, machine = config_path(), hardware.here()
    contexts: dict[Slot, int] = {"router": config.context.router, "worker": config.context.worker}
    there = _pulled(config)
    proposal = propose(machine, catalogue(), contexts, role, there=there or (), free_bytes=_free_bytes(config))
    changes: dict[Slot, str] = {
        slot: model.name for slot, model in proposal.chosen.items() if getattr(config.models, slot) != model.name
    }
    if not as_json:
        for line in _lines(machine, proposal, contexts, there):
            output.say(line)
        for name in over:
            output.remark(f"{name} is set here and goes before what the file says")
    code, written = _written(file, changes, yes=yes, ask=not as_json) if proposal.chosen else (_NOTHING_FITS, False)
    if as_json:
        output.say_json({**_told(machine, proposal, there), "file": str(file), "changes": changes, "written": written})
    return code


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


def _free_bytes(config: Config) -> int | None:
    """Return what is free where Ollama keeps its models; None where it runs on another machine."""
    if not ollama.is_here(urlsplit(config.ollama.url)):
        return None
    return disk.free_bytes(Path(os.environ.get("OLLAMA_MODELS") or home_dir() / ".ollama" / "models"))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"cannot read {file}: {error}") from error


def _lines(
    machine: Hardware, proposal: Proposal, contexts: Mapping[Slot, int], there: Collection[str] | None
) -> list[str]:
    """Return a proposal as people read it."""
    may = "not known" if machine.model_bytes is None else size(machine.model_bytes)
    has = "not known" if machine.memory_bytes is None else size(machine.memory_bytes)
    lines = [
        f"{machine.system}, {one_line(machine.chip or 'chip not known')}, memory {has}",
        f"models may take {may}: {machine.limit}",
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
    return [*lines, f"get them with `{' && '.join(f'ollama pull {name}' for name in missing)}`"] if missing else lines


def _told(machine: Hardware, proposal: Proposal, there: Collection[str] | None) -> dict[str, Any]:
    """Return a proposal as an object."""
    models = {
        slot: {**model.model_dump(), "there": None if there is None else model.name in there}
        for slot, model in proposal.chosen.items()
    }
    return {
        "machine": asdict(machine),
        "models": models,
        "memory_bytes": proposal.memory_bytes,
        "notes": list(proposal.notes),
    }
