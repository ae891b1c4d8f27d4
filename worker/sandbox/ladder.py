"""Which sandbox this machine has: each rung is tried for real before it is believed.

A rung is only taken when a command on it runs, cannot reach the network and cannot read this user's files. Where none
holds, Check refuses and says what to install.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import NoSandbox
from tandem.types import Limits
from worker.sandbox import bubblewrap, seatbelt
from worker.sandbox.spec import Command, Mount, SandboxSpec, placed, unmounted
from worker.sandbox.toolchains import base_python

_KEEPER = Path(__file__).with_name("keeper.py")
Wrap = Callable[[SandboxSpec, Path], Command]
# Runs inside: everything it tries must fail. Prints "closed" only then.
_PROBE = """
import os, socket, sys
open_ = []
try: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2); open_.append("network")
except OSError: pass
try: open(sys.argv[1]).read(); open_.append("files")
except OSError: pass
try: open("/usr/tandem-probe", "w"); open_.append("/usr")
except OSError: pass
if "TANDEM_PROBE" in os.environ: open_.append("environment")
print("closed" if not open_ else "open: " + ", ".join(open_))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to confine a command. `name` is empty and `remedy` says what to do where there is none."""

    name: str
    wrap: Wrap
    remedy: str = ""


def _unconfined(spec: SandboxSpec, private: Path) -> Command:
    """Return the command for the demo, whose code is ours, where no sandbox works."""
    settings = [f"{name}={value}" for name, value in unmounted(spec, private).items()]
    keeper = (base_python(), "-I", "-S", str(_KEEPER)) if sys.platform == "linux" else ()
    return Command(argv=(*keeper, "/usr/bin/env", "-i", *settings, *(placed(part, spec) for part in spec.argv)))


UNSANDBOXED = Rung(name="none (unsandboxed demo)", wrap=_unconfined)


def select() -> Rung:
    """Return the first rung that holds; blocking, some 100 ms."""
    if sys.platform == "darwin":
        rungs = [Rung(name="seatbelt", wrap=seatbelt.wrap, remedy=seatbelt.REMEDY)]
    else:
        rungs = [Rung(name="bubblewrap", wrap=bubblewrap.wrap, remedy=bubblewrap.REMEDY)]
    troubles: list[str] = []
    for rung in rungs:
        trouble = asyncio.run(_trouble(rung))
        if not trouble:
            return Rung(name=rung.name, wrap=rung.wrap)
        troubles.append(f"{rung.name}: {trouble}; {rung.remedy}")
    return Rung(name="", wrap=_refuse, remedy="; ".join(troubles))


def _refuse(spec: SandboxSpec, private: Path) -> Command:
    del spec, private
    raise NoSandbox("no sandbox works on this machine, so nothing was run; `tandem doctor` names what to install")


async def _trouble(rung: Rung) -> str:
    """Return why a rung does not hold, or nothing."""
    from worker.sandbox.runner import run

    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with tempfile.TemporaryDirectory(prefix="tandem-probe-") as name:
            folder = Path(name)
            (folder / "tree").mkdir()
            secret = folder / "secret"
            secret.write_text("a file of this user")
            spec = SandboxSpec(
                argv=(base_python(), "-I", "-S", "-c", _PROBE, str(secret), str(port)),
                cwd="/tree",
                mounts=(Mount(source=folder / "tree", target="/tree", writable=True),),
                limits=Limits(wall_s=20),
            )
            try:
                result = await run(rung, spec, {"TANDEM_PROBE": "1"})
            except OSError as error:
                return f"{error.strerror or error}"
    finally:
        server.close()
    said = result.output.strip().splitlines()
    return "" if said[-1:] == ["closed"] else (said[-1] if said else f"it ended with status {result.exit_code}")
