"""The second rung on Linux, where no user namespaces are to be had: Landlock, a filter of system calls, another user id.

Containers by default and Ubuntu's AppArmor forbid bubblewrap what it needs; these ask nobody. The command reads what
stands in a list and writes to the tree, to where its reports go, and to one private folder that is HOME and holds
temporary files; everything else is refused by the kernel, whoever started it. Started by root it runs as a user that owns
nothing else.

What this rung cannot do, because nothing is hidden here and only refused:
* it sees the list of this machine's processes, and whether a file of a known name exists, its size and date (`CONCEDED`);
* all network is off, loopback too: it belongs to the whole machine, and no rule goes by address. A test that starts a local
  server fails here; a connected pair of sockets, as event loops use it, works;
* `/tmp` and `/dev/shm` are the machine's and closed: programs use TMPDIR; locks that lie in `/dev/shm` cannot be made;
* files are not watched (inotify), given away (chown) or marked (xattr), and no terminal can be opened.

There are no mounts: paths keep their real names, as on macOS. `confine.py` does it; here is only what it is told.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import sys
from functools import cache
from pathlib import Path

from worker.sandbox import seccomp
from worker.sandbox.bubblewrap import readable_etc
from worker.sandbox.limits import FILE_BYTES_MAX, tasks
from worker.sandbox.spec import Command, SandboxSpec, placed, unmounted, working_folder
from worker.sandbox.toolchains import base_python, toolchain_roots

REMEDY = "use a kernel from 6.2 on with Landlock (CONFIG_LSM or lsm= names it)"
CONCEDED = frozenset({"list-processes", "see-that-a-file-is-there"})
_CONFINE = Path(__file__).with_name("confine.py")
# Not as a script: a script is compiled anew each time.
_START = "import sys; sys.path.append(sys.argv[1]); import confine; confine.main(*map(int, sys.argv[2:]))"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Elsewhere these are not there; a file that is there and refused surprises programs that ask which distribution this is.
_DISTRIBUTION = ("os-release", "debian_version", "lsb-release", "redhat-release", "fedora-release", "alpine-release")
_OLDEST = 3  # before, a file could be cut to nothing unseen
_SIGNALS = 6  # from here on, signals stay inside by themselves
_ASK_VERSION = 444, 1  # landlock_create_ruleset, LANDLOCK_CREATE_RULESET_VERSION


def wrap(spec: SandboxSpec, private: Path, *, newest: int = 99) -> Command:
    """Return the command that runs `spec`; `private` becomes HOME and the place for temporary files.

    `newest` is the version of Landlock to use at most, as an older kernel would.

    Raises:
        OSError: This kernel has no Landlock, or an old one, or the architecture has no filter.
    """
    found = min(version(), newest)
    if found < _OLDEST or not seccomp.knows():
        raise OSError(errno.ENOSYS, f"this kernel has Landlock {found} and needs {_OLDEST}" if found else "no Landlock")
    env = {"USER": "check", "LOGNAME": "check", **unmounted(spec, private)}
    asked = (*seccomp.ASKED_MODES, *(() if found >= _SIGNALS else seccomp.ASKED_SIGNALS))
    policy = {
        "argv": [placed(part, spec) for part in spec.argv],
        "env": env,
        "cwd": working_folder(spec),
        "read": [*_SYSTEM, *map(str, toolchain_roots()), *(str(m.source) for m in spec.mounts if not m.writable)],
        "look": ["/proc", *readable_etc(network=spec.network), *(f"/etc/{name}" for name in _DISTRIBUTION)],
        "devices": [*_DEVICES],
        "write": [str(private), *(str(m.source) for m in spec.mounts if m.writable)],
        "network": spec.network,
        "version": found,
        "filter": seccomp.here(network=spec.network, asked=asked),
        "asked": seccomp.numbers(asked),
        "tasks": tasks(spec.limits),
        "file_bytes": FILE_BYTES_MAX,
    }
    argv = (base_python(), "-I", "-S", "-c", _START, str(_CONFINE.parent), Command.OPTIONS, Command.GATE)
    return Command(argv=argv, handed={Command.OPTIONS: marshal.dumps(policy)})


@cache
def version() -> int:
    """Return which Landlock this kernel has, 0 for none."""
    if sys.platform != "linux":
        return 0
    number, flag = _ASK_VERSION
    return max(ctypes.CDLL(None).syscall(number, None, ctypes.c_size_t(0), flag), 0)
