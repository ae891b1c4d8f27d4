"""The first rung on Linux: bubblewrap, with namespaces for everything and only what a test needs to see.

The system's `/usr` is there to read, the tree to write, `/tmp` and HOME are fresh memory; there is no network, no other
process, no device, no socket. The launcher itself is started with an empty environment, because `/proc/1/environ` would
show it inside.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from worker.sandbox.spec import HOME, SandboxSpec

TMP_BYTES = 1 << 30
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What programs read in /etc, and nothing that tells about this machine or its users.
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "java-17-openjdk")
_ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "ssl", "ca-certificates", "pki", "pip.conf", "gai.conf")
REMEDY = "install it: apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"


def wrap(spec: SandboxSpec, private: Path) -> list[str]:
    """Return the argv that runs `spec`; `private` is a folder for the files it makes up."""
    program = shutil.which("bwrap") or "bwrap"
    share = ["--share-net"] if spec.network else []
    return [
        program,
        "--unshare-all",
        "--unshare-user",
        *share,
        *("--uid", "1000", "--gid", "1000", "--hostname", "tandem", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--clearenv"),
        *_system(),
        *_etc(spec, private),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(TMP_BYTES), "--tmpfs", "/tmp"),  # noqa: S108 - inside
        *("--size", str(TMP_BYTES), "--tmpfs", HOME),
        *_toolchains(),
        *(part for mount in spec.mounts for part in _bind(mount.writable, str(mount.source), mount.target)),
        *("--remount-ro", "/", "--chdir", spec.cwd),
        *(part for name, value in spec.env.items() for part in ("--setenv", name, value)),
        "--",
        *spec.argv,
    ]


def _bind(writable: bool, source: str, target: str) -> tuple[str, str, str]:
    return ("--bind" if writable else "--ro-bind", source, target)


def _system() -> Iterator[str]:
    yield from _bind(False, "/usr", "/usr")
    for path in _SYSTEM:
        if Path(path).is_symlink():
            yield from ("--symlink", str(Path(path).readlink()), path)
        elif Path(path).is_dir():
            yield from _bind(False, path, path)


def _etc(spec: SandboxSpec, private: Path) -> Iterator[str]:
    for name, text in (
        ("passwd", f"check:x:1000:1000::{HOME}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
        ("group", "check:x:1000:\n"),
    ):
        (private / name).write_text(text)
        yield from _bind(False, str(private / name), f"/etc/{name}")
    for name in (*_ETC, *(_ETC_NETWORK if spec.network else ("ssl", "nsswitch.conf"))):
        path = Path("/etc") / name
        if path.exists():
            yield from _bind(False, str(path.resolve() if name == "resolv.conf" else path), str(path))


def base_python() -> str:
    """Return the Python this program's environment was made from; the environment itself is not seen inside."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return os.path.realpath(base)


def toolchain_roots() -> list[Path]:
    """Return the folders outside /usr that hold the interpreters tests run with."""
    roots = [Path(sys.base_prefix)]
    node = shutil.which("node")
    if node:
        roots.append(Path(os.path.realpath(node)).parent.parent)
    return [root for root in dict.fromkeys(roots) if not root.is_relative_to("/usr") and root != Path("/")]


def _toolchains() -> Iterator[str]:
    for root in toolchain_roots():
        yield from _bind(False, str(root), str(root))
