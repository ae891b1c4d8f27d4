"""Run a command over a tree without network, without the user's files, within limits; the whole tree of processes dies.

`select` finds the strongest rung of the ladder that really works on this machine; `run` runs on it.
"""

from worker.sandbox.ladder import Rung, select
from worker.sandbox.output import OnOutput
from worker.sandbox.runner import SandboxResult, run
from worker.sandbox.spec import Mount, SandboxSpec

__all__ = ["Mount", "OnOutput", "Rung", "SandboxResult", "SandboxSpec", "run", "select"]
