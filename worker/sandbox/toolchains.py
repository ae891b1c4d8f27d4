"""Where this machine's interpreters and compilers are, and which folders they need to run; never the folder of a person.

What lies under `/usr` needs nothing named. What lies elsewhere needs its own installation: the whole of it where that is a
folder of its own (pyenv, nvm, uv, rustup), and only its parts where it was installed into a home folder or above one.
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


@cache
def go_root() -> Path | None:
    """Return the folder of the Go that `go` on PATH is, or None; blocking the first time."""
    return _said("go", "env", "GOROOT")


@cache
def go_version() -> str:
    """Return what that Go calls itself, or nothing; blocking the first time."""
    return _answer("go", "version")


@cache
def rust_root() -> Path | None:
    """Return the folder of the Rust that `rustc` on PATH is, also behind rustup's stand-ins, or None; as above."""
    return _said("rustc", "--print", "sysroot")


def _said(*argv: str) -> Path | None:
    said = _answer(*argv)
    return Path(os.path.realpath(said)) if said.startswith("/") and Path(said).is_dir() else None


def _answer(*argv: str) -> str:
    """Return what a program answers, asked from no folder of a project and without leave to fetch another version."""
    if not shutil.which(argv[0]):
        return ""
    env = {**os.environ, "GOTOOLCHAIN": "local", "RUSTUP_AUTO_INSTALL": "0"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_S, check=False, cwd="/", env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def toolchain_bins() -> list[str]:
    """Return the folders that hold the toolchains' programs and are not on every PATH."""
    programs = [Path(base_python()), node_program()]
    found = [path.parent for path in programs if path and not path.is_relative_to("/usr")]
    found += [root / "bin" for root in (go_root(), rust_root()) if root and not _is_usual(root / "bin")]
    return [str(folder) for folder in found]


def _is_usual(folder: Path) -> bool:
    """Return whether a folder's programs are found without it, as those are that a distribution installs."""
    return folder.is_relative_to("/usr") and any(
        (folder / name).exists() and Path("/usr/bin", name).exists() for name in ("go", "rustc")
    )


def toolchain_roots() -> list[Path]:
    """Return the folders and files outside /usr that the interpreters need, to be read."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    roots = installation(Path(sys.base_prefix), Path(base_python()), Path("lib", version))
    node = node_program()
    if node:
        roots += installation(node.parent.parent, node, Path("lib", "node_modules", "npm"))
    roots += [root for root in (go_root(), rust_root()) if root and not _is_homely(root)]
    return [root for root in dict.fromkeys(roots) if not root.is_relative_to("/usr")]


def installation(prefix: Path, program: Path, library: Path) -> list[Path]:
    """Return `prefix`, or only its parts where it is a person's folder, one above it, or `~/.local`."""
    if not _is_homely(prefix):
        return [prefix]
    npm = [prefix / "bin" / "npm", prefix / "bin" / "npx"]
    return [path for path in (program, prefix / library, *npm) if path.exists()]


def _is_homely(prefix: Path) -> bool:
    """Return whether a folder is a person's, one above it, or `~/.local`."""
    home, real = Path(os.path.realpath(home_dir())), Path(os.path.realpath(prefix))
    return home.is_relative_to(real) or real == home / ".local"
