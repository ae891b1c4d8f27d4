"""What the doctor's tests share: how a cause is named, a look at folders of the test's own, a model server."""

from __future__ import annotations

import email.utils
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cli.doctor import Finding, Look
from cli.doctor.finding import Cause
from tandem.config import Config, load

ROOT = Path(__file__).resolve().parents[3]


def named(finding: Finding | None, cause: Cause) -> Finding:
    """Return a finding that must name `cause`, with what was seen and a remedy."""
    assert finding is not None
    assert (finding.ok, finding.cause) == (False, cause), finding
    assert finding.text
    assert finding.remedy
    return finding


def look_at(where: Path, env: Mapping[str, str] | None = None, **more: Any) -> Look:
    """Return a look at folders inside `where`, with defaults and what `env` says as configuration."""
    about: dict[str, Any] = {
        "state": where / "state",
        "folder": where,
        "config_file": where / "tandem.toml",
        "config": load(Path(os.devnull), dict(env)) if env else Config(),
    }
    return Look(**{**about, **more})


@contextmanager
def model_server(
    sizes: Mapping[str, int], *, host: str = "127.0.0.1", apart_s: float = 0.0, body: bytes = b""
) -> Iterator[int]:
    """Serve Ollama's list of models on a port of its own; `apart_s` is how far its clock is from ours."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return email.utils.formatdate((timestamp or time.time()) + apart_s, usegmt=True)

        def do_GET(self) -> None:
            told = {"models": [{"name": name, "model": name, "size": size} for name, size in sizes.items()]}
            said = body or json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    with ThreadingHTTPServer((host, 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


def elsewhere(
    probe: str, call: str, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = (), before: str = ""
) -> Finding | None:
    """Return what `call` finds in a process of its own, the last of several; `probe` is `module:function`.

    `prefix` starts the process in other surroundings; `before` runs in it once everything is imported.
    """
    module, _, function = probe.partition(":")
    code = (
        f"import json, os; from dataclasses import asdict; from pathlib import Path; from {module} import {function}\n"
    )
    code += f"{before}\nfound = {call}\n"
    code += "print(json.dumps([asdict(one) for one in ([found] if hasattr(found, 'cause') else found)]))"
    argv = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Finding(**found[-1]) if found else None
