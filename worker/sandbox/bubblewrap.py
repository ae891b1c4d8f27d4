"""The first rung on Linux: bubblewrap, with namespaces for everything and only what a test needs to see.

The system's `/usr` is there to read, the tree to write, `/tmp`, `/dev/shm` and HOME are fresh memory of bounded size;
there is no network, no other process, no device, no socket. What belongs to no namespace is closed by a filter of system
calls: the session's keyring, sockets to the host of a virtual machine, and the kernel's larger doors. The launcher itself
is started with an empty environment, because `/proc/1/environ` would show it inside.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from worker.sandbox import seccomp
from worker.sandbox.spec import HOME, Command, SandboxSpec
from worker.sandbox.toolchains import toolchain_roots

TMP_BYTES = 1 << 30
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Never a folder with private keys: inside, files of the user who runs the worker can be read, and that may be root.
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "nsswitch.conf")
_ETC_CERTIFICATES = ("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "ca-certificates", "crypto-policies")
_ETC_PKI = ("pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "pki/ca-trust/extracted")
_ETC_NETWORK = ("resolv.conf", "hosts", "gai.conf", "pip.conf", "xdg/pip")
REMEDY = "install it: apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"


def wrap(spec: SandboxSpec, private: Path) -> Command:
    """Return the command that runs `spec`; `private` is a folder for the files it makes up.

    Raises:
        FileNotFoundError: bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if not program:
        raise FileNotFoundError(errno.ENOENT, "bwrap is not installed", "bwrap")
    options = (
        "--unshare-all",
        "--unshare-user",
        *(("--share-net",) if spec.network else ()),
        *(("--disable-userns",) if _knows("--disable-userns") else ()),
        *("--uid", "1000", "--gid", "1000", "--hostname", "tandem", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--clearenv"),
        *_system(),
        *_etc(spec, private),
        # Started by root, the user inside is root to the kernel's switches in /proc/sys, whatever its namespaces say.
        *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
        *_memory("/dev/shm"),  # noqa: S108 - inside
        *("--remount-ro", "/dev"),
        *_memory("/tmp"),  # noqa: S108 - inside
        *_memory(HOME),
        *(part for root in toolchain_roots() for part in _bind(False, str(root), str(root))),
        *(part for mount in spec.mounts for part in _bind(mount.writable, str(mount.source), mount.target)),
        *("--remount-ro", "/", "--chdir", spec.cwd),
        *(part for name, value in spec.env.items() for part in ("--setenv", name, value)),
    )
    handed = {Command.OPTIONS: b"".join(os.fsencode(option) + b"\0" for option in options)}
    argv = [program, "--args", Command.OPTIONS, "--info-fd", Command.INFO, "--block-fd", Command.GATE]
    if seccomp.knows():
        handed[Command.FILTER] = seccomp.namespaced()
        argv += ["--seccomp", Command.FILTER]
    return Command(argv=(*argv, "--", *spec.argv), handed=handed)


def readable_etc(*, network: bool) -> list[str]:
    """Return what may be read in /etc: what programs need, and nothing that tells about this machine or its users."""
    names = (*_ETC, *_ETC_CERTIFICATES, *_ETC_PKI, *(_ETC_NETWORK if network else ()))
    return [str(path) for name in names if (path := Path("/etc") / name).exists()]


def _bind(writable: bool, source: str, target: str) -> tuple[str, str, str]:
    return ("--bind" if writable else "--ro-bind", source, target)


def _memory(target: str) -> tuple[str, ...]:
    size = ("--size", str(TMP_BYTES)) if _knows("--size") else ()
    return ("--perms", "1777", *size, "--tmpfs", target)


def _knows(option: str) -> bool:
    """Return whether this bubblewrap has an option that came with 0.7 or 0.8; Ubuntu 22.04 ships 0.6."""
    return option in _help()


@cache
def _help() -> str:
    program = shutil.which("bwrap")
    if not program:
        return ""
    try:
        said = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20, check=False, env={})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout + said.stderr


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
        *(() if spec.network else (("hosts", "127.0.0.1 localhost tandem\n::1 localhost\n"),)),
    ):
        (private / name).write_text(text)
        yield from _bind(False, str(private / name), f"/etc/{name}")
    for path in readable_etc(network=spec.network):
        yield from _bind(False, os.path.realpath(path) if path.endswith("resolv.conf") else path, path)
