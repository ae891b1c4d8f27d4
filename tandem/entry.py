"""Start a program by its room's name, from a checkout or from an installed wheel.

In a wheel the rooms live in `tandem/_app`, so that names like `agents` never reach the top level of somebody's
site-packages; in a checkout they lie beside this package. Either folder goes first on `sys.path`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    APP_ROOT: Path

# os.path, because pathlib would cost every command a third of what `python -c pass` does.
_HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as above
_PRIVATE = os.path.join(_HERE, "_app")  # noqa: PTH118 - as above
_ROOT = _PRIVATE if os.path.isdir(_PRIVATE) else os.path.dirname(_HERE)  # noqa: PTH112, PTH120 - as above


def __getattr__(name: str) -> Path:
    """Return `APP_ROOT`, the folder the rooms lie in, made a path when somebody asks."""
    if name != "APP_ROOT":
        raise AttributeError(name)
    from pathlib import Path

    return Path(_ROOT)


def _start(room: str) -> None:
    sys.path.insert(0, _ROOT)
    import runpy

    runpy.run_module(room, run_name="__main__", alter_sys=True)


def cli() -> None:
    """Run the `tandem` command, a thin client of the router."""
    sys.path.insert(0, _ROOT)
    sys.exit(importlib.import_module("cli.__main__").main())


def remote() -> None:
    """Run Git's helper for `tandem::MACHINE/NAME`; Git starts it."""
    sys.path.insert(0, _ROOT)
    sys.exit(importlib.import_module("cli.remote").main(sys.argv[1:]))


def router() -> None:
    """Run the router in the foreground."""
    _start("router")


def worker() -> None:
    """Run a worker in the foreground."""
    _start("worker")
