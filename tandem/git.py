"""Run `git` so that nothing it finds in a repository has power over us.

Two ways in: `git` works on a Git directory that belongs to Tandem and sees no configuration but that directory's own;
`user_git` looks at a person's checkout and reads that person's configuration too, because `safe.directory` lives there.
In both, hooks, file monitors, prompts, transports and inherited `GIT_*` variables are off. What a command means is the
caller's business; this module knows processes, deadlines and the words for what went wrong.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tandem import disk
from tandem.errors import BadInput, DeadlineExceeded, DiskFull, ResourceExhausted, TandemError, Unavailable

OLDEST = (2, 38)  # the first with `merge-tree --write-tree`
STDOUT_BYTES_MAX = 256 << 20
_STDERR_BYTES_MAX = 64 << 10
_PIECE_BYTES = 64 << 10
_FIXED: Mapping[str, str] = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone must not call its remote for a missing object
    "GIT_ASKPASS": "",
    "GIT_EDITOR": ":",
    "GIT_PAGER": "cat",
}
_HARMLESS = ("PATH", "TMPDIR")
# Where a person's own configuration lies; SUDO_UID is how git knows whose checkout root is looking at.
_PERSON = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "SUDO_UID")
_POWERLESS: tuple[str, ...] = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "core.quotePath=false",
)
_found_version: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class GitResult:
    """What a git process answered."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Return the output as text without its last line end."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def command(*args: str, config: Sequence[str] = (), protocol: Literal["", "file", "fd"] = "") -> list[str]:
    """Return the argv for git's `args`, with everything switched off that a repository could use against us.

    `config` holds further `key=value` settings; `protocol` is the one transport this call may use. For callers that
    pipe a process themselves; the others use `git`.
    """
    allowed = (f"protocol.{protocol}.allow=always",) if protocol else ()
    settings = [part for setting in (*_POWERLESS, *allowed, *config) for part in ("-c", setting)]
    return ["git", *settings, *args]


def environment(git_dir: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a process on a Git directory of ours."""
    inherited = {key: os.environ[key] for key in _HARMLESS if key in os.environ}
    own = {"GIT_DIR": str(git_dir), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": os.devnull}
    return {"PATH": os.defpath, **inherited, **_FIXED, **own, **(extra or {})}


def user_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a process that looks at a person's checkout."""
    inherited = {key: os.environ[key] for key in (*_HARMLESS, *_PERSON) if key in os.environ}
    return {"PATH": os.defpath, **inherited, **_FIXED, **(extra or {})}


async def git(
    *args: str,
    git_dir: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60,
    check: bool = True,
    config: Sequence[str] = (),
    protocol: Literal["", "file", "fd"] = "",
    pass_fds: tuple[int, ...] = (),
) -> GitResult:
    """Run git over `git_dir`, a directory of ours; `check` raises where it answers with anything but 0.

    `pass_fds` are open files the process inherits, for the `fd` transport.

    Raises:
        DeadlineExceeded: It took longer than `timeout_s`; the process and its children are gone.
        DiskFull: There is no room for what it writes.
        ResourceExhausted: It wrote more than 256 MiB.
        Unavailable: git is not installed.
        TandemError: It failed, and `check` was asked for.
    """
    argv = command(*args, config=config, protocol=protocol)
    return await _run(argv, environment(git_dir, env), git_dir, stdin, timeout_s, check, pass_fds)


async def user_git(
    *args: str,
    checkout: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60,
    check: bool = True,
    config: Sequence[str] = (),
    protocol: Literal["", "file"] = "",
) -> GitResult:
    """Run git in a person's checkout; the person's own configuration counts, its hooks and monitors do not.

    Raises as `git` does.
    """
    argv = command("-C", str(checkout), *args, config=config, protocol=protocol)
    return await _run(argv, user_environment(env), checkout, stdin, timeout_s, check)


async def git_version() -> tuple[int, ...]:
    """Return the version of the git that is installed, asked once.

    Raises:
        Unavailable: There is none, or it is older than 2.38.
    """
    global _found_version
    if _found_version is None:
        said = await _run(["git", "version"], user_environment(), None, None, 20, True)
        _found_version = parse_version(said.text)
    return _found_version


def parse_version(text: str) -> tuple[int, ...]:
    """Return the version in the answer of `git version`.

    Raises:
        Unavailable: It is none, or older than 2.38.
    """
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    version = tuple(int(part) for part in found.groups(default="0")) if found else ()
    if version < OLDEST:
        raise Unavailable(f"{text.strip()!r} is installed and Tandem needs git 2.38 or newer; {_INSTALL}")
    return version


_INSTALL = "install it (Debian, Ubuntu: apt install git; macOS: xcode-select --install or brew install git)"


async def _run(
    argv: list[str],
    env: dict[str, str],
    place: Path | None,
    stdin: bytes | None,
    timeout_s: float,
    check: bool,
    pass_fds: tuple[int, ...] = (),
) -> GitResult:
    verb = _verb(argv)
    if any("\0" in part for part in argv):
        raise BadInput(f"an argument of git {verb} holds a zero character; leave it out")
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except UnicodeEncodeError as error:
        raise BadInput(
            f"an argument of git {verb} holds {error.object[error.start]!r}, which is no character"
        ) from None
    except FileNotFoundError:
        raise Unavailable(f"git is not installed or not on PATH; {_INSTALL}") from None
    except OSError as error:
        raise ResourceExhausted(f"git could not be started: {error.strerror}; close something and try again") from error
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await _talk(process, stdin, verb)
            code = await process.wait()
    except TimeoutError:
        raise DeadlineExceeded(
            f"git {verb} took longer than {timeout_s:g} s and was stopped; look for a slow disk or another git at work"
        ) from None
    finally:
        await _end(process)
    result = GitResult(code, stdout, stderr)
    if check and code != 0:
        raise failure(verb, result, place)
    return result


def failure(verb: str, result: GitResult, place: Path | None = None) -> TandemError:
    """Return our error for a git process that failed; `place` is on the disk it writes to."""
    words = " ".join(result.stderr.split())[-600:] or "it said nothing"
    if disk.is_full(result.stderr, place):
        if place is not None and disk.has_little(place):
            return disk.full(f"git {verb} failed ({words})", place)
        return DiskFull(f"git {verb} found a disk full ({words}); free some space, and the work goes on by itself")
    return TandemError(f"git {verb} failed with status {result.returncode}: {words}")


def _verb(argv: Sequence[str]) -> str:
    rest = iter(argv[1:])
    for part in rest:
        if part in ("-c", "-C"):
            next(rest, None)
        elif not part.startswith("-"):
            return part
    return ""


async def _talk(process: asyncio.subprocess.Process, stdin: bytes | None, verb: str) -> tuple[bytes, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    feeding = asyncio.create_task(_feed(process, stdin))
    listening = asyncio.create_task(_tail(process.stderr))
    try:
        stdout = await _whole(process.stdout, verb)
        await feeding
        return stdout, (await listening).decode("utf-8", "replace")
    finally:
        for task in (feeding, listening):
            task.cancel()
        await asyncio.gather(feeding, listening, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | None) -> None:
    if process.stdin is None or stdin is None:
        return
    try:
        process.stdin.write(stdin)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass  # git answered before it read everything; its status says why


async def _whole(stream: asyncio.StreamReader, verb: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.read(_PIECE_BYTES):
        size += len(piece)
        if size > STDOUT_BYTES_MAX:
            raise ResourceExhausted(f"git {verb} wrote more than {STDOUT_BYTES_MAX >> 20} MiB; leave large files out")
        pieces.append(piece)
    return b"".join(pieces)


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Return the last words; whatever git says, it must never wait for a reader."""
    tail = b""
    while piece := await stream.read(_PIECE_BYTES):
        tail = (tail + piece)[-_STDERR_BYTES_MAX:]
    return tail


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process's group, whatever way it ended, and reap it."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own: pid and group are one
        except ProcessLookupError:
            pass
        except PermissionError:  # macOS answers so for a group of zombies
            pass
        await asyncio.shield(process.wait())
    transport = getattr(process, "_transport", None)  # asyncio closes it late and warns then
    if transport is not None:
        transport.close()
