"""Three machines on one switch: a router, a worker, and somebody who is neither. Needs root and network namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tandem.paths import socket_path
from tests.support.namespaces import ROOT, Net

SECRET = "canary-51ab07-of-the-reply"  # what the worker's model says


class Town:
    """Machines on one switch, their state folders, and what runs on them."""

    def __init__(self, folder: Path, net: Net) -> None:
        self.folder, self.net = folder, net
        self._running: list[subprocess.Popen[str]] = []
        script = folder / "script.yaml"
        script.write_text(json.dumps({"name": "play", "replies": [{"persona": "coder", "text": SECRET}]}))
        self._script = script

    def state(self, name: str) -> Path:
        """Return a machine's state folder."""
        return self.folder / name

    def env(self, name: str) -> dict[str, str]:
        """Return the environment of a machine's programs."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "TANDEM_STATE": str(self.state(name)),
            "TANDEM_CONFIG": os.devnull,
            "TANDEM_MODELS_ROUTER": "rehearsal/play",
            "TANDEM_MODELS_WORKER": "rehearsal/play",
            "TANDEM_REHEARSAL_SCRIPT": str(self._script),
        }

    def start(
        self, name: str, *program: str, env: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[str], object]:
        """Start a program that says a line of JSON when it is ready."""
        child = self.net.spawn(name, *program, env=env or self.env(name))
        self._running.append(child)
        assert child.stdout is not None
        return child, json.loads(child.stdout.readline())

    def tandem(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command on a machine to its end."""
        return self.net.run(name, "-m", "tandem", "cli", *arguments, env=self.env(name))

    def play(self, name: str, part: str, *arguments: str) -> object:
        """Play one of the parts of `tests.support.namespaces` on a machine."""
        return self.net.play(name, part, *arguments, env=self.env(name))

    def eventually(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.1)

    def stop(self) -> None:
        """End what runs on the machines."""
        for child in self._running:
            child.kill()
            child.communicate()
        for name in self.net.address:
            if socket_path(self.state(name), "router").exists():  # a command started one
                self.tandem(name, "down")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Yield the machines `router`, `worker` and `attacker`; nothing runs on them yet."""
    with Net("router", "worker", "attacker") as net:
        made = Town(tmp_path, net)
        try:
            yield made
        finally:
            made.stop()
