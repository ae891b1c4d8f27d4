"""The first rung on macOS: Seatbelt through `sandbox-exec`, deny by default. Not run on a Mac yet.

There are no mounts there: the tree, the environment and the reports keep their real paths, and `spec.placed` translates
what the specification says about the inside. Limits on processes and memory are the watchdog's. The environment goes the
way of environments and not through arguments, which every user of a Mac may read.

What the profile leaves out is what matters. Of `sysctl` only the machine's own figures may be read: one of the others tells
the environment of every process of the user. Metadata is told of the folders on the way to what may be read, and of nothing
else. No device but the four harmless ones, no IOKit, no Apple events, no preferences, no terminal, no Mach service but the
one that knows user names. Unix sockets are closed with the network, and stay closed where Prepare has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from worker.sandbox.spec import Command, SandboxSpec, placed, unmounted
from worker.sandbox.toolchains import toolchain_roots

PROGRAM = "/usr/bin/sandbox-exec"
REMEDY = "this macOS has no sandbox-exec; run the worker on another machine"
# Never /System itself: /System/Volumes/Data is everybody's files. Never /opt/homebrew: its var holds databases.
_SYSTEM = (
    *("/usr/bin", "/usr/lib", "/usr/libexec", "/usr/sbin", "/usr/share", "/bin", "/sbin", "/System/Library"),
    *("/System/Cryptexes", "/System/Volumes/Preboot/Cryptexes", "/Library/Developer", "/Library/Frameworks"),
    *("/Library/Apple/usr/lib", "/private/var/db/timezone", "/private/var/select"),
)
_BREW = (
    "bin",
    "lib",
    "libexec",
    "opt",
    "sbin",
    "share",
    "Cellar",
    "Frameworks",
    "etc/openssl@3",
    "etc/ca-certificates",
)
_FILES = ("/", "/private/etc/localtime", "/private/etc/ssl/openssl.cnf", "/private/etc/ssl/cert.pem")
_NETWORK_FILES = ("hosts", "resolv.conf", "protocols", "services", "pip.conf")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_NAMES = ("/private", "/tmp", "/var", "/etc", "/dev", "/private/tmp", "/private/var", "/private/etc")  # noqa: S108 - looked at
_FIGURES = (
    *("argmax", "boottime", "clockrate", "hostname", "iossupportversion", "maxfilesperproc", "maxproc", "ngroups"),
    *("osproductversion", "osrelease", "ostype", "osvariant_status", "osversion", "secure_kernel", "usrstack64"),
    "version",
)
_USERS = "com.apple.system.opendirectoryd.libinfo"
_NETWORK_SERVICES = ("com.apple.SystemConfiguration.configd", "com.apple.SystemConfiguration.DNSConfiguration")
_TRUST = ("com.apple.trustd", "com.apple.trustd.agent")


def wrap(spec: SandboxSpec, private: Path) -> Command:
    """Return the command that runs `spec`; `private` becomes HOME and the place for temporary files."""
    argv = [placed(part, spec) for part in spec.argv]
    return Command(argv=(PROGRAM, "-p", profile(spec, private), *argv), env=unmounted(spec, private))


def profile(spec: SandboxSpec, private: Path) -> str:
    """Return the Seatbelt profile: nothing is allowed but what stands here."""
    brew = [f"{prefix}/{part}" for prefix in ("/opt/homebrew", "/usr/local") for part in _BREW]
    mounts = [str(mount.source.resolve()) for mount in spec.mounts]
    readable = [*_SYSTEM, *brew, *(str(root) for root in toolchain_roots()), *mounts]
    writable = [str(private.resolve()), *(str(m.source.resolve()) for m in spec.mounts if m.writable)]
    etc = [f"/private/etc/{name}" for name in _NETWORK_FILES] if spec.network else []
    under = _each("subpath", [*readable, *writable])
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        f"(allow process-exec {under})",
        "(allow process-info* (target same-sandbox))",
        "(allow signal (target same-sandbox))",
        f'(allow sysctl-read (sysctl-name-prefix "hw.") {_each("sysctl-name", [f"kern.{name}" for name in _FIGURES])}'
        ' (sysctl-name "vm.loadavg") (sysctl-name "sysctl.proc_cputype"))',
        f'(allow mach-lookup (global-name "{_USERS}"))',
        "(allow ipc-posix-sem)",  # locks between processes; they carry no data
        f"(allow file-read-metadata {_each('literal', [*_NAMES, *_above([*readable, *writable, *etc])])})",
        f"(allow file-read* {under} {_each('literal', [*_FILES, *_DEVICES])})",
        f"(allow file-map-executable {under})",
        f"(allow file-write* {_each('subpath', writable)})",
        '(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))',
    ]
    if spec.network:
        lines += [
            '(allow network-outbound (remote ip) (literal "/private/var/run/mDNSResponder"))',
            "(allow system-socket)",
            f"(allow mach-lookup {_each('global-name', [*_NETWORK_SERVICES, *_TRUST])})",
            f"(allow file-read* {_each('literal', etc)})",
        ]
    return "\n".join(lines)


def _each(kind: str, values: Iterable[str]) -> str:
    return " ".join(f"({kind} {_quoted(value)})" for value in dict.fromkeys(values))


def _above(paths: Iterable[str]) -> list[str]:
    """Return every folder on the way to a path: who may not see them cannot find out where it is."""
    return [str(folder) for path in paths for folder in Path(path).parents]


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
