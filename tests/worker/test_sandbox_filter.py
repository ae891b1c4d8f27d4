"""What the filter of system calls decides: its own program, run here on paper for both architectures."""

from __future__ import annotations

import errno
import struct

import pytest

from worker.sandbox import seccomp

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED, ABSENT, ALLOWED = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x7FFF0000
KILLED, ASKED = 0x80000000, 0x7FC00000


def decide(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run a classic BPF program as the kernel would, over one call."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(word & (1 << 64) - 1 for word in words))
    steps = list(struct.iter_unpack("<HBBI", program))
    at, value = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                value &= operand
            case 0x15:
                at += yes if value == operand else no
            case 0x35:
                at += yes if value >= operand else no
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


def number_of(name: str, machine: str) -> int:
    return next(iter(seccomp.numbers([name], machine)))


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def told(machine: str, name: str, *arguments: int, network: bool = False, spaces: bool = False) -> int:
    asked = seccomp.ASKED_MODES
    program = seccomp.namespaced(machine) if spaces else seccomp.here(network=network, asked=asked, machine=machine)
    return decide(program, AUDIT[machine], number_of(name, machine), *arguments)


@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "mount",
        "fsopen",
        "setns",
        "keyctl",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "userfaultfd",
        "init_module",
        "kexec_load",
        "reboot",
        "open_by_handle_at",
        "chroot",
        "pivot_root",
        "syslog",
        "swapon",
        "pidfd_getfd",
    ],
)
def test_the_kernel_s_doors_are_shut_on_every_rung(machine: str, name: str, spaces: bool) -> None:
    assert told(machine, name, spaces=spaces) == REFUSED


@pytest.mark.parametrize("name", ["ptrace", "process_vm_readv", "inotify_add_watch", "shmget", "mq_open", "connect"])
def test_what_a_namespace_holds_is_refused_only_where_there_is_none(machine: str, name: str) -> None:
    assert told(machine, name) == REFUSED
    assert told(machine, name, spaces=True) == ALLOWED


def test_a_namespace_is_refused_and_a_thread_is_not(machine: str) -> None:
    thread = 0x3D0F00  # what pthread_create asks for
    assert told(machine, "clone", thread) == ALLOWED
    assert told(machine, "clone", 17) == ALLOWED, "a fork"
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert told(machine, "clone", flag | 17) == REFUSED
        assert told(machine, "unshare", flag) == REFUSED
    assert told(machine, "unshare", 0x80) == REFUSED, "time"
    assert told(machine, "unshare", 0x400) == ALLOWED, "descriptors"
    assert told(machine, "clone3") == ABSENT


@pytest.mark.parametrize(
    ("family", "here", "connected", "spaces"),
    [
        (1, REFUSED, REFUSED, ALLOWED),
        (2, REFUSED, ALLOWED, ALLOWED),
        (10, REFUSED, ALLOWED, ALLOWED),
        (16, REFUSED, ALLOWED, ALLOWED),
        (17, REFUSED, REFUSED, REFUSED),
        (38, REFUSED, REFUSED, REFUSED),
        (40, REFUSED, REFUSED, REFUSED),
    ],
)
def test_sockets_go_by_their_family(machine: str, family: int, here: int, connected: int, spaces: int) -> None:
    assert told(machine, "socket", family, 1) == here
    assert told(machine, "socket", family, 1, network=True) == connected
    assert told(machine, "socket", family, 1, spaces=True) == spaces


def test_only_a_pair_that_stays_a_pair_can_be_made(machine: str) -> None:
    for kind, said in ((1, ALLOWED), (5, ALLOWED), (2, REFUSED), (3, REFUSED), (1 | 0x80000 | 0x800, ALLOWED)):
        assert told(machine, "socketpair", 1, kind) == said
    assert told(machine, "socketpair", 2, 1) == REFUSED
    assert told(machine, "sendto", 3, 0, 1, 0, 0) == ALLOWED
    assert told(machine, "sendto", 3, 0, 1, 0, 0x7FFF1234) == REFUSED
    assert told(machine, "sendto", 3, 0, 1, 0, 0x1_0000_0000) == REFUSED, "an address whose lower half is zero"


def test_a_device_is_refused_and_a_pipe_is_not(machine: str) -> None:
    for form, said in ((0o020000, REFUSED), (0o060000, REFUSED), (0o010000, ALLOWED), (0o100000, ALLOWED)):
        assert told(machine, "mknodat", 0, 0, form | 0o644, spaces=True) == said


def test_nobody_s_terminal_is_typed_into(machine: str) -> None:
    for request, said in ((0x5412, REFUSED), (0x541C, REFUSED), (0x541D, REFUSED), (0x5401, ALLOWED)):
        assert told(machine, "ioctl", 0, request, spaces=True) == said
    assert told(machine, "ioctl", 0, 0x1_0000_5412) == REFUSED, "the kernel reads the lower half alone"


def test_a_process_may_bound_itself_and_nobody_else(machine: str) -> None:
    assert told(machine, "prlimit64", 0, 7) == ALLOWED
    assert told(machine, "prlimit64", 4711, 7) == REFUSED
    assert told(machine, "setpriority", 0, 0, 5) == ALLOWED
    assert told(machine, "setpriority", 0, 4711, 5) == REFUSED
    assert told(machine, "setpriority", 2, 0, 5) == REFUSED, "a user's every process"


def test_modes_are_asked_about_where_no_namespace_hides_files(machine: str) -> None:
    assert told(machine, "fchmodat") == ASKED
    assert told(machine, "utimensat") == ASKED
    assert told(machine, "fchmodat", spaces=True) == ALLOWED
    assert told(machine, "fchownat") == REFUSED


def test_another_architecture_ends_the_process_and_unknown_calls_are_not_there(machine: str) -> None:
    program = seccomp.namespaced(machine)
    other = next(value for name, value in AUDIT.items() if name != machine)
    assert decide(program, other, 1) == KILLED
    assert decide(program, 0x40000003, 20) == KILLED, "32 bits"
    assert decide(program, AUDIT[machine], 5000) == ABSENT
    assert decide(program, AUDIT[machine], 0x40000000 | 39) == (KILLED if machine == "x86_64" else ABSENT)


def test_a_machine_without_rules_is_known_to_be_one() -> None:
    assert seccomp.knows("x86_64")
    assert not seccomp.knows("riscv64")
