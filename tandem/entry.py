"""Start a program by its room's name, from a checkout or from an installed wheel.

In a wheel the rooms live in `tandem/_app`, so that names like `agents` never reach the top level of somebody's
site-packages; in a checkout they lie beside this package. Either folder goes first on `sys.path`.
"""

import runpy
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
APP_ROOT = _HERE / "_app" if (_HERE / "_app").is_dir() else _HERE.parent


def _start(room: str) -> None:
    sys.path.insert(0, str(APP_ROOT))
    runpy.run_module(room, run_name="__main__", alter_sys=True)


def cli() -> None:
    """Run the `tandem` command, a thin client of the router."""
    _start("cli")


def router() -> None:
    """Run the router in the foreground."""
    _start("router")


def worker() -> None:
    """Run a worker in the foreground."""
    _start("worker")
