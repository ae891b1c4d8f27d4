"""Where this machine's interpreters are, and which folders they need to run; never the folder of a person.

An interpreter under `/usr` needs nothing named. One elsewhere needs its own installation: the whole of it where that is
a folder of its own (pyenv, nvm, uv), and only its parts where it was installed into a home folder or above one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tandem.paths import home_dir

_ASK_S = 20


def base_python() -> str:
    """Return the Python this program's environment was made from; the environment itself is not seen inside."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return os.path.realpath(base)


@cache
def node_program() -> Path | None:
    """Return the real Node, also behind a version manager's shim, or None; blocking the first time."""
    found = shutil.which("node")
    if not found:
        return None
    argv = [found, "-p", "process.execPath"]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_S, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(os.path.realpath(said)) if said.startswith("/") else None


def toolchain_bins() -> list[str]:
    """Return the folders outside /usr that hold the interpreters' programs, for PATH."""
    programs = [Path(base_python()), node_program()]
    return [str(path.parent) for path in programs if path and not path.is_relative_to("/usr")]


def toolchain_roots() -> list[Path]:
    """Return the folders and files outside /usr that the interpreters need, to be read."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    roots = installation(Path(sys.base_prefix), Path(base_python()), Path("lib", version))
    node = node_program()
    if node:
        roots += installation(node.parent.parent, node, Path("lib", "node_modules", "npm"))
    return [root for root in dict.fromkeys(roots) if not root.is_relative_to("/usr")]


def installation(prefix: Path, program: Path, library: Path) -> list[Path]:
    """Return `prefix`, or only its parts where it is a person's folder, one above it, or `~/.local`."""
    home = Path(os.path.realpath(home_dir()))
    real = Path(os.path.realpath(prefix))
    if not (home.is_relative_to(real) or real == home / ".local"):
        return [prefix]
    npm = [prefix / "bin" / "npm", prefix / "bin" / "npx"]
    return [path for path in (program, prefix / library, *npm) if path.exists()]
