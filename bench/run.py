"""What a whole run costs apart from tests and model time, by part, next to LangGraph with its SQLite saver alone.

Real processes: a router and its worker play the demo's script on the demo's sample. CPU times are the processes' own,
so a busy machine hardly changes them; wall times are of this machine, and are set beside nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.processes import children, cpu_ms, resident_bytes
from cli.client import Client
from tandem.entry import APP_ROOT
from tandem.errors import TandemError, Unavailable
from tandem.paths import socket_path
from tandem.types import ENDED

_DEMO = APP_ROOT / "cli" / "demo"
_START_S = 60.0
_POLL_S = 0.005
AIMS = {
    "overhead_ms_per_step": 50,
    "four_calls_ratio": 1.25,
    "socket_ready_cpu_ms": 700,
    "resident_bytes": 120 << 20,
    "journal_bytes_per_run": 50 << 10,
}


def run(quick: bool = False) -> dict[str, Any]:
    """Measure and return plain JSON; times in milliseconds, sizes in bytes."""
    from bench import saver

    runs = 3 if quick else 12
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        repo, state = _repository(folder), folder / "state"
        with _router(state) as (pid, start):
            client = Client(socket_path(state, "router"))
            measured = [_one(client, repo, pid) for _ in range(runs)]
            memory = {"router": resident_bytes(pid), "worker": sum(resident_bytes(p) for p in children(pid))}
        kept = sum(p.stat().st_size for p in state.glob("journal.db*"))
    steps = statistics.median(m["steps"] for m in measured)
    overhead = statistics.median(m["overhead_ms"] for m in measured)
    return {
        "runs": runs,
        "steps_per_run": steps,
        "overhead_ms_per_step": round(overhead / steps, 2),
        "overhead_ms_by_step": _by_step(measured),
        "router_cpu_ms_per_run": round(statistics.median(m["cpu_ms"] for m in measured), 1),
        "first_event_ms": round(statistics.median(m["first_event_ms"] for m in measured), 1),
        "start": start,
        "resident_bytes": memory,
        "journal_bytes_per_run": round(kept / runs),
        "four_calls": asyncio.run(saver.compare(pairs=5 if quick else 25)),
        "aims": AIMS,
    }


def _repository(folder: Path) -> Path:
    repo = folder / "repo"
    shutil.copytree(_DEMO / "sample", repo)
    person = ("-c", "user.name=Bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "A beginning")):
        subprocess.run(["git", "-C", str(repo), *person, *command], check=True, stdout=subprocess.DEVNULL)
    return repo


@contextmanager
def _router(state: Path) -> Generator[tuple[int, dict[str, float]]]:
    """Start a router, wait until its socket answers and then until it is ready; stop it at the end."""
    settings = {
        "TANDEM_STATE": str(state),
        "TANDEM_CONFIG": os.devnull,
        "TANDEM_MODELS_ROUTER": "rehearsal/demo",
        "TANDEM_MODELS_WORKER": "rehearsal/demo",
        "TANDEM_REHEARSAL_SCRIPT": str(_DEMO / "good.yaml"),
        "TANDEM_CHECK_REPEATS": "0",
        "TANDEM_CHECK_MUTATION_S": "0",  # tests' time is not what is measured
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tandem", "router"],
        env={**os.environ, **settings},
        cwd=APP_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client, figures = Client(socket_path(state, "router")), dict[str, float]()
        for name, needed in (("socket_ready", ()), ("ready", ("ready", "nodes"))):
            _until(client, needed)
            figures[f"{name}_cpu_ms"] = cpu_ms(process.pid)
            figures[f"{name}_ms"] = round((time.monotonic() - started) * 1000, 1)
        yield process.pid, figures
    finally:
        process.terminate()
        process.wait(30)


def _until(client: Client, needed: tuple[str, ...]) -> None:
    """Wait until the router answers and everything `needed` in its status is there."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        try:
            status = client.get("/v1/status")
            if all(status.get(name) for name in needed):
                return
        except TandemError:
            pass
        time.sleep(_POLL_S)
    raise Unavailable(f"the router was not ready within {_START_S:g} s")


def _one(client: Client, repo: Path, pid: int) -> dict[str, Any]:
    """Play one run, approve it by `yes`, take the merged commit back, and return what it cost."""
    base = subprocess.run(["git", "-C", str(repo), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    cpu, started = cpu_ms(pid), time.monotonic()
    task = (_DEMO / "task.txt").read_text("utf-8")
    summary = client.post("/v1/runs", {"repo": str(repo), "text": task, "yes": True})
    steps, outside, first_event_ms = dict[str, float](), defaultdict[str, float](float), None
    stream = client.open_stream(f"/v1/runs/{summary['run']}/events?after=0&follow=1")
    for event in stream:
        first_event_ms = first_event_ms or (time.monotonic() - started) * 1000
        if event.kind == "step.finished":
            steps[event.data["step"]] = event.data["seconds"] * 1000
        elif event.kind in ("call.finished", "check.finished"):
            outside[event.data["step"]] += event.data["seconds"] * 1000
        elif event.kind == "state" and event.data["state"] in ENDED:
            break
    stream.close()
    ended = client.get(f"/v1/runs/{summary['run']}")
    if ended["state"] != "merged":
        raise TandemError(f"the rehearsed run ended {ended['state']}: {ended['message']}")
    spent_ms = cpu_ms(pid) - cpu
    subprocess.run(["git", "-C", str(repo), "reset", "-q", "--hard", base.stdout.strip()], check=True)
    own = {step: ms - outside[step] for step, ms in steps.items()}
    return {
        "steps": len(steps),
        "own": own,
        "overhead_ms": sum(own.values()),
        "cpu_ms": spent_ms,
        "first_event_ms": first_event_ms or 0.0,
    }


def _by_step(measured: list[dict[str, Any]]) -> dict[str, float]:
    names = measured[0]["own"]
    return {name: round(statistics.median(m["own"].get(name, 0.0) for m in measured), 2) for name in names}
