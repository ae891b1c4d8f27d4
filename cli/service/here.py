"""Which services this user can have: the programs of this installation over this user's own state folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.service.description import Role, Service, System
from tandem import __version__
from tandem.paths import config_path, home_dir, socket_path, state_dir

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR")
_PLAIN = frozenset(("TANDEM_STATE", "TANDEM_CONFIG"))


def system() -> System:
    """Return which service manager this machine has."""
    return "macos" if sys.platform == "darwin" else "linux"


def service(role: Role, env: Mapping[str, str] = os.environ) -> Service:
    """Return the service for a role, with the interpreter and PATH of this moment.

    PATH is kept because a service manager's own leads to neither Homebrew nor a version manager. TMPDIR is, because a
    socket whose path would be too long lies there.
    """
    state = state_dir(env)
    kept = {name: env[name] for name in _KEPT if env.get(name)}
    kept["TANDEM_STATE"] = str(state)
    if env.get("TANDEM_CONFIG"):
        kept["TANDEM_CONFIG"] = str(config_path(env).absolute())
    program = (sys.executable, "-m", "tandem", role)
    if role == "router":
        own = state
        argv = (*program, "--state", str(own))
    else:
        own = state / "worker"
        argv = (*program, "--state", str(own), "--socket", str(socket_path(state, "worker")), "--service")
    return Service(
        role=role,
        argv=argv,
        env=kept,
        out=own / "logs" / f"{role}.out",
        folders=tuple(dict.fromkeys((state, own, own / "logs"))),
        about=f"Tandem {role} {__version__}",
    )


def left_out(env: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of settings in the environment that a service will not have; the file is the place for them."""
    return sorted(name for name in env if name.startswith("TANDEM_") and name not in _PLAIN)


def config_home(env: Mapping[str, str] = os.environ) -> Path:
    """Return where systemd looks for a user's own units."""
    return Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home_dir(env) / ".config"
