"""Replay: a run's graph over its journal, with the outside switched off; does the same come out?"""

from __future__ import annotations

from typing import Any

from router import execution
from router.engine import Engine
from router.recorder import RunRecorder
from router.summary import RESUMABLE, RunInfo
from tandem.errors import Conflict, ReplayDiffers, TandemError
from tandem.types import Json


async def replay(engine: Engine, info: RunInfo) -> dict[str, Json]:
    """Return `commit`, what a run comes to, whether that is the `same` as it came to, and the first `difference`.

    Raises:
        Conflict: It has not stopped yet.
    """
    if not info.over and info.state != "waiting":
        raise Conflict(f"run {info.run} is {info.state}; replay it when it has stopped")
    entries = await engine.journal.entries(info.run)
    recorder = RunRecorder(engine.journal, info.run, entries, emit=lambda kind, data: None, offline=True)
    nowhere: Any = execution.Nowhere()
    ports = execution.Ports(
        models=nowhere, checks=nowhere, guard=nowhere, personas=engine.ports.personas, settings=engine.ports.settings
    )
    answer: dict[str, Json] = {"run": info.run, "commit": None, "same": False, "difference": None}
    try:
        ending = await execution.execute(info.task, recorder, await engine.repository(info), ports)
    except ReplayDiffers as error:
        # a merged run has a message where only its report could not be written
        ended_early = bool(info.message) and "journal ends" in error.message
        return answer | {"same": ended_early, "difference": error.message}
    except TandemError as error:  # it ends the way it ended: that is the same
        same = info.state == "failed" and type(error).__name__ == info.error
        return answer | {"same": same, "difference": None if same else error.message}
    commit = ending.outcome.get("commit")
    state = "waiting" if ending.waiting else ending.outcome.get("state")
    same = commit == info.commit and (state == info.state or info.state in RESUMABLE)
    difference = None if same else f"it came to {state} {commit} and was {info.state} {info.commit}"
    return answer | {"commit": commit or ending.state.get("product"), "same": same, "difference": difference}
