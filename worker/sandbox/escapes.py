"""Try to get out of a sandbox, from inside: `escapes.py BAIT [NAME...]`, with the standard library alone.

Each attempt is a small function that reaches for something it must not have and returns what it got, or fails with an
OSError. A line of JSON tells each: "held", "hole", or "does not apply" where the thing is not there to be reached. BAIT is
a file that `worker/sandbox/bait.py` writes: where the secret lies, which ports listen, whose process to touch. Nothing is
harmed where an attempt succeeds; the same list run without a sandbox shows that the attempts are real.

`worker/sandbox/selftest.py` runs the quick ones before a sandbox is believed. The list began with what escaped from, or was
tried against, other agents' sandboxes, and grew by reading which parts of a kernel belong to no namespace.
"""

# ruff: noqa: D103 - an attempt's name says what it tries
# ruff: noqa: PTH101, PTH104, PTH106, PTH116, PTH208, S103, S606 - it asks the system as an intruder would

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["secrets", "writing", "network", "processes", "kernel", "sight"]
Bait = dict[str, Any]
_LINUX = sys.platform.startswith("linux")
_ATTEMPT_S = 5
_PARENT = os.getppid()
_LIBC = ctypes.CDLL(None, use_errno=True)
_AT = ("x86_64", "aarch64").index(platform.machine()) if platform.machine() in ("x86_64", "aarch64") else -1


class Attempt(NamedTuple):
    """One way out. `quick` ones are tried at every start; `root` ones succeed outside only for a root without bounds."""

    name: str
    kind: Kind
    run: Callable[[Bait], object]
    quick: bool
    root: bool


class NotHere(Exception):
    """What an attempt would reach is not on this machine, or not in this system."""


ATTEMPTS: list[Attempt] = []


def attempt(
    kind: Kind, *, quick: bool = False, root: bool = False, linux: bool = False
) -> Callable[[Callable[[Bait], object]], Callable[[Bait], object]]:
    """Add a function to the list; its name is the attempt's."""

    def add(run: Callable[[Bait], object]) -> Callable[[Bait], object]:
        def here(bait: Bait) -> object:
            if linux and not _LINUX:
                raise NotHere("it is a matter of Linux")
            return run(bait)

        ATTEMPTS.append(Attempt(run.__name__.replace("_", "-"), kind, here, quick, root))
        return run

    return add


# -- what must not be read


@attempt("secrets", quick=True)
def read_a_file_beside_the_tree(bait: Bait) -> object:
    return Path(bait["secret"]).read_text()


@attempt("secrets")
def list_a_folder_beside_the_tree(bait: Bait) -> object:
    folder: str = bait["outside"]
    return os.listdir(folder)


@attempt("secrets", quick=True)
def read_through_a_link_in_the_tree(bait: Bait) -> object:
    Path("link-out").symlink_to(bait["secret"])
    try:
        return Path("link-out").read_text()
    finally:
        Path("link-out").unlink()


@attempt("secrets")
def read_through_dots(bait: Bait) -> object:
    return Path("/".join(["..", *[".."] * 40, bait["secret"].lstrip("/")])).read_text()


@attempt("secrets")
def read_a_hard_link_made_in_the_tree(bait: Bait) -> object:
    os.link(bait["secret"], "hard-link")
    try:
        return Path("hard-link").read_text()
    finally:
        Path("hard-link").unlink()


@attempt("secrets", quick=True)
def read_what_a_person_keeps_in_the_home_folder(bait: Bait) -> object:
    return _any(bait["home"], lambda path: os.listdir(path) if Path(path).is_dir() else Path(path).read_bytes())


@attempt("secrets", root=True)
def read_the_password_file(bait: Bait) -> object:
    return _any(["/etc/shadow", "/private/etc/master.passwd"], lambda path: Path(path).read_bytes())


@attempt("secrets", quick=True)
def see_the_worker_s_environment(bait: Bait) -> object:
    if bait["variable"] in os.environ:
        return os.environ[bait["variable"]]
    return _any(_proc("environ"), lambda path: _with(Path(path).read_bytes(), bait["variable"]))


@attempt("secrets", linux=True, root=True)
def read_the_memory_of_another_process(bait: Bait) -> object:
    return _opened(f"/proc/{_victim(bait)}/mem", os.O_RDONLY)


@attempt("secrets", linux=True)
def read_the_environment_of_another_process(bait: Bait) -> object:
    return _with(Path(f"/proc/{_victim(bait)}/environ").read_bytes(), bait["variable"])


@attempt("secrets", linux=True)
def go_through_the_root_of_another_process(bait: Bait) -> object:
    return Path(f"/proc/{_victim(bait)}/root{bait['secret']}").read_text()


@attempt("secrets", linux=True)
def go_through_the_folder_of_another_process(bait: Bait) -> object:
    return os.listdir(f"/proc/{_victim(bait)}/cwd/")


@attempt("secrets", linux=True, root=True)
def copy_the_memory_of_another_process(bait: Bait) -> object:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(buffer), 8)
    return _reached(errno.EFAULT, lambda: _call(310, 270, _victim(bait), local, 1, struct.pack("PN", 4096, 8), 1, 0))


@attempt("secrets", linux=True, root=True)
def take_a_descriptor_of_another_process(bait: Bait) -> object:
    return _call(438, 438, os.pidfd_open(_victim(bait)), 0, 0)


@attempt("secrets", quick=True)
def use_a_descriptor_that_was_inherited(bait: Bait) -> object:
    found = {number: os.fstat(number).st_mode for number in range(3, 256) if _is_open(number)}
    own = [n for n, mode in found.items() if stat.S_ISFIFO(mode) and n == bait.get("pipe")]
    left = sorted(set(found) - set(own))
    if not left:
        raise PermissionError(errno.EPERM, "none but the three standard streams is open")
    return left


@attempt("secrets")
def read_shared_memory_by_name(bait: Bait) -> object:
    return Path(bait["shared"]).read_text() if bait["shared"] else _missing("there is no folder of shared memory")


@attempt("secrets")
def read_shared_memory_by_number(bait: Bait) -> object:
    if not bait["segment"]:
        raise NotHere("there is no System V shared memory")
    found = _checked(_LIBC.shmget(bait["segment"], 0, 0))
    _LIBC.shmat.restype = ctypes.c_void_p
    return _checked(_LIBC.shmat(found, None, 0o10000))


@attempt("secrets", linux=True, root=True)
def use_the_keyring_of_the_session(bait: Bait) -> object:
    return _call(250, 219, 0, -3, 0)


@attempt("secrets", linux=True, root=True)
def open_a_file_by_its_handle(bait: Bait) -> object:
    return _reached(errno.EBADF, lambda: _call(304, 265, -1, struct.pack("Ii8s", 8, 1, b""), 0))


@attempt("secrets", linux=True, root=True)
def read_a_disk(bait: Bait) -> object:
    disks = [f"/dev/{name}" for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode)]
    return _any(disks[:8], lambda path: _opened(path, os.O_RDONLY))


@attempt("secrets", linux=True, root=True)
def read_the_kernel_s_log(bait: Bait) -> object:
    return _opened("/dev/kmsg", os.O_RDONLY)


@attempt("secrets", linux=True, root=True)
def call_the_kernel_s_log(bait: Bait) -> object:
    return _call(103, 116, 3, ctypes.create_string_buffer(64), 64)


@attempt("secrets", linux=True)
def watch_a_folder_for_names(bait: Bait) -> object:
    return _checked(_LIBC.inotify_add_watch(_LIBC.inotify_init(), bait["outside"].encode(), 0x100))


@attempt("secrets", linux=True)
def run_a_program_in_memory_that_reads(bait: Bait) -> object:
    program = os.memfd_create("program")
    os.write(program, Path("/bin/cat").read_bytes())
    read, write = os.pipe()
    if os.fork() == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.execve(program, ["cat", bait["secret"]], {})
    os.close(write)
    said = os.read(read, 500)
    os.wait()
    return said if b"of this user" in said else _missing_right("the program ran, and read nothing")


# -- what must not be written


@attempt("writing", quick=True)
def make_a_file_beside_the_tree(bait: Bait) -> object:
    return Path(bait["outside"], "made").write_text("x")


@attempt("writing", quick=True)
def append_to_a_file_beside_the_tree(bait: Bait) -> object:
    return _opened(f"{bait['outside']}/append", os.O_WRONLY | os.O_APPEND)


@attempt("writing")
def cut_a_file_beside_the_tree(bait: Bait) -> object:
    return os.truncate(f"{bait['outside']}/cut", 0)


@attempt("writing", quick=True)
def remove_a_file_beside_the_tree(bait: Bait) -> object:
    return Path(bait["outside"], "gone").unlink()


@attempt("writing")
def remove_a_repository_s_folder(bait: Bait) -> object:
    return os.rmdir(f"{bait['outside']}/repository/.git/objects")


@attempt("writing")
def move_a_repository_away(bait: Bait) -> object:
    return os.rename(f"{bait['outside']}/moved/.git", f"{bait['outside']}/moved/elsewhere")


@attempt("writing")
def plant_a_hook(bait: Bait) -> object:
    return Path(bait["outside"], "repository/.git/hooks/pre-commit").write_text("#!/bin/sh\n")


@attempt("writing")
def write_through_a_link_in_the_tree(bait: Bait) -> object:
    Path("way-out").symlink_to(bait["outside"])
    try:
        return Path("way-out/by-link").write_text("x")
    finally:
        Path("way-out").unlink()


@attempt("writing")
def move_a_file_out(bait: Bait) -> object:
    Path("moves-out").write_text("x")
    return os.rename("moves-out", f"{bait['outside']}/moved-out")


@attempt("writing")
def link_a_file_out(bait: Bait) -> object:
    Path("linked-out").write_text("x")
    return os.link("linked-out", f"{bait['outside']}/linked-out")


@attempt("writing")
def change_the_rights_of_a_file_beside_the_tree(bait: Bait) -> object:
    return os.chmod(bait["secret"], 0o777)


@attempt("writing")
def change_the_rights_through_a_descriptor(bait: Bait) -> object:
    place = os.open(__file__, os.O_RDONLY)  # it may be read, and lies outside what may be written
    return os.fchmod(place, stat.S_IMODE(os.fstat(place).st_mode))


@attempt("writing")
def change_the_date_of_a_file_beside_the_tree(bait: Bait) -> object:
    return os.utime(bait["secret"])


@attempt("writing", linux=True)
def mark_a_file_beside_the_tree(bait: Bait) -> object:
    try:
        return os.setxattr(bait["secret"], "user.tandem", b"x")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise NotHere("this file system has no marks") from None
        raise


@attempt("writing", root=True)
def give_a_file_away(bait: Bait) -> object:
    return os.chown(bait["secret"], 12345, -1)


@attempt("writing", quick=True, root=True)
def write_to_the_system(bait: Bait) -> object:
    return _any(["/usr", "/etc", "/usr/local", "/opt"], _write_there)


@attempt("writing")
def write_to_a_terminal(bait: Bait) -> object:
    return os.write(os.open(bait["terminal"], os.O_WRONLY | os.O_NOCTTY), b"x")


@attempt("writing", root=True)
def type_into_a_terminal(bait: Bait) -> object:
    import fcntl

    place = os.open(bait["terminal"], os.O_RDONLY | os.O_NOCTTY)
    return fcntl.ioctl(place, 0x5412 if _LINUX else 0x80017472, b"x")


@attempt("writing", linux=True, root=True)
def type_into_a_terminal_of_its_own(bait: Bait) -> object:
    import fcntl

    _, slave = os.openpty()
    return fcntl.ioctl(slave, 0x5412, b"x")


@attempt("writing", linux=True, root=True)
def set_a_switch_of_the_kernel(bait: Bait) -> object:
    switches = ("sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/vm/drop_caches", "irq/default_smp_affinity")
    return _any([f"/proc/{name}" for name in switches], lambda path: _opened(path, os.O_WRONLY))


@attempt("writing", linux=True, root=True)
def reach_for_the_emergency_keys(bait: Bait) -> object:
    return _known(lambda: _opened("/proc/sysrq-trigger", os.O_WRONLY))


@attempt("writing", linux=True, root=True)
def make_a_control_group(bait: Bait) -> object:
    def make(folder: str) -> str:
        Path(folder, "tandem-escape").mkdir()
        Path(folder, "tandem-escape").rmdir()
        return folder

    return _any(bait["groups"], make)


# -- the network, and who listens on this machine


@attempt("network", quick=True)
def connect_to_a_port_of_this_machine(bait: Bait) -> object:
    with socket.create_connection(("127.0.0.1", bait["tcp"]), 2) as connection:
        return connection.getpeername()


@attempt("network")
def connect_by_the_newer_protocol(bait: Bait) -> object:
    with socket.create_connection(("::1", bait["tcp6"] or _missing("there is no IPv6")), 2) as connection:
        return connection.getpeername()


@attempt("network")
def send_a_packet_to_a_port_of_this_machine(bait: Bait) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", bait["udp"]))
        sender.settimeout(1)
        sender.send(b"?")
        return sender.recv(10)


@attempt("network")
def listen_where_this_machine_can_connect(bait: Bait) -> object:
    with socket.create_server(("127.0.0.1", bait["free"])) as server:
        server.settimeout(0.7)
        return server.accept()[1]


@attempt("network", linux=True, quick=True)
def see_a_way_to_the_network(bait: Bait) -> object:
    return [name for _, name in socket.if_nameindex() if not name.startswith("lo")] or _missing_right("only loopback")


@attempt("network", quick=True)
def connect_to_a_socket_by_its_path(bait: Bait) -> object:
    return _unix(bait["path"], socket.SOCK_STREAM)


@attempt("network", linux=True, quick=True)
def connect_to_a_socket_by_its_abstract_name(bait: Bait) -> object:
    return _unix(bait["abstract"], socket.SOCK_STREAM)


@attempt("network", linux=True)
def turn_a_pair_to_a_socket_by_its_name(bait: Bait) -> object:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"?", f"\0{bait['packets']}")


@attempt("network", root=True)
def open_a_raw_socket(bait: Bait) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@attempt("network", linux=True, root=True)
def listen_to_every_packet(bait: Bait) -> object:
    return socket.socket(17, socket.SOCK_RAW, 0).close()


@attempt("network", linux=True, root=True)
def talk_to_the_host_of_this_virtual_machine(bait: Bait) -> object:
    return _known(lambda: socket.socket(40, socket.SOCK_STREAM).close())


@attempt("network", linux=True, root=True)
def use_the_kernel_s_cryptography(bait: Bait) -> object:
    return _known(lambda: socket.socket(38, socket.SOCK_SEQPACKET).close())


# -- processes of others


@attempt("processes", quick=True)
def signal_another_process(bait: Bait) -> object:
    return os.kill(_victim(bait), signal.SIGCONT)


@attempt("processes", linux=True)
def signal_whoever_watches_over_it(bait: Bait) -> object:
    if _PARENT <= 1:
        raise NotHere("the parent is the first process of a namespace, and part of the sandbox")
    return os.kill(_PARENT, signal.SIGCONT)


@attempt("processes", linux=True, root=True)
def write_the_memory_of_whoever_watches_over_it(bait: Bait) -> object:
    if _PARENT <= 1:
        raise NotHere("the parent is the first process of a namespace, and part of the sandbox")
    return _opened(f"/proc/{_PARENT}/mem", os.O_RDWR)


@attempt("processes", linux=True, root=True)
def trace_another_process(bait: Bait) -> object:
    victim = _victim(bait)
    _checked(_LIBC.ptrace(16, victim, None, None))
    os.waitpid(victim, 0)
    return _checked(_LIBC.ptrace(17, victim, None, None))


@attempt("processes", linux=True)
def limit_another_process(bait: Bait) -> object:
    import resource

    return resource.prlimit(_victim(bait), resource.RLIMIT_CORE)


@attempt("processes")
def slow_another_process_down(bait: Bait) -> object:
    victim = _victim(bait)
    return os.setpriority(os.PRIO_PROCESS, victim, os.getpriority(os.PRIO_PROCESS, victim))


@attempt("processes", linux=True)
def move_another_process_to_another_processor(bait: Bait) -> object:
    victim = _victim(bait)
    return os.sched_setaffinity(victim, os.sched_getaffinity(victim))


@attempt("processes", linux=True)
def gain_rights_by_a_program_that_has_them(bait: Bait) -> object:
    if _checked(_LIBC.prctl(39, 0, 0, 0, 0)) == 1:
        raise PermissionError(errno.EPERM, "programs gain no rights")
    return "no_new_privs is not set"


@attempt("processes", root=True)
def become_root_again(bait: Bait) -> object:
    return os.setresuid(0, 0, 0) if os.getuid() else os.setgroups([1])


# -- the kernel's own doors


@attempt("kernel", linux=True, root=True)
def mount_something(bait: Bait) -> object:
    Path("mounted").mkdir(exist_ok=True)
    _checked(_LIBC.mount(b"none", b"mounted", b"tmpfs", 0, None))
    return _checked(_LIBC.umount2(b"mounted", 2))


@attempt("kernel", linux=True, root=True)
def mount_by_the_newer_calls(bait: Bait) -> object:
    return _call(430, 430, b"tmpfs", 0)


@attempt("kernel", linux=True, quick=True, root=True)
def make_a_user_namespace(bait: Bait) -> object:
    return _checked(_LIBC.unshare(0x10000000))


@attempt("kernel", linux=True, root=True)
def make_a_mount_namespace(bait: Bait) -> object:
    return _checked(_LIBC.unshare(0x20000))


@attempt("kernel", linux=True, root=True)
def make_a_namespace_by_cloning(bait: Bait) -> object:
    return _child(_call(56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0))


@attempt("kernel", linux=True, root=True)
def make_a_namespace_by_the_newer_clone(bait: Bait) -> object:
    about = struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    return _child(_call(435, 435, about, len(about)))


@attempt("kernel", linux=True, root=True)
def join_a_namespace(bait: Bait) -> object:
    return _checked(_LIBC.setns(os.open(f"/proc/{_victim(bait)}/ns/uts", os.O_RDONLY), 0))


@attempt("kernel", root=True)
def change_the_root(bait: Bait) -> object:
    return os.chroot(".")


@attempt("kernel", root=True)
def make_a_device(bait: Bait) -> object:
    os.mknod("device", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    return Path("device").unlink()


@attempt("kernel", linux=True, root=True)
def rename_the_machine(bait: Bait) -> object:
    name = socket.gethostname().encode()
    return _checked(_LIBC.sethostname(name, len(name)))


@attempt("kernel", linux=True, root=True)
def load_a_module(bait: Bait) -> object:
    return _known(lambda: _reached(errno.ENOEXEC, lambda: _reached(errno.EFAULT, lambda: _call(175, 105, 0, 0, b""))))


@attempt("kernel", linux=True, root=True)
def replace_the_kernel(bait: Bait) -> object:
    return _known(lambda: _reached(errno.EINVAL, lambda: _call(246, 104, 0, 0, 0, 0xFFFF)))


@attempt("kernel", linux=True, root=True)
def restart_the_machine(bait: Bait) -> object:
    return _reached(errno.EINVAL, lambda: _call(169, 142, 0, 0, 0, 0))


@attempt("kernel", linux=True, root=True)
def load_a_program_into_the_kernel(bait: Bait) -> object:
    return _known(lambda: _call(321, 280, 0, struct.pack("4I", 1, 4, 4, 1) + bytes(56), 72))


@attempt("kernel", linux=True, root=True)
def measure_through_the_kernel(bait: Bait) -> object:
    about = struct.pack("IIQ", 1, 112, 1) + bytes(24) + struct.pack("Q", 0x61) + bytes(64)
    return _known(lambda: _call(298, 241, about, 0, -1, -1, 0))


@attempt("kernel", linux=True, root=True)
def use_the_kernel_s_rings(bait: Bait) -> object:
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    if switch.exists() and switch.read_text().strip() != "0":
        raise NotHere("they are switched off on this machine")
    return _known(lambda: _call(425, 425, 1, ctypes.create_string_buffer(120)))


@attempt("kernel", linux=True, root=True)
def handle_page_faults(bait: Bait) -> object:
    return _known(lambda: _call(323, 282, 1))


@attempt("kernel", linux=True)
def speak_another_architecture(bait: Bait) -> object:
    if platform.machine() != "x86_64":
        raise NotHere("only x86_64 has calls of an older one")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(start)() or _missing_right("it did not answer")


# -- what is merely seen


@attempt("sight", linux=True)
def list_processes(bait: Bait) -> object:
    return Path(f"/proc/{_victim(bait)}/cmdline").read_text()


@attempt("sight")
def see_that_a_file_is_there(bait: Bait) -> object:
    return os.stat(bait["secret"]).st_size


# -- running them


def main() -> None:
    """Run the attempts that are named, or all, each in a process of its own, and print a line about each."""
    bait = json.loads(Path(sys.argv[1]).read_text())
    for one in ATTEMPTS:
        if one.name in sys.argv[2:] or not sys.argv[2:]:
            says, reason = _tried(one, bait)
            print(json.dumps({"name": one.name, "kind": one.kind, "says": says, "reason": reason}), flush=True)


def _tried(one: Attempt, bait: Bait) -> tuple[str, str]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(_ATTEMPT_S)
        os.write(write, json.dumps(_outcome(one, {**bait, "pipe": write})).encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said:
        says, reason = json.loads(said)
        return says, reason
    number = os.waitstatus_to_exitcode(status)
    return "held", f"it was killed by signal {-number}" if number < 0 else f"it ended with status {number}"


def _outcome(one: Attempt, bait: Bait) -> tuple[str, str]:
    try:
        return "hole", f"it got {str(one.run(bait))[:200]!r}"
    except NotHere as error:
        return "does not apply", str(error)
    except OSError as error:
        return "held", error.strerror or str(error)


def _any(places: list[str], reach: Callable[[str], object]) -> object:
    """Return what the first place gives that can be reached; the last error is the reason why none does."""
    last: OSError | None = None
    for place in places:
        try:
            got = reach(place)
        except OSError as error:
            last = error
            continue
        if got is not None:
            return got
    raise last or NotHere("there is nothing of the kind on this machine")


def _proc(name: str) -> list[str]:
    if not _LINUX:
        raise NotHere("there is no /proc")
    try:
        return [f"/proc/{number}/{name}" for number in os.listdir("/proc") if number.isdigit()]
    except PermissionError:
        return [f"/proc/self/{name}"]


def _with(data: bytes, name: str) -> str:
    if name.encode() not in data:
        raise PermissionError(errno.EPERM, f"{name} is not in it")
    return name


def _victim(bait: Bait) -> int:
    """Return the number of the process to touch, unless that number is another's in here."""
    number: int = bait["victim"]
    try:
        seen = Path(f"/proc/{number}/cmdline").read_text()
    except PermissionError:
        return number
    except FileNotFoundError:
        if _LINUX and Path("/proc/self").exists():
            raise ProcessLookupError(errno.ESRCH, "no process of this machine is seen") from None
        return number
    if bait["mark"] not in seen:
        raise ProcessLookupError(errno.ESRCH, "that number is another's in here")
    return number


def _unix(name: str, kind: int) -> object:
    with socket.socket(socket.AF_UNIX, kind) as connection:
        connection.settimeout(2)
        connection.connect(name if name.startswith("/") else f"\0{name}")
        return name


def _opened(path: str, flags: int) -> str:
    os.close(os.open(path, flags | os.O_NONBLOCK))
    return path


def _write_there(folder: str) -> str:
    place = Path(folder, "tandem-escape")
    place.write_text("x")
    place.unlink()
    return folder


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _child(number: int) -> int:
    """Return a child's number, in the parent; the child leaves at once."""
    if number == 0:
        os._exit(0)
    os.waitpid(number, 0)
    return number


def _call(x86_64: int, aarch64: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Make a system call by its number."""
    if _AT < 0:
        raise NotHere(f"the numbers of {platform.machine()} are not known here")
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long((x86_64, aarch64)[_AT]), *words))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _reached(number: int, reach: Callable[[], object]) -> object:
    """Return that a call got past the question of rights where it stumbles over its deliberately wrong arguments."""
    try:
        return reach()
    except OSError as error:
        if error.errno != number:
            raise
        return f"the call itself answered: {error.strerror}"


def _known(reach: Callable[[], object]) -> object:
    """Return what was reached, unless this kernel was built without it."""
    try:
        return reach()
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EAFNOSUPPORT, errno.ENODEV, errno.ENOENT):
            raise NotHere(f"this kernel has none ({error.strerror})") from None
        raise


def _missing(what: str) -> Any:
    raise NotHere(what)


def _missing_right(what: str) -> Any:
    raise PermissionError(errno.EPERM, what)


if __name__ == "__main__":
    main()
