"""Real OpenAI-compatible servers with tiny models, each a process of its own on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.support import tiny_models

GUIDED = Path(__file__).with_name("guided.py")
Kind = Literal["lm", "vlm"]
MODELS = {"lm": tiny_models.qwen3_next, "vlm": tiny_models.qwen2}


def missing() -> str:
    """Return why no server can be started here, "" if it can."""
    needed = ("mlx", "mlx_lm", "mlx_vlm", "llguidance", "fastapi", "cryptography")
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)} (sh deploy/models.sh)" if absent else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that answers at `url`; `model` is what it calls its model."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        """Return the processor time it has used so far; where the system keeps it in /proc."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(kind: Kind, folder: Path, rules: Sequence[dict[str, Any]] = ()) -> Iterator[Server]:
    """Start a server over a model of its own in `folder`; it is gone when the block ends."""
    model = MODELS[kind](folder / "model")
    (folder / "hub").mkdir(exist_ok=True)  # mlx_lm.server breaks off a list of models where there is no such folder
    (folder / "rules.json").write_text(json.dumps(list(rules)), "utf-8")
    port = _free_port()
    argv = [sys.executable, str(GUIDED), kind, str(folder / "rules.json"), "--", "--model", str(model)]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    argv += ["--prompt-cache-size", "32"] if kind == "lm" else []
    env = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")},
        "MLX_DISABLE_COMPILE": "1",  # compiling costs more than it gives at this size
        "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub"), "HF_HOME": str(folder / "hub"),
        "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _wait(process, f"http://127.0.0.1:{port}/v1/models", log)
        yield Server(url=f"http://127.0.0.1:{port}/v1", model=str(model), process=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, f"the server left with {process.returncode}:\n{log.read_text()[-3000:]}"
        try:
            with opener.open(url, timeout=2) as answer:
                if answer.status == 200 and json.loads(answer.read())["data"]:
                    return
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server was not ready within 60 s:\n{log.read_text()[-3000:]}")
