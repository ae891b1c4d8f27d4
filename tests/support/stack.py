"""Real processes for end-to-end tests: a router and its worker over a state folder, and repositories to work on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem.paths import socket_path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "cli" / "demo"
PERSON = ("-c", "user.name=Lead", "-c", "user.email=lead@example.invalid", "-c", "commit.gpgsign=false")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Stack:
    """One state folder and, while started, the router over it. Processes never outlive `stop`.

    `inside` is put before each program's command: `ip netns exec …` has it run on a machine of its own.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], inside: Sequence[str] = ()) -> None:
        self.inside = tuple(inside)
        self.state = folder / "state"
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),  # the router starts its worker elsewhere, and it has to be of this checkout, too
            "TANDEM_STATE": str(self.state),
            "TANDEM_CHECK_MUTATION_S": "0",  # of which other tests tell; here they would only cost time
            "TANDEM_CHECK_REPEATS": "0",
            **{k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "npm_config_", "LD_LIBRARY"))},
            **env,
        }
        self.router: subprocess.Popen[bytes] | None = None

    @staticmethod
    def command() -> list[str]:
        """Return how a program of Tandem is started, from any folder."""
        return [sys.executable, "-m", "tandem"]

    def start(self, **env: str) -> None:
        """Start the router and wait until it is ready."""
        self.router = subprocess.Popen(
            [*self.inside, *self.command(), "router"],
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.router.poll() is None, f"the router left with {self.router.returncode}:\n{self.log()}"
            try:
                status, body = self.call("GET", "/v1/status")
            except OSError:
                status, body = 0, {}
            if status == 200 and body["ready"] and body.get("nodes"):
                return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the router was not ready within 60 s:\n{self.log()}")

    def log(self) -> str:
        """Return the last lines the router and the worker logged."""
        logs = [*self.state.glob("logs/*.log"), *self.state.glob("worker/logs/*.log")]
        return "\n".join(f"--- {p.name}\n" + "\n".join(p.read_text().splitlines()[-15:]) for p in logs)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the router, and see that it is gone."""
        if self.router is None:
            return
        self.router.send_signal(how)
        self.router.wait(30)
        self.router = None

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60) -> tuple[int, Any]:
        """Return the status and the JSON of one call of the API."""
        connection = _UnixConnection(socket_path(self.state, "router"), timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def events(self, run: str, *, follow: bool = False, timeout: float = 120) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a run's events as (kind, data)."""
        connection = _UnixConnection(socket_path(self.state, "router"), timeout)
        try:
            connection.request("GET", f"/v1/runs/{run}/events?after=0" + ("&follow=1" if follow else ""))
            kind = ""
            for raw in connection.getresponse():
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    yield kind, json.loads(line[6:])
        finally:
            connection.close()

    def submit(self, repo: Path, text: str, **more: Any) -> str:
        """Submit a task and return its run's id."""
        status, body = self.call("POST", "/v1/runs", {"repo": str(repo), "text": text, **more})
        assert status == 201, body
        return body["run"]

    def wait(self, run: str, *, until: tuple[str, ...] = (), timeout: float = 120) -> dict[str, Any]:
        """Return a run's details once it has stopped: ended, or waiting for a person."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            _, body = self.call("GET", f"/v1/runs/{run}")
            if body["state"] not in ("queued", "running") and (not until or body["state"] in until):
                return body
            time.sleep(0.05)
        raise AssertionError(f"run {run} did not stop within {timeout} s\n{self.log()}")

    def answer(self, run: str, choice: str, **more: Any) -> dict[str, Any]:
        """Answer a run's open question."""
        question = self.wait(run)["question"]
        assert question is not None
        body = {"question": question["id"], "digest": question["digest"], "choice": choice, **more}
        status, answered = self.call("POST", f"/v1/runs/{run}/decision", body)
        assert status == 200, answered
        return answered

    def cli(self, *args: str, timeout: float = 120, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the `tandem` command without a terminal."""
        return subprocess.run(
            [*self.inside, sys.executable, "-c", "from tandem.entry import cli; cli()", *args],
            env=self.env,
            cwd=cwd or ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )


def rehearsal(script: Path | str = DEMO / "good.yaml", model: str = "rehearsal/demo") -> dict[str, str]:
    """Return the settings under which every reply is played from a script."""
    return {
        "TANDEM_MODELS_ROUTER": model,
        "TANDEM_MODELS_WORKER": model,
        "TANDEM_REHEARSAL_SCRIPT": str(script),
    }


def git(repo: Path, *args: str) -> str:
    """Run git as the person does and return what it says."""
    done = subprocess.run(["git", "-C", str(repo), *PERSON, *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, files: Mapping[str, str]) -> Path:
    """Make a repository with one commit of `files`."""
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A beginning")
    return folder


def sample(folder: Path) -> Path:
    """Make a repository of the demo's sample."""
    source = DEMO / "sample"
    files = {str(p.relative_to(source)): p.read_text("utf-8") for p in source.rglob("*") if p.suffix in (".py", ".md")}
    return repository(folder, files)


TASK = (DEMO / "task.txt").read_text("utf-8").strip()
