"""Git's own pack protocol for the router: `git upload-pack` and `receive-pack` over our bare repositories.

The router's Git speaks to ours through one gRPC stream. Only references under `refs/tandem/` are taken, objects are
checked as they arrive, and nothing in a repository can make this Git run anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tandem import disk
from tandem.errors import BadInput, TandemError
from tandem.git import command, environment, git
from tandem.paths import private_dir
from tandem.pieces import pieces
from tandem.wire import DATA_BYTES

SERVICES = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}
PACK_BYTES_MAX = 4 << 30
OURS = (
    "receive.denyDeletes=false",
    "receive.denyNonFastForwards=false",
    "receive.hideRefs=refs/",  # a hidden reference cannot be pushed to
    "receive.hideRefs=!refs/tandem/",
)
"""What may be done to references of a repository that is Tandem's alone."""
_CHECKS = (
    "receive.fsckObjects=true",
    "transfer.fsckObjects=true",
    f"receive.maxInputSize={PACK_BYTES_MAX}",
    "receive.autogc=false",
    "receive.unpackLimit=1",  # taken apart, a few large files take three times as long; a small push costs the same
    # history as it is: mistakes of old tools are warnings, what could do harm at checkout stays an error
    "receive.fsck.zeroPaddedFilemode=warn",
    "receive.fsck.missingSpaceBeforeDate=warn",
    "receive.fsck.badTimezone=warn",
    "receive.fsck.missingNameBeforeEmail=warn",
)
_WORDS_BYTES_MAX = 4 << 10
_LEAVE_S = 10.0  # for Git to take the objects of a push that broke off with it, on a machine that is busy
_REPO_ID = re.compile(r"[a-z0-9-]{1,64}(@[a-z2-7]{16})?")  # of a paired router: with its mark (`callers`)


def git_dir(state: Path, repo_id: str) -> Path:
    """Return where a repository is kept.

    Raises:
        BadInput: No repository can have that id.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise BadInput(f"{repo_id[:80]!r} is no repository's id")
    return state / "git" / f"{repo_id}.git"


async def make(state: Path, repo_id: str) -> Path:
    """Return the repository's Git directory, made if need be.

    Raises:
        BadInput: No repository can have that id.
        TandemError: Something else is there; the message says what.
    """
    folder = git_dir(state, repo_id)
    if not folder.exists() and not folder.is_symlink():
        await _create(folder)
    examine(folder)
    return folder


async def _create(folder: Path) -> None:
    """Make a repository beside its place and move it there, so that nobody ever sees half of one."""
    private_dir(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
        fresh = Path(name) / "repo.git"
        await git("init", "-q", "--bare", "--template=", str(fresh), git_dir=fresh)
        fresh.chmod(0o700)
        with contextlib.suppress(OSError):  # another stream was quicker; `examine` looks at its work
            fresh.rename(folder)


def examine(folder: Path) -> None:
    """Refuse a place that is not as we made it: Git would follow a link or borrowed objects wherever they lead."""
    odd = ""
    if folder.is_symlink() or not folder.is_dir():
        odd = "is no folder of ours"
    elif folder.stat().st_uid != os.getuid():
        odd = "belongs to another user"
    elif not ((folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()):
        odd = "is no whole repository"
    elif (folder / "objects" / "info" / "alternates").exists() or (folder / "commondir").exists():
        odd = "borrows from another repository"
    if odd:
        raise TandemError(f"{folder} {odd}; move it away, and it is made anew")


async def serve(
    folder: Path, service: str, received: AsyncIterator[bytes], rules: Sequence[str] = OURS
) -> AsyncIterator[bytes]:
    """Run one service over `folder`: bytes of the peer in, Git's answer out. `rules` are settings about references.

    Raises:
        BadInput: There is no such service.
        DiskFull: There is no room for what would be pushed.
        TandemError: Git ended with an error that its protocol has no words for.
    """
    if service not in SERVICES:
        raise BadInput(f"there is no Git service {service!r} here")
    if service == "git-receive-pack":
        disk.must_have_room("commits could not be taken", folder)
    argv = command(SERVICES[service], str(folder), config=(*_CHECKS, *rules))
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(folder),
        start_new_session=True,
        limit=DATA_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    feeding = asyncio.create_task(_feed(process.stdin, received))
    listening = asyncio.create_task(_tail(process.stderr))
    try:
        async for piece in pieces(process.stdout):
            yield piece
        if await process.wait() not in (0, 1):  # 1: refused, and said so in its own protocol
            words = " ".join((await listening).decode("utf-8", "replace").split()) or "it said nothing"
            raise TandemError(f"git {SERVICES[service]} ended with status {process.returncode}: {words}")
    finally:
        for task in (feeding, listening):
            task.cancel()
        await asyncio.gather(feeding, listening, return_exceptions=True)
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End Git and its helpers. Its input ends first: killed at once, Git leaves the objects of a broken push for good."""
    if process.returncode is None and process.stdin is not None:
        pipe = process.stdin.transport
        if not pipe.is_closing() or pipe.get_write_buffer_size():  # one that is closed cannot be aborted any more
            pipe.abort()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await process.wait()
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
    await process.wait()


async def _tail(stderr: asyncio.StreamReader) -> bytes:
    """Return Git's last words; whatever it says, it must never wait for a reader."""
    tail = b""
    while piece := await stderr.read(_WORDS_BYTES_MAX):
        tail = (tail + piece)[-_WORDS_BYTES_MAX:]
    return tail


async def _feed(stdin: asyncio.StreamWriter, received: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for piece in received:
            stdin.write(piece)
            await stdin.drain()
        stdin.close()
