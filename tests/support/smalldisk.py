"""A disk that is small enough to fill: a tmpfs of its own size, mounted for the length of a `with` block.

As root it is mounted with `mount -t tmpfs`, and every process sees it; that needs CAP_SYS_ADMIN, which a container may
lack.
As anybody else, or with `private=True`, it is mounted in a user and mount namespace of its own, kept alive by one small
process; only commands that went through `wrap` see it at `path`, where they are root in name and have root's rights over
what belongs to the user. This process reaches the same files through `seen`. That needs unshare and nsenter of util-linux
and a kernel that lets a user make namespaces.

Nothing is skipped silently: `available` says why a machine can not have such a disk, and `require` ends the test, as failed
for root (who could have had it) and as skipped for the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from tests.support import needs

_FILLER = ".filler"
_PIECE = 1 << 20
_DEADLINE_S = 20
# entering a namespace forgets the folder one stands in
_ENTER = 'exec nsenter --target="$0" --user --mount --preserve-credentials --wd="$PWD" -- "$@"'


class SmallDisk:
    """One mounted disk; made by `small_disk`. Sizes are bytes, rounded by the kernel to pages of usually 4096."""

    def __init__(self, path: Path, staging: Path, keeper: int | None) -> None:
        self.path = path
        self.seen = path if keeper is None else Path(f"/proc/{keeper}/root{path}")
        self._staging = staging  # outside the disk: an empty folder to mount on for a moment
        self._keeper = keeper
        self._covered = False

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` so that it sees the disk at `path`: unchanged where everybody sees it.

        The process keeps its number, so signals reach it. Start it in a folder that is not on the disk.
        """
        if self._keeper is None:
            return list(argv)
        return ["sh", "-c", _ENTER, str(self._keeper), *argv]

    def left(self) -> int:
        """Return how many bytes can still be written."""
        stat = os.statvfs(self.seen)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave_bytes: int = 0) -> int:
        """Write a filler until at most `leave_bytes` can be written; return what really is left.

        An empty file can still be made on a full disk, but no byte can be written to it.
        """
        self.free()
        with (self.seen / _FILLER).open("wb") as filler:
            end = 0
            while (rest := self.left() - leave_bytes) > 0:
                try:
                    os.posix_fallocate(filler.fileno(), end, min(rest, _PIECE))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break  # somebody else wrote at the same time, and took the last of it
                end = os.fstat(filler.fileno()).st_size
        return self.left()

    def free(self) -> None:
        """Remove the filler; nothing happens where there is none."""
        (self.seen / _FILLER).unlink(missing_ok=True)

    def remount_read_only(self) -> Literal["whole", "new"]:
        """Let nothing be written any more; `writable` ends it.

        Returns "whole". The kernel refuses that while a file is open for writing; then a read-only view is laid over the
        disk and "new" is returned: what is opened from now on can not be written, while files that are open, and paths
        relative to a folder a process already stands in, still can.
        """
        if not self._mount("-o", "remount,bind,ro", str(self.path)):
            return "whole"
        for argv in (
            ["--bind", str(self.path), str(self._staging)],
            ["-o", "remount,bind,ro", str(self._staging)],
            ["--bind", str(self._staging), str(self.path)],  # a view laid over is read-only from its first moment
        ):
            self._must(["mount", *argv])
        self._covered = True
        self._must(["umount", str(self._staging)])
        return "new"

    def writable(self) -> None:
        """Let the disk be written again."""
        if self._covered:
            self._must(["umount", "--lazy", str(self.path)])
            self._covered = False
        else:
            self._must(["mount", "-o", "remount,bind,rw", str(self.path)])

    def _mount(self, *argv: str) -> str:
        return _said(self.wrap(["mount", *argv]))

    def _must(self, argv: Sequence[str]) -> None:
        if words := _said(self.wrap(argv)):
            raise RuntimeError(f"{' '.join(argv)} failed: {words}")


@contextmanager
def small_disk(folder: Path, size_bytes: int, *, private: bool | None = None) -> Generator[SmallDisk]:
    """Yield a disk of `size_bytes` in a new folder under `folder`; it lies in memory and is gone afterwards.

    `private` chooses the namespace, and is by default what this user needs. Without it, a disk of a test that was
    killed stays mounted.

    Raises:
        RuntimeError: This machine can not have one; the message is what `available` or mount says.
    """
    private = os.geteuid() != 0 if private is None else private
    if reason := available(private=private):
        raise RuntimeError(reason)
    place = Path(tempfile.mkdtemp(prefix="disk-", dir=folder)).resolve()
    path, staging = place / "disk", place / "staging"
    path.mkdir()
    staging.mkdir()
    try:
        with _kept(path, size_bytes) if private else _mounted(path, size_bytes) as keeper:
            yield SmallDisk(path, staging, keeper)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def require(*, private: bool | None = None) -> None:
    """End the test where no small disk can be had: root fails, others skip; both with the reason."""
    needs.require("small disks", available(private=os.geteuid() != 0 if private is None else private))


@cache
def available(*, private: bool | None = None) -> str:
    """Return "" where a small disk works, or the reason why it can not; found by mounting one."""
    private = os.geteuid() != 0 if private is None else private
    if sys.platform != "linux":
        return "a small disk needs Linux's tmpfs"
    tools = ("mount", "umount", *(("unshare", "nsenter") if private else ()))
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        return f"a small disk needs {', '.join(missing)}; install util-linux"
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        try:
            with _kept(Path(folder), _PIECE) if private else _mounted(Path(folder), _PIECE):
                return ""
        except RuntimeError as error:
            return f"a small disk can not be mounted here: {error}"


@contextmanager
def _mounted(path: Path, size_bytes: int) -> Generator[None]:
    """Mount for everybody to see."""
    if words := _said(["mount", *_tmpfs(size_bytes), str(path)]):
        raise RuntimeError(words)
    try:
        yield
    finally:
        while os.path.ismount(path):
            if _said(["umount", str(path)]) and (words := _said(["umount", "--lazy", str(path)])):
                raise RuntimeError(f"{path} can not be unmounted: {words}")


@contextmanager
def _kept(path: Path, size_bytes: int) -> Generator[int]:
    """Mount in a namespace and yield the process that keeps it; the kernel unmounts when its last process ends."""
    script = 'mount "$@" && echo mounted && exec cat'  # cat ends with this process's end of the pipe, whatever happens
    keeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *_tmpfs(size_bytes), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert keeper.stdout is not None
    try:
        heard = select.select([keeper.stdout], [], [], _DEADLINE_S)[0]
        line = keeper.stdout.readline().decode().strip() if heard else f"no answer within {_DEADLINE_S} s"
        if line != "mounted":
            raise RuntimeError(line)
        yield keeper.pid
    finally:
        keeper.kill()
        with contextlib.suppress(BrokenPipeError):
            keeper.communicate(timeout=_DEADLINE_S)


def _tmpfs(size_bytes: int) -> list[str]:
    return ["-t", "tmpfs", "-o", f"size={size_bytes},mode=0700,nosuid,nodev", "smalldisk"]


def _said(argv: Sequence[str]) -> str:
    """Run a command; return "" where it went well and what it complained of where not."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
