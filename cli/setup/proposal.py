"""Decide which models a machine can carry: memory against what models may take, downloads against the disk. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cli.render.text import size
from cli.setup.catalogue import Model, Slot
from tandem.peers import Peer
from tandem.types import Hardware

Role = Literal["alone", "router", "worker"]
SLOTS: Mapping[Role, tuple[Slot, ...]] = {
    "alone": ("router", "worker"),
    "router": ("router",),
    "worker": ("worker",),
}
LEFT_BYTES = 4 << 30  # not for models, even where nothing limits them
SYSTEM_BYTES = 8 << 30  # left to macOS and everything else where the limit is raised; what oMLX calls balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What one machine can carry. `chosen` lacks a slot where nothing fits; `notes` say what a person should know."""

    chosen: Mapping[Slot, Model]
    memory_bytes: int
    notes: tuple[str, ...]


def role_beside(peers: Sequence[Peer]) -> tuple[Role, str]:
    """Return what this machine carries beside those it is paired with, and why: the workers carry the large model."""
    workers = [peer.name for peer in peers if peer.role == "worker"]
    routers = [peer.name for peer in peers if peer.role == "router"]
    if workers:
        return "router", f"{' and '.join(workers)} {'works' if len(workers) == 1 else 'work'} for this machine"
    if routers:
        return "worker", f"this machine works for {' and '.join(routers)}"
    return "alone", "no other machine is paired with this one"


def propose(
    machine: Hardware,
    models: Sequence[Model],
    contexts: Mapping[Slot, int],
    role: Role,
    *,
    there: Collection[str] = (),
    free_bytes: int | None = None,
) -> Proposal:
    """Choose the best model of each slot that fits beside those chosen before it, the small one first.

    Args:
        machine: What it has; nothing is chosen where its memory is not known.
        models: Those to choose from, best first in each slot.
        contexts: Tokens of context by slot, as configured.
        role: Which slots this machine plays.
        there: Names of models that need no download any more.
        free_bytes: What is free for downloads; None where that is not known.
    """
    if machine.model_bytes is None or machine.memory_bytes is None:
        note = "how much memory this machine has is not known, so nothing is proposed"
        return Proposal(chosen={}, memory_bytes=0, notes=(note,))
    allowed = min(machine.model_bytes, machine.memory_bytes - LEFT_BYTES)
    chosen: dict[Slot, Model] = {}
    notes: list[str] = []
    used = 0
    for slot in SLOTS[role]:
        for model in (model for model in models if model.slot == slot):
            needed = used + model.memory_bytes(contexts[slot])
            if needed <= allowed:
                chosen[slot], used = model, needed
                break
            notes.append(_why_not(model, needed, machine, allowed))
        else:
            notes.append(f"no {slot} model of the table fits; name a smaller one yourself, or use another machine")
    notes += _room([model for model in chosen.values() if model.name not in there], free_bytes)
    return Proposal(chosen=chosen, memory_bytes=used, notes=tuple(notes))


def _why_not(model: Model, needed_bytes: int, machine: Hardware, allowed_bytes: int) -> str:
    """Return why a better model is not proposed and, on a Mac with the memory, how it could be."""
    why = f"{model.name}, with all beside it, takes {size(needed_bytes)}; they may take {size(max(allowed_bytes, 0))}"
    if machine.system == "macOS" and needed_bytes + SYSTEM_BYTES <= (machine.memory_bytes or 0):
        limit_mib = -(-needed_bytes >> 20) + 1
        why += f"; it fits after `sudo sysctl iogpu.wired_limit_mb={limit_mib}`, which lasts until the next start"
    return why


def _room(downloads: Sequence[Model], free_bytes: int | None) -> list[str]:
    """Return what there is to say about the disk that downloads go to."""
    wanted = sum(model.download_bytes for model in downloads)
    if wanted and free_bytes is None:
        return ["how much room there is for downloads is not known"]
    if wanted > (free_bytes or 0):
        return [f"the downloads take {size(wanted)}, and {size(free_bytes or 0)} are free"]
    return []
