"""What a service manager has to know of one program, and how launchd and systemd are told. Pure.

A description names everything: nothing of the shell it was installed from reaches a service but what stands here.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tandem.errors import BadInput

Role = Literal["router", "worker"]
System = Literal["macos", "linux"]
AGAIN_S = 10  # between two starts of one that fails
BAD_CONFIG = 2  # exit status; starting again mends nothing
FILES = 4096  # that it may open; macOS gives 256
_UMASK = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One program to be kept running: its argv, whole environment, and where its last words go.

    `folders` are its own, to be there before it starts, outer ones first.
    """

    role: Role
    argv: tuple[str, ...]
    env: Mapping[str, str]
    out: Path
    folders: tuple[Path, ...]
    about: str

    @property
    def label(self) -> str:
        """Return launchd's name for it."""
        return f"tandem.{self.role}"

    @property
    def unit(self) -> str:
        """Return systemd's name for it."""
        return f"tandem-{self.role}.service"


def plist(service: Service) -> bytes:
    """Return the launchd agent's property list.

    Started at login and again after a failure, not after it left as asked: `tandem down` means it. What it prints, which
    is little, goes to a file that its next start turns over.
    """
    return plistlib.dumps(
        {
            "Label": service.label,
            "ProgramArguments": list(service.argv),
            "EnvironmentVariables": dict(service.env),
            "WorkingDirectory": "/",
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": AGAIN_S,
            "ProcessType": "Interactive",  # else macOS slows down what it takes for background work
            "SoftResourceLimits": {"NumberOfFiles": FILES},
            "Umask": _UMASK,
            "StandardOutPath": str(service.out),
            "StandardErrorPath": str(service.out),
        },
        sort_keys=False,
    )


def unit(service: Service) -> str:
    """Return the systemd user unit; what it prints goes to the system's journal, which turns itself over.

    Raises:
        BadInput: A path in it has a line end.
    """
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in service.env.items()]
    return "\n".join(
        [
            "[Unit]",
            f"Description={service.about}",
            "",
            "[Service]",
            f"ExecStart={' '.join(_quoted(word, command=True) for word in service.argv)}",
            *lines,
            "WorkingDirectory=/",
            "Restart=on-failure",
            f"RestartSec={AGAIN_S}",
            f"RestartPreventExitStatus={BAD_CONFIG}",
            "KillMode=mixed",
            f"LimitNOFILE={FILES}",
            f"UMask={_UMASK:04o}",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def text_for(service: Service, system: System) -> bytes:
    """Return the description's file for a system."""
    return plist(service) if system == "macos" else unit(service).encode()


def file_for(service: Service, system: System, home: Path, config_home: Path) -> Path:
    """Return where a system looks for that file."""
    if system == "macos":
        return home / "Library" / "LaunchAgents" / f"{service.label}.plist"
    return config_home / "systemd" / "user" / service.unit


def _quoted(word: str, *, command: bool = False) -> str:
    """Return a word as systemd reads it back: `%` begins a specifier, and in a command `$` a variable."""
    if re.search(r"[\x00-\x1f\x7f]", word):
        raise BadInput(f"{word!r} has a control character, which no unit file can hold; rename it")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word.replace("$", "$$") if command else word}"'
