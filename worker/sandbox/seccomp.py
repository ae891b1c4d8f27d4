"""Which system calls a command may make: rules, and the program that the kernel runs before each call.

Most of what is refused could not be reached in a namespace anyway; some could. Keyrings and virtual sockets to the machine
that hosts this one belong to no namespace, and each of the others is a large piece of kernel that no test needs. What is
refused fails as it would for a user without rights, so that programs fall back; a call of another architecture ends the
process. Pure: nothing is asked of the kernel here.

The numbers are the kernel's, from its table of each architecture; the classic BPF of seccomp(2) knows no names.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_KILL, _ERROR, _ASK, _ALLOW = 0x80000000, 0x00050000, 0x7FC00000, 0x7FFF0000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in the kernel's struct seccomp_data
_X32 = 0x40000000
_NEWER = 470  # calls from here on came after this was written

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# name:number on x86_64/on aarch64, 0 where there is none
_TABLE = """
    ptrace:101/117 process_vm_readv:310/270 process_vm_writev:311/271 kcmp:312/272 process_madvise:440/440
    pidfd_getfd:438/438 mount:165/40 umount2:166/39 move_mount:429/429 open_tree:428/428 open_tree_attr:467/467
    fsopen:430/430 fsconfig:431/431 fsmount:432/432 fspick:433/433 mount_setattr:442/442 pivot_root:155/41
    chroot:161/51 unshare:272/97 clone:56/220 clone3:435/435 setns:308/268 keyctl:250/219 add_key:248/217
    request_key:249/218 bpf:321/280 perf_event_open:298/241 io_uring_setup:425/425 io_uring_enter:426/426
    io_uring_register:427/427 userfaultfd:323/282 kexec_load:246/104 kexec_file_load:320/294 init_module:175/105
    finit_module:313/273 delete_module:176/106 reboot:169/142 swapon:167/224 swapoff:168/225 acct:163/89
    quotactl:179/60 quotactl_fd:443/443 settimeofday:164/170 clock_settime:227/112 syslog:103/116 iopl:172/0
    ioperm:173/0 modify_ldt:154/0 vhangup:153/58 open_by_handle_at:304/265 name_to_handle_at:303/264
    fanotify_init:300/262 inotify_add_watch:254/27 mknod:133/0 mknodat:259/33 personality:135/92 memfd_secret:447/447
    migrate_pages:256/238 move_pages:279/239 shmget:29/194 shmat:30/196 shmctl:31/195 msgget:68/186 msgsnd:69/189
    msgrcv:70/188 msgctl:71/187 semget:64/190 semop:65/193 semctl:66/191 semtimedop:220/192 mq_open:240/180
    mq_unlink:241/181 ioctl:16/29 prlimit64:302/261 setpriority:141/140 sched_setaffinity:203/122
    sched_setparam:142/118 sched_setscheduler:144/119 sched_setattr:314/274 ioprio_set:251/30 socket:41/198
    socketpair:53/199 connect:42/203 bind:49/200 listen:50/201 sendto:44/206 chmod:90/0 fchmod:91/52 fchmodat:268/53
    fchmodat2:452/452 chown:92/0 fchown:93/55 lchown:94/0 fchownat:260/54 utime:132/0 utimes:235/0 futimesat:261/0
    utimensat:280/88 setxattr:188/5 lsetxattr:189/6 fsetxattr:190/7 removexattr:197/14 lremovexattr:198/15
    fremovexattr:199/16 setxattrat:463/463 removexattrat:466/466 file_setattr:469/469 kill:62/129 tkill:200/130
    tgkill:234/131 rt_sigqueueinfo:129/138 rt_tgsigqueueinfo:297/240 pidfd_send_signal:424/424
"""
_CALLS = {
    name: tuple(map(int, numbers.split("/"))) for name, _, numbers in (one.partition(":") for one in _TABLE.split())
}

# What nothing under test needs, whatever confines it.
_NEVER = (
    *("mount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("mount_setattr", "pivot_root", "chroot", "setns", "keyctl", "add_key", "request_key", "bpf", "perf_event_open"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "kexec_load", "kexec_file_load"),
    *("init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl"),
    *("quotactl_fd", "settimeofday", "clock_settime", "syslog", "iopl", "ioperm", "modify_ldt", "vhangup"),
    *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "memfd_secret", "migrate_pages", "move_pages"),
    *("kcmp", "process_madvise", "pidfd_getfd"),
)
# What reaches further than the tree where there are no namespaces: other processes, memory and queues that all share,
# what a path names without opening it.
_HERE = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "inotify_add_watch", "shmget", "shmat", "shmctl", "msgget"),
    *("msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "semtimedop", "mq_open", "mq_unlink"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr"),
    *("removexattrat", "file_setattr", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat"),
)
_TALK = ("connect", "bind", "listen")
ASKED_MODES = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat")
ASKED_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")

_NEW_NAMESPACE = 0x7E020000 | 0x80  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME
_NEW_BY_CLONE = 0x7E020000  # in clone(2) the lowest byte is a signal
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET, _KIND = 1, 5, 0xF
_FIFO, _REGULAR, _SOCKET, _FORMAT = 0o010000, 0o100000, 0o140000, 0o170000
_TTY_INPUT = (0x5412, 0x541C, 0x541D)  # TIOCSTI, TIOCLINUX, TIOCCONS: type into, or take, somebody's terminal
_PERSONALITIES = (0, 8, 0xFFFFFFFF)  # Linux, 32-bit uname, "which is it?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """A condition on an argument: one of `values`, or with `refuse` none of them. `word` 1 is its upper half."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    refuse: bool = False
    word: int = 0


def numbers(names: Iterable[str], machine: str = "") -> dict[int, str]:
    """Return the numbers that calls have on a machine, this one by default; those it has not are left out."""
    at = list(_AUDIT).index(machine or platform.machine())
    return {_CALLS[name][at]: name for name in names if _CALLS[name][at]}


def knows(machine: str = "") -> bool:
    """Return whether there are rules for this architecture."""
    return (machine or platform.machine()) in _AUDIT


def namespaced(machine: str = "") -> bytes:
    """Return the filter for a command that has namespaces of its own, and so its own loopback, processes and memory."""
    families = Only(argument=0, values=(_UNIX, _INET, _INET6, _NETLINK))
    return _program(machine, refused=_NEVER, when={**_common(), "socket": (families,)})


def here(*, network: bool, asked: Sequence[str], machine: str = "") -> bytes:
    """Return the filter for a command that shares the kernel's every table with this machine.

    Without `network` the only socket is a pair that is connected from the start: loopback is the whole machine's, and
    cannot be allowed by address. `asked` calls are put to a supervisor.
    """
    itself = (Only(argument=0, values=(0,)),)
    nowhere = (Only(argument=4, values=(0,)), Only(argument=4, values=(0,), word=1))  # a pointer to no address
    when = {
        **_common(),
        **dict.fromkeys(("prlimit64", "sched_setaffinity", "sched_setparam", "sched_setscheduler"), itself),
        "sched_setattr": itself,
        "setpriority": (Only(argument=0, values=(0,)), Only(argument=1, values=(0,))),
        "ioprio_set": (Only(argument=0, values=(1,)), Only(argument=1, values=(0,))),
        "socketpair": (Only(argument=0, values=(_UNIX,)), Only(argument=1, values=(_STREAM, _SEQPACKET), mask=_KIND)),
        "socket": (Only(argument=0, values=(_INET, _INET6, _NETLINK) if network else ()),),
        **({} if network else {"sendto": nowhere}),
    }
    refused = [*_NEVER, *_HERE, *(() if network else _TALK)]
    return _program(machine, refused=refused, when=when, asked=asked)


def _common() -> dict[str, tuple[Only, ...]]:
    no_device = (_FIFO, _REGULAR, _SOCKET, 0)
    return {
        "unshare": (Only(argument=0, values=(0,), mask=_NEW_NAMESPACE),),
        "clone": (Only(argument=0, values=(0,), mask=_NEW_BY_CLONE),),
        "mknod": (Only(argument=1, values=no_device, mask=_FORMAT),),
        "mknodat": (Only(argument=2, values=no_device, mask=_FORMAT),),
        "ioctl": (Only(argument=1, values=_TTY_INPUT, refuse=True),),
        "personality": (Only(argument=0, values=_PERSONALITIES),),
    }


def _program(
    machine: str,
    *,
    refused: Sequence[str],
    when: Mapping[str, tuple[Only, ...]],
    asked: Sequence[str] = (),
) -> bytes:
    """Return the filter's instructions as the kernel takes them: 8 bytes each, in this machine's byte order."""
    machine = machine or platform.machine()
    made: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL if machine == "x86_64" else _ERROR | errno.ENOSYS),
        (_AT_LEAST, 0, 1, _NEWER),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
    ]
    for number in numbers(("clone3",), machine):  # its flags lie in memory; programs fall back to clone
        made += _then(number, [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)])
    for number in numbers(refused, machine):
        made += _then(number, [(_RETURN, 0, 0, _ERROR | errno.EPERM)])
    for number in numbers(asked, machine):
        made += _then(number, [(_RETURN, 0, 0, _ASK)])
    for number, name in numbers(when, machine).items():
        made += _then(number, [*(step for one in when[name] for step in _test(one)), (_RETURN, 0, 0, _ALLOW)])
    made.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in made)


def _then(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Return a body for one call; it ends with a return, because its tests lose the number."""
    return [(_EQUAL, 0, len(body), number), *body]


def _test(one: Only) -> list[Instruction]:
    """Return what refuses a call unless the condition holds."""
    load: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * one.argument + 4 * one.word), (_AND, 0, 0, one.mask)]
    refuse = (_RETURN, 0, 0, _ERROR | errno.EPERM)
    count = len(one.values)
    if one.refuse:  # a match falls into the refusal, the last miss jumps over it
        tests = [(_EQUAL, count - 1 - at, 0 if at < count - 1 else 1, value) for at, value in enumerate(one.values)]
    else:
        tests = [(_EQUAL, count - at, 0, value) for at, value in enumerate(one.values)]
    return [*load, *tests, refuse]
