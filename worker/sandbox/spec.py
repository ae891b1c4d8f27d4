"""What is to be run, over what, and within which limits. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tandem.types import Limits

TREE = "/tree"  # where the tree stands inside
OUT = "/out"  # where reports are written
ENV = "/env"  # where an environment stands
REPORTERS = "/reporters"
HOME = "/home/check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of this machine, and where it appears inside."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One run. `env` is the whole environment inside; `network` is for Prepare alone."""

    argv: tuple[str, ...]
    cwd: str
    mounts: tuple[Mount, ...]
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a rung makes of a specification: an argv that any user of the machine may read.

    What they may not, because it holds the environment with a registry's password, or tells this machine's paths inside, is
    `handed` over through descriptors. In `argv` its name stands for the descriptor's number; `INFO` for one on which
    bubblewrap tells the first process inside, and `GATE` for one on which a launcher waits for a byte before the command
    runs, while it is put into its control group. No argument can be such a name: they hold a zero byte.
    """

    OPTIONS: ClassVar = "\0options"
    FILTER: ClassVar = "\0filter"
    INFO: ClassVar = "\0info"
    GATE: ClassVar = "\0gate"

    argv: tuple[str, ...]
    handed: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The worker's ends of `INFO` and `GATE`; -1 where a launcher has none."""

    info: int = -1
    gate: int = -1


def working_folder(spec: SandboxSpec) -> str:
    """Return the working folder where there are no mounts: the tree's real path."""
    for mount in spec.mounts:
        if spec.cwd == mount.target or spec.cwd.startswith(f"{mount.target}/"):
            return str(mount.source) + spec.cwd[len(mount.target) :]
    return "/"


def placed(text: str, spec: SandboxSpec) -> str:
    """Return `text` with the inside's paths made the real ones, for rungs that have no mounts."""
    for mount in sorted(spec.mounts, key=lambda m: -len(m.target)):
        whole = rf"(?<![\w./-]){re.escape(mount.target)}(?![\w.-])"  # not the /env in /home/env or in /envs
        text = re.sub(whole, lambda _, real=str(mount.source): real, text)
    return text


def unmounted(spec: SandboxSpec, private: Path) -> dict[str, str]:
    """Return the environment where there are no mounts, with `private` for HOME unless the specification has a folder.

    A folder that should appear inside another (installed packages in the tree) is linked there.
    """
    for mount in spec.mounts:
        parent, _, name = mount.target.rpartition("/")
        within = Path(placed(parent, spec)) if parent else None
        if within is not None and str(within) != parent and within.is_dir() and not (within / name).exists():
            (within / name).symlink_to(mount.source)
    own = {
        name: str(private) for name in ("HOME", "TMPDIR") if placed(spec.env.get(name, ""), spec) == spec.env.get(name)
    }
    return {name: placed(value, spec) for name, value in spec.env.items()} | own
