"""The machine as a worker: whether it listens for its paired routers and, where it cannot, who or what is in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli import port
from cli.doctor.finding import Finding, ill, well
from cli.doctor.listening import holder
from cli.doctor.look import Look
from cli.port import Door
from tandem import interfaces

_NAME = "port for paired routers"
_OPENS_S = 10.0  # a worker tries again after up to 8 s


def findings(look: Look, opens_s: float = _OPENS_S) -> Iterator[Finding]:
    """Yield what is at the addresses where this machine's worker should be; nothing where no router may call it.

    One that has just been started gets `opens_s` to open them.
    """
    if look.config is None:
        return
    found = port.doors(look.state, look.config, opens_s)
    if not found:
        return
    open_at, shut = port.listening(found), [str(door.at) for door in found if door.kind == "nothing"]
    if open_at:
        yield well(_NAME, f"the worker listens at {', '.join(open_at)}")
    if shut:
        words = f"no worker of this machine listens at {', '.join(shut)}"
        yield ill(_NAME, "not-listening", words, "`tandem up`, or `tandem install worker` to have it always")
    yield from _in_the_way([door for door in found if door.words])


def _in_the_way(doors: Sequence[Door]) -> Iterator[Finding]:
    """Yield each reason once, with all addresses it is in the way of."""
    reasons: dict[tuple[str, str], list[Door]] = {}
    for door in doors:
        held_by = holder(door.at.host, door.at.port) if door.kind == "taken" else ""
        reasons.setdefault((door.kind, held_by), []).append(door)
    for (kind, held_by), several in reasons.items():
        places = ", ".join(str(door.at) for door in several)
        if kind == "taken":
            words = f"cannot listen at {places}: {held_by or 'another program'} has that port"
            remedy = "end that program, or have the worker use another port (`worker.listen`); it tries again by itself"
        elif kind == "not here":
            words = f"cannot listen at {places}, which worker.listen names: no interface here has that address"
            there = ", ".join(interfaces.nearby()) or "none that machines nearby can reach"
            remedy = f"see that the cable is in, or set worker.listen to an address of this machine ({there})"
        else:
            words, remedy = "; ".join(door.words for door in several), "name another address or port in worker.listen"
        yield ill(_NAME, "cannot-listen", words, remedy)
