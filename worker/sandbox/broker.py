"""Answer the calls that a filter cannot judge by their numbers: modes and dates of files, and signals.

Landlock does not watch over chmod, utimensat and, before its sixth version, kill. The filter stops such a call and asks
here. A change to a file is never let through, because its path may be another by then: the file is opened, looked at, and
changed through that same descriptor. A signal is let through if it stays in the command's own tree. Part of `confine.py`,
with the standard library alone.
"""

# ruff: noqa: PTH101, PTH115, PTH123, PTH208 - part of what starts for every command, see there
from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Generator, Sequence

RECEIVE, SEND, STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
NOTICE = struct.Struct("=QII iIQ 6Q")  # id, pid, flags; number, architecture, instruction, arguments
REPLY = struct.Struct("=QqiI")  # id, value, error, flags
LET_THROUGH = 1
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = -100, 0x100, 0x1000
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
PATH_MAX = 4096
_WORD = (1 << 32) - 1


class Refused(Exception):
    """A call is refused with an error number."""

    def __init__(self, number: int) -> None:
        self.number = number


class Broker:
    """Answers one filter's questions. `asked` gives the calls by number; files under `folders` may be changed."""

    def __init__(self, asked: dict[str, str], folders: Sequence[str]) -> None:
        self.listener = -1
        self._names = {int(number): name for number, name in asked.items()}
        self._folders = [os.path.realpath(folder) for folder in folders]

    def listen(self, listener: int) -> None:
        """Take the descriptor on which the filter asks."""
        self.listener = listener

    def answer(self) -> None:
        """Answer one question."""
        notice = bytearray(NOTICE.size)
        try:
            fcntl.ioctl(self.listener, RECEIVE, notice)
        except OSError:
            return  # whoever asked was killed meanwhile
        ident, pid, _, number, _, _, *arguments = NOTICE.unpack(notice)
        error, flags = 0, 0
        try:
            if self._decide(self._names.get(number, ""), _Caller(self.listener, ident, pid), arguments):
                flags = LET_THROUGH
        except Refused as refused:
            error = -refused.number
        except OSError as failed:
            error = -(failed.errno or errno.EPERM)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.listener, SEND, REPLY.pack(ident, 0, error, flags))

    def _decide(self, name: str, caller: _Caller, arguments: Sequence[int]) -> bool:
        """Do what was asked, or return that the kernel shall."""
        first, second, third, fourth = arguments[:4]
        match name:
            case "chmod":
                self._chmod(caller.file(AT_FDCWD, first, 0), second)
            case "fchmod":
                self._chmod(caller.file(first, 0, AT_EMPTY_PATH), second)
            case "fchmodat":
                self._chmod(caller.file(first, second, 0), third)
            case "fchmodat2":
                self._chmod(caller.file(first, second, fourth), third)
            case "utimensat":
                self._date(caller.file(first, second, fourth), caller.times(third))
            case "kill" | "tkill" | "rt_sigqueueinfo":
                return _stays_inside(_signed(first), caller.pid)
            case "tgkill" | "rt_tgsigqueueinfo":
                return _stays_inside(_signed(first), caller.pid) and _stays_inside(_signed(second), caller.pid)
            case _:
                raise Refused(errno.EPERM)
        return False

    def _chmod(self, place: int, mode: int) -> None:
        with _closing(place):
            self._must_be_ours(place)
            os.chmod(f"/proc/self/fd/{place}", mode & 0o7777)

    def _date(self, place: int, when: tuple[int, int, int, int] | None) -> None:
        with _closing(place):
            self._must_be_ours(place)
            path = f"/proc/self/fd/{place}"
            was = os.stat(place)
            now = time.time_ns()
            seconds, parts = (now // 10**9,) * 2, (UTIME_NOW,) * 2
            if when is not None:
                seconds, parts = (when[0], when[2]), (when[1], when[3])
            known = {UTIME_NOW: (now, now), UTIME_OMIT: (was.st_atime_ns, was.st_mtime_ns)}
            fresh = [
                known[part][at] if part in known else second * 10**9 + part
                for at, (second, part) in enumerate(zip(seconds, parts, strict=True))
            ]
            os.utime(path, ns=(fresh[0], fresh[1]))

    def _must_be_ours(self, place: int) -> None:
        """Refuse a file that lies in none of the folders; it is open, so what is looked at is what will be changed."""
        real = os.readlink(f"/proc/self/fd/{place}")
        if not any(real == folder or real.startswith(f"{folder}/") for folder in self._folders):
            raise Refused(errno.EPERM)


class _Caller:
    """The process that asked, stopped in its call. What is read of it counts only if it still is the one that asked."""

    def __init__(self, listener: int, ident: int, pid: int) -> None:
        self._listener = listener
        self._ident = ident
        self.pid = pid

    def file(self, folder: int, name: int, flags: int) -> int:
        """Return a descriptor (O_PATH) of the file that a descriptor and the address of a path name."""
        folder = _signed(folder)
        path = self._text(name) if name else b""
        base = f"/proc/{self.pid}/cwd" if folder == AT_FDCWD else f"/proc/{self.pid}/fd/{folder}"
        if not path and name and not flags & AT_EMPTY_PATH:
            raise Refused(errno.ENOENT)
        link = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
        if not path:
            place = os.open(base, os.O_PATH | os.O_CLOEXEC)
        elif path.startswith(b"/"):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC | link)
        else:
            place = os.open(os.fsencode(base) + b"/" + path, os.O_PATH | os.O_CLOEXEC | link)
        try:
            self._must_still_wait()
        except OSError:
            os.close(place)
            raise
        return place

    def times(self, address: int) -> tuple[int, int, int, int] | None:
        """Return two times as seconds and nanoseconds; None stands for now."""
        if not address:
            return None
        found: tuple[int, int, int, int] = struct.unpack("4q", self._memory(address, 32))
        self._must_still_wait()
        return found

    def _text(self, address: int) -> bytes:
        """Return a path; read up to the end of a page at a time, for the next may not be there."""
        said = b""
        while b"\0" not in said and len(said) < PATH_MAX:
            said += self._memory(address + len(said), PATH_MAX - (address + len(said)) % PATH_MAX)
        path, end, _ = said.partition(b"\0")
        if not end:
            raise Refused(errno.ENAMETOOLONG)
        return path

    def _memory(self, address: int, size: int) -> bytes:
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        with _closing(memory):
            found = os.pread(memory, size, address)
        if not found:
            raise Refused(errno.EFAULT)
        return found

    def _must_still_wait(self) -> None:
        fcntl.ioctl(self._listener, STILL_VALID, struct.pack("Q", self._ident))


def _stays_inside(target: int, pid: int) -> bool:
    """Return that a signal reaches only the tree below this process; whoever else it would reach may not be told.

    Raises:
        Refused: It would reach further.
    """
    group = pid if target == 0 else -target
    reached = [target] if target > 0 else _members(os.getpgid(group) if target == 0 else group)
    if target == -1 or not reached:
        raise Refused(errno.EPERM if target == -1 else errno.ESRCH)
    if not all(_is_below(one) for one in reached):
        raise Refused(errno.EPERM)
    return True


def _members(group: int) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.getpgid(int(name)) == group:
                found.append(int(name))
    return found


def _is_below(pid: int) -> bool:
    """Return whether a process, or the one that a thread belongs to, is a descendant of this one."""
    try:
        while pid > 1:
            with open(f"/proc/{pid}/status") as told:
                fields = dict(line.split(":\t", 1) for line in told)
            pid = int(fields["PPid"])
            if pid == os.getpid():
                return True
    except FileNotFoundError:
        raise Refused(errno.ESRCH) from None
    return False


def _signed(word: int) -> int:
    return ctypes.c_int(word & _WORD).value


@contextlib.contextmanager
def _closing(place: int) -> Generator[None]:
    try:
        yield
    finally:
        os.close(place)
