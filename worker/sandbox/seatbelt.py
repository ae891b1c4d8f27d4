"""The first rung on macOS: Seatbelt through `sandbox-exec`, deny by default. Not run on a Mac yet.

There are no mounts there: the tree, the environment and the reports keep their real paths, and `spec.placed` translates
what the specification says about the inside. Limits on processes and memory are the watchdog's.
"""

from __future__ import annotations

from pathlib import Path

from worker.sandbox.spec import Command, SandboxSpec, placed, unmounted
from worker.sandbox.toolchains import toolchain_roots

PROGRAM = "/usr/bin/sandbox-exec"
REMEDY = "this macOS has no sandbox-exec; run the worker on another machine"
_READABLE = ("/usr", "/bin", "/sbin", "/System", "/Library/Developer", "/Library/Frameworks", "/opt/homebrew", "/dev")


def wrap(spec: SandboxSpec, private: Path) -> Command:
    """Return the command that runs `spec`; `private` becomes HOME and the place for temporary files."""
    settings = [f"{name}={value}" for name, value in unmounted(spec, private).items()]
    argv = [placed(part, spec) for part in spec.argv]
    return Command(argv=(PROGRAM, "-p", profile(spec, private), "/usr/bin/env", "-i", *settings, *argv))


def profile(spec: SandboxSpec, private: Path) -> str:
    """Return the Seatbelt profile: nothing is allowed but what stands here."""
    roots = [*_READABLE, *(str(root) for root in toolchain_roots()), *(str(m.source.resolve()) for m in spec.mounts)]
    writable = [str(private.resolve()), *(str(m.source.resolve()) for m in spec.mounts if m.writable)]
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        "(allow process-exec)",
        "(allow signal (target same-sandbox))",
        "(allow sysctl-read)",
        '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))',
        "(allow file-read-metadata)",
        *(f"(allow file-read* (subpath {_quoted(root)}))" for root in roots),
        *(f"(allow file-read* file-write* (subpath {_quoted(path)}))" for path in writable),
        '(allow file-write* (literal "/dev/null") (literal "/dev/dtracehelper") (literal "/dev/tty"))',
    ]
    if spec.network:
        lines += ["(allow network*)", "(allow system-socket)", '(allow file-read* (subpath "/private/etc"))']
    return "\n".join(lines)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
