"""What one probe saw: well, ill with its cause and remedy, or not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Cause = Literal[
    "python-version",
    "git-missing",
    "git-old",
    "files-limit",
    "sleep-enabled",
    "state-unwritable",
    "state-open",
    "secret-readable",
    "disk-nearly-full",
    "clock-differs",
    "socket-path-long",
    "config-broken",
    "config-unknown-key",
    "interface-missing",
    "toolchain-missing",
    "ollama-down",
    "ollama-open",
    "model-too-large",
    "registry-unreachable",
    "local-network-denied",
    "identity-broken",
    "peer-damaged",
    "peer-not-paired",
    "peer-another-machine",
    "peer-not-tandem",
    "peer-nothing-listens",
    "peer-off",
    "peer-no-way",
    "cannot-listen",
    "not-listening",
    "bridge-down",
    "wifi-not-allowed",
    "another-router",
    "router-stuck",
    "router-version",
    "router-away",
    "worker-trouble",
    "worker-away",
    "worker-version",
    "sandbox-unavailable",
    "model-server-away",
    "model-missing",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one probe saw. `ok` is None where it did not look; `cause` and `remedy` are empty unless `ok` is False."""

    name: str
    ok: bool | None
    text: str
    cause: Cause | Literal[""] = ""
    remedy: str = ""


def well(name: str, text: str) -> Finding:
    """Return that all is well with `name`."""
    return Finding(name=name, ok=True, text=text)


def ill(name: str, cause: Cause, text: str, remedy: str) -> Finding:
    """Return that something is wrong with `name`, why, and what to do."""
    return Finding(name=name, ok=False, text=text, cause=cause, remedy=remedy)


def unseen(name: str, text: str) -> Finding:
    """Return that nobody looked at `name`, and why."""
    return Finding(name=name, ok=None, text=text)
