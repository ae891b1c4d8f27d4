"""Which sandbox this machine has: each rung is tried for real before it is believed.

A rung is only taken when a command on it runs, and the quick part of the list of escapes finds no hole. Where none holds,
Check refuses and says what to install.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tandem.errors import NoSandbox
from worker.sandbox import bubblewrap, cgroups, landlock, seatbelt, selftest
from worker.sandbox.cgroups import Hierarchy
from worker.sandbox.spec import Command, SandboxSpec, placed, unmounted
from worker.sandbox.toolchains import base_python

_KEEPER = Path(__file__).with_name("keeper.py")
Wrap = Callable[[SandboxSpec, Path], Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to confine a command. `name` is empty and `remedy` says what to do where there is none.

    `conceded` names the escapes it does not hold, none of which reads, writes or reaches anything. `groups` is where the
    kernel holds the limits; `limits_by` says in words what does.
    """

    name: str
    wrap: Wrap
    remedy: str = ""
    conceded: frozenset[str] = frozenset()
    groups: Hierarchy | None = None
    limits_by: str = "watchdog"


def _unconfined(spec: SandboxSpec, private: Path) -> Command:
    """Return the command for the demo, whose code is ours, where no sandbox works."""
    settings = [f"{name}={value}" for name, value in unmounted(spec, private).items()]
    keeper = (base_python(), "-I", "-S", str(_KEEPER)) if sys.platform == "linux" else ()
    return Command(argv=(*keeper, "/usr/bin/env", "-i", *settings, *(placed(part, spec) for part in spec.argv)))


UNSANDBOXED = Rung(name="none (unsandboxed demo)", wrap=_unconfined)


def rungs() -> list[Rung]:
    """Return the rungs of this system, the strongest first; whether they hold here is not known yet."""
    if sys.platform == "darwin":
        return [Rung(name="seatbelt", wrap=seatbelt.wrap, remedy=seatbelt.REMEDY)]
    return [
        Rung(name="bubblewrap", wrap=bubblewrap.wrap, remedy=bubblewrap.REMEDY),
        Rung(name="landlock", wrap=landlock.wrap, remedy=landlock.REMEDY, conceded=landlock.CONCEDED),
    ]


def select() -> Rung:
    """Return the first rung that holds; blocking, some 200 ms."""
    groups = cgroups.find()
    if groups is not None:
        cgroups.sweep(groups)
    troubles: list[str] = []
    for rung in rungs():
        found = asyncio.run(trouble(rung))
        if not found:
            return replace(rung, remedy="", groups=groups, limits_by=_limits_by(rung, groups))
        troubles.append(f"{rung.name}: {found}; {rung.remedy}")
    return Rung(name="", wrap=_refuse, remedy="; ".join(troubles))


async def trouble(rung: Rung) -> str:
    """Return why a rung does not hold, or nothing."""
    try:
        found = await selftest.attempt(rung, quick=True)
    except OSError as error:
        return f"{error.strerror or error}"
    except ValueError as error:
        return str(error)
    open_ = selftest.holes(found, rung.conceded)
    return f"it does not hold: {', '.join(one.name for one in open_)}" if open_ else ""


def _limits_by(rung: Rung, groups: Hierarchy | None) -> str:
    """Return what holds a command to its limits at once; time and output are always the watchdog's."""
    if groups is not None:
        return f"control group (version {groups.version})"
    root = os.geteuid() == 0  # nobody counts root's processes; Landlock runs them as another user then
    counted = {"bubblewrap": not root, "landlock": root}.get(rung.name, False)
    return "processes by the user id, memory by the watchdog" if counted else "watchdog"


def _refuse(spec: SandboxSpec, private: Path) -> Command:
    del spec, private
    raise NoSandbox("no sandbox works on this machine, so nothing was run; `tandem doctor` names what to install")
