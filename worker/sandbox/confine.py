"""Confine this process by Landlock and seccomp and run a command: `main(policy, gate)`, with the standard library.

One descriptor holds the policy, on the other comes a byte when the command may run; `worker/sandbox/landlock.py` writes the
policy and starts this in an interpreter of its own. This process stays outside as the command's keeper: it answers what the
filter asks (`broker.py`), takes in whoever loses a parent, kills what is left when the command ends, and gives the folders
back to their owner. It runs with an empty environment and never reads a file of the command's.

Numbers are those of the kernel's headers; landlock(7), seccomp_unotify(2) and capabilities(7) explain them.
"""

# ruff: noqa: PTH116 - it starts for every command; pathlib, json and re would double the time
from __future__ import annotations

import contextlib
import ctypes
import errno
import marshal
import os
import pwd
import resource
import select
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from worker.sandbox import broker
else:  # beside this, and in no package here
    import broker

LIBC = ctypes.CDLL(None, use_errno=True)
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_FILTER, NEW_LISTENER = 1, 8
PR_SET_SECUREBITS, NO_SETUID_FIXUP, NO_SETUID_FIXUP_LOCKED = 28, 1 << 2, 1 << 3
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 8, 36, 38, 47
PR_CAPBSET_DROP, AMBIENT_RAISE = 24, 2
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
CAP_LAST = 63
CAP_VERSION = 0x20080522

_RIGHTS = ("execute", "write", "read", "list", "rmdir", "unlink", "char", "mkdir", "make", "sock", "fifo", "block")
RIGHTS = {name: 1 << bit for bit, name in enumerate((*_RIGHTS, "symlink", "refer", "truncate", "ioctl"))}
READ = RIGHTS["execute"] | RIGHTS["read"] | RIGHTS["list"]
LOOK = RIGHTS["read"] | RIGHTS["list"]
DEVICE = RIGHTS["read"] | RIGHTS["write"]
WRITE = sum(RIGHTS.values()) & ~(RIGHTS["char"] | RIGHTS["block"] | RIGHTS["ioctl"])
OF_FILES = RIGHTS["execute"] | RIGHTS["write"] | RIGHTS["read"] | RIGHTS["truncate"] | RIGHTS["ioctl"]
IOCTL_FROM, NET_FROM, SCOPE_FROM = 5, 4, 6  # versions of Landlock that brought these
TCP = 0b11  # bind, connect
SCOPES = 0b11  # abstract sockets, signals

# Numbers that no distribution gives to anybody, and that a user namespace of the usual size has.
USERS = range(60706, 61184)
CANNOT = 125  # exit status of a command that was not run


def main(written: int, gate: int) -> None:
    """Run the policy's command, and leave with its status."""
    with os.fdopen(written, "rb") as told:
        policy: dict[str, Any] = marshal.load(told)  # noqa: S302 - the worker wrote it, in the same Python
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda number, frame: _leave(143))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    user, claim = _user()
    folders = [] if user is None else [_Folder(path, user) for path in policy["write"]]
    ours, theirs = socket.socketpair()
    if not os.read(gate, 1):  # the worker is gone
        _leave(CANNOT, folders)
    os.close(gate)
    child = os.fork()
    if child == 0:
        ours.close()
        _run(policy, user, theirs)
    theirs.close()
    code = _keep(child, ours, woken, broker.Broker(policy["asked"], policy["write"]))
    del claim
    _leave(code, folders)


def _keep(child: int, ours: socket.socket, woken: int, answers: broker.Broker) -> int:
    """Answer and reap until the command itself has ended; return its status as a shell would tell it."""
    with contextlib.suppress(OSError):
        _, handed, _, _ = socket.recv_fds(ours, 1, 1)
        answers.listen(handed[0] if handed else -1)
    ours.close()
    waiting = select.poll()
    waiting.register(woken, select.POLLIN)
    if answers.listener >= 0:
        waiting.register(answers.listener, select.POLLIN)
    while True:
        for number, event in waiting.poll():
            if number == answers.listener and event & select.POLLIN:
                answers.answer()
            elif number == answers.listener:  # nobody is left who could ask
                waiting.unregister(number)
            else:
                os.read(woken, 512)
        for pid, status in _ended():
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


def _leave(code: int, folders: list[_Folder] | None = None) -> NoReturn:
    """Kill children, and those they leave behind, until there is none; then give the folders back."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            break
    for folder in folders or []:
        folder.give_back()
    os._exit(code)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as told:  # noqa: PTH123 - see above
            return [int(pid) for pid in told.read().split()]
    except OSError:
        return []


# -- another user


def _user() -> tuple[int | None, socket.socket | None]:
    """Return a user id that is nobody's, and what holds it while this process lives; none where this is not root."""
    if os.geteuid() != 0:
        return None, None
    start = os.getpid() % len(USERS)  # not the last run's: the kernel may still count what it left
    for number in (*USERS[start:], *USERS[:start]):
        with contextlib.suppress(KeyError):
            pwd.getpwuid(number)
            continue
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0tandem-user-{number}")
        except OSError:
            claim.close()
            continue
        if _may_become(number):
            return number, claim
        claim.close()
        return None, None
    return None, None


def _may_become(user: int) -> bool:
    """Return whether this process may change to a user, and give files to it: containers may forbid either."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0 and bool(_held() & (1 << DAC_READ_SEARCH | 1 << DAC_OVERRIDE | 1))


class _Folder:
    """A folder that belongs to the command's user for as long as it runs."""

    def __init__(self, path: str, user: int) -> None:
        self._path = path
        owner = os.stat(path)
        self._owner = owner.st_uid, owner.st_gid
        _give(path, user, user)

    def give_back(self) -> None:
        """Give all in it to whom it was; nobody is left inside who could be in the way."""
        _give(self._path, *self._owner)


def _give(path: str, user: int, group: int) -> None:
    os.chown(path, user, group, follow_symlinks=False)
    for _, folders, files, place in os.fwalk(path):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                os.chown(name, user, group, dir_fd=place, follow_symlinks=False)


# -- inside


def _run(policy: dict[str, Any], user: int | None, theirs: socket.socket) -> NoReturn:
    """Become the command."""
    try:
        _confine(policy, user, theirs)
        os.execvpe(policy["argv"][0], policy["argv"], policy["env"])  # noqa: S606 - there is no shell
    except OSError as error:
        named = f" ({error.filename})" if error.filename else ""
        os.write(2, f"the sandbox could not run {policy['argv'][0]!r}: {error.strerror}{named}\n".encode())
    os._exit(CANNOT)


def _confine(policy: dict[str, Any], user: int | None, theirs: socket.socket) -> None:
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.setsid()
    os.umask(0o022)
    rules = _rules(policy)
    os.chdir(policy["cwd"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (policy["file_bytes"], policy["file_bytes"]))
    if user is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (policy["tasks"], policy["tasks"]))
        _become(user)
    else:
        _drop(0)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user clears it
    _checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(LIBC.syscall(RESTRICT_SELF, rules, 0))
    listener = _filter(policy["filter"])
    socket.send_fds(theirs, [b"x"], [listener])


def _rules(policy: dict[str, Any]) -> int:
    """Return a Landlock ruleset: whatever stands in no rule is refused."""
    version: int = policy["version"]
    handled = sum(RIGHTS.values()) & ~(0 if version >= IOCTL_FROM else RIGHTS["ioctl"])
    net = TCP if version >= NET_FROM and not policy["network"] else 0
    about = struct.pack("3Q", handled, net, SCOPES if version >= SCOPE_FROM else 0)
    size = 24 if version >= SCOPE_FROM else 16 if version >= NET_FROM else 8
    rules = _checked(LIBC.syscall(CREATE_RULESET, about, ctypes.c_size_t(size), 0))
    for key, rights in (("read", READ), ("look", LOOK), ("devices", DEVICE), ("write", WRITE)):
        for path in policy[key]:
            _allow(rules, path, rights)
    return rules


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there needs no rule
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= OF_FILES
    _checked(LIBC.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0))
    os.close(place)


def _become(user: int) -> None:
    """Change to a user that owns nothing but the folders, and may find its way to them; Landlock says what it may read."""
    keep = DAC_READ_SEARCH if _held() & (1 << DAC_READ_SEARCH) else DAC_OVERRIDE
    for capability in range(CAP_LAST + 1):
        if capability != keep:
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _checked(LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    # else access(2), which asks for another user than open(2) does, would find nothing under folders of root's
    LIBC.prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP | NO_SETUID_FIXUP_LOCKED, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _drop(1 << keep & _held())
    LIBC.prctl(PR_CAP_AMBIENT, AMBIENT_RAISE, keep, 0, 0)


def _drop(keep: int) -> None:
    """Give up every capability but those in `keep`, a set of bits."""
    header = struct.pack("Ii", CAP_VERSION, 0)
    _checked(LIBC.capset(header, struct.pack("6I", keep, keep, keep, 0, 0, 0)))


def _held() -> int:
    """Return the capabilities that this process may use, as bits."""
    data = ctypes.create_string_buffer(24)
    _checked(LIBC.capget(struct.pack("Ii", CAP_VERSION, 0), data))
    return struct.unpack("6I", data.raw)[1]


def _filter(program: bytes) -> int:
    """Load the filter and return the descriptor on which it asks."""
    code = ctypes.create_string_buffer(program, len(program))
    about = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    number = SECCOMP[os.uname().machine]
    return _checked(LIBC.syscall(number, SET_FILTER, NEW_LISTENER, about))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, os.strerror(number))
    return result
