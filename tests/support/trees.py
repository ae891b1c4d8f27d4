"""A worker's state folder with a repository in it, as a router's push leaves it, and what tests ask of it."""

from __future__ import annotations

import asyncio
import functools
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tandem.types import Adapter, CheckReport, CheckRequest, CommitId, Limits, PrepareRequest, RequestId, RunId
from tests.support.checkouts import Checkout
from tests.support.needs import require
from worker import sandbox
from worker.check import Checker
from worker.environments import Environments
from worker.fence import Fence
from worker.sandbox import cgroups, ladder

REPO = "sample"


def rung() -> sandbox.Rung:
    """Return this machine's sandbox; without one the test ends with the remedy."""
    found = _selected()
    require("a sandbox", "" if found.name else found.remedy)
    return found


@functools.cache
def _selected() -> sandbox.Rung:
    with ThreadPoolExecutor(1) as pool:  # it runs a loop of its own, and a test may be inside one
        return pool.submit(sandbox.select).result()


def known_rung(name: str) -> sandbox.Rung:
    """Return one of this system's rungs, with control groups where there are any; the test ends where it does not hold."""
    found = next((one for one in ladder.rungs() if one.name == name), None)
    if found is None:
        pytest.skip(f"{name} is another system's")
    trouble = _trouble(name)
    require(f"sandbox {name}", f"{name}: {trouble}; {found.remedy}" if trouble else "")
    return replace(found, groups=_groups())


_groups = functools.cache(cgroups.find)


@functools.cache
def _trouble(name: str) -> str:
    found = next(one for one in ladder.rungs() if one.name == name)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(ladder.trouble(found))).result()


class Trees:
    """Commits trees into a worker's own bare repository."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.checkout = Checkout(folder, files)
        self.state = folder / "worker"
        self.bare = self.state / "git" / f"{REPO}.git"
        subprocess.run(
            ["git", "clone", "-q", "--bare", str(self.checkout.root), str(self.bare)], check=True, timeout=60
        )

    def environments(self, on: sandbox.Rung) -> Environments:
        """Return the environments of a worker that has just started."""
        return Environments(self.state, on, Fence.take(self.state))

    def check_request(
        self, command: str, adapter: Adapter, *, limits: Limits | None = None, environment: str = "", folder: str = ""
    ) -> CheckRequest:
        """Return a wish to check the first commit."""
        return CheckRequest(
            request_id=RequestId("r"),
            run_id=RunId("run"),
            repo_id=REPO,
            commit=CommitId(self.checkout.base),
            command=tuple(command.split()),
            adapter=adapter,
            environment=environment,
            folder=folder,
            limits=limits or Limits(wall_s=60),
        )

    def prepare_request(self, adapter: Adapter, *, allow_network: bool, wall_s: float = 120) -> PrepareRequest:
        """Return a wish for the first commit's environment."""
        return PrepareRequest(
            request_id=RequestId("r"),
            run_id=RunId("run"),
            repo_id=REPO,
            commit=CommitId(self.checkout.base),
            adapter=adapter,
            allow_network=allow_network,
            wall_s=wall_s,
        )

    async def check(
        self,
        command: str,
        adapter: Adapter,
        *,
        limits: Limits | None = None,
        environment: str = "",
        folder: str = "",
    ) -> CheckReport:
        """Return what a check of the first commit showed."""
        request = self.check_request(command, adapter, limits=limits, environment=environment, folder=folder)
        checker = Checker(self.state, "here", rung(), self.environments(rung()))
        return await checker.check(request, lambda stage, message: None)

    def leftovers(self) -> list[str]:
        """Return what is left of work that is over."""
        return [str(path) for path in (self.state / "tmp").glob("*")]
