"""What is to be run, over what, and within which limits. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
