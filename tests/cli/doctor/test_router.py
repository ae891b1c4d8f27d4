"""What is seen of the router and its workers: real processes where one must be in the way, its answers elsewhere."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.doctor import CAUSES, router
from tandem import __version__, held
from tandem.paths import socket_path
from tests.cli.doctor.probing import ROOT, look_at, named
from tests.cli.little_router import Play, little_router
from tests.support.pairs import free_port, paired
from tests.support.stack import Stack

NODE: dict[str, Any] = {
    "name": "studio", "version": __version__, "sandbox": "bubblewrap", "sandbox_remedy": "", "backend_trouble": "",
    "models": [{"name": "qwen2.5:7b"}, {"name": "big:q4"}],
}  # fmt: skip
STATUS: dict[str, Any] = {
    "models": {"router": "qwen2.5:7b", "worker": "ollama/big:q4"},
    "trouble": [],
    "state_dir": "/s",
}


def seen(*nodes: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return what is seen in a status with these nodes, by name."""
    return {finding.name: finding for finding in router.nodes({**STATUS, "nodes": list(nodes), **status})}


@contextmanager
def program(code: str, *arguments: str) -> Iterator[int]:
    """Run a program that says a line once it stands; yield its process id, and end it."""
    argv = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.send_signal(signal.SIGKILL)


def test_workers_that_are_well_have_nothing_against_them() -> None:
    assert all(finding.ok for finding in seen(NODE).values())


def test_no_worker_is_named_with_its_log() -> None:
    assert named(seen()["worker"], "worker-away").remedy == "its log: /s/logs/worker.log"


def test_a_worker_that_does_not_start_is_named() -> None:
    found = seen(NODE, trouble=["the worker left with status 2 6 times in a row"])
    named(found["worker"], "worker-trouble")


def test_a_machine_without_a_sandbox_is_named() -> None:
    found = seen({**NODE, "sandbox": "", "sandbox_remedy": "install bubblewrap"})
    assert named(found["sandbox on studio"], "sandbox-unavailable").remedy == "install bubblewrap"


def test_a_worker_of_another_version_is_named() -> None:
    assert "0.0.9" in named(seen({**NODE, "version": "0.0.9"})["version on studio"], "worker-version").text


def test_a_model_server_that_is_away_is_named() -> None:
    trouble = "Ollama does not answer at http://127.0.0.1:11434; start it with `ollama serve`"
    found = named(seen({**NODE, "backend_trouble": trouble})["models on studio"], "model-server-away")
    assert "ollama serve" in found.remedy


def test_a_model_that_is_on_no_machine_is_named() -> None:
    found = seen({**NODE, "models": [{"name": "qwen2.5:7b"}]})
    assert found["router model"].ok
    assert named(found["worker model"], "model-missing").remedy.startswith("`ollama pull big:q4`")


def mini(address: str | None) -> dict[str, Any]:
    return {"name": "mini", "role": "worker", "address": address, "trouble": None if address else "is it on?"}


def test_a_model_that_a_worker_may_have_which_is_away_is_not_to_be_downloaded_here() -> None:
    found = seen({**NODE, "models": [{"name": "qwen2.5:7b"}]}, peers=[mini(None)])
    assert found["worker model"].ok is None
    assert "mini, which is away" in found["worker model"].text
    assert "pull" not in "".join(one.remedy for one in found.values())


def test_a_model_that_is_missing_is_fetched_on_the_machine_that_is_to_have_it() -> None:
    bare = {**NODE, "models": []}
    found = seen(bare, {**bare, "name": "mini"}, peers=[mini("10.0.0.2:7432")])
    assert named(found["worker model"], "model-missing").remedy.startswith("`ollama pull big:q4` on mini, or here")
    assert named(found["router model"], "model-missing").remedy.startswith("`ollama pull qwen2.5:7b` here, or on mini")
    found = seen(bare, models={"router": "rehearsal/demo"})
    assert named(found["router model"], "model-missing").remedy.startswith("set rehearsal.script to 'demo', or")


def test_this_machine_needs_no_model_server_where_a_worker_has_the_models() -> None:
    trouble = "Ollama does not answer at http://127.0.0.1:11434; start it with `ollama serve`"
    book = {**NODE, "name": "book", "models": [], "backend_trouble": trouble}
    found = seen(book, {**NODE, "name": "mini"}, peers=[mini("10.0.0.2:7432")])
    assert not [one for one in found.values() if one.ok is False]
    assert "not needed here: the models are on mini" in found["models on book"].text
    # one that nobody else has is missed, and a worker's own server always
    half = {**NODE, "name": "mini", "models": [{"name": "big:q4"}]}
    named(seen(book, half, peers=[mini("10.0.0.2:7432")])["models on book"], "model-server-away")
    broken = {**half, "backend_trouble": trouble}
    found = seen({**NODE, "name": "book"}, broken, peers=[mini("10.0.0.2:7432")])
    named(found["models on mini"], "model-server-away")


# --- what is in the way ---------------------------------------------------------------------------------------


def test_another_router_on_the_same_state_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose socket cannot be found from here, as with another TMPDIR."""
    monkeypatch.setattr(router, "_STARTING_S", 0.3)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    code = "import sys, time; from pathlib import Path; from router.lock import StateLock\n"
    code += "lock = StateLock.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with program(code, str(state)) as pid:
        (found,) = router.findings(look_at(tmp_path))
        assert f"kill {pid}" in named(found, "another-router").remedy
    assert held.owner(state / "router.lock") == ""


def test_a_router_that_listens_and_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "_ANSWER_S", 0.3)
    (tmp_path / "state").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(socket_path(tmp_path / "state", "router")))
        mute.listen()
        (found,) = router.findings(look_at(tmp_path))
    named(found, "router-stuck")


def test_a_router_of_another_version_is_named(tmp_path: Path) -> None:
    with little_router(tmp_path / "state", Play(phases=[], version="0.0.9")):
        (found,) = router.findings(look_at(tmp_path))
    assert "tandem down" in named(found, "router-version").remedy


def test_something_else_on_the_routers_socket_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(socket_path(tmp_path / "state", "router")))
        odd.listen()

        def answer() -> None:
            connection, _ = odd.accept()
            connection.recv(4096)
            connection.sendall(b"220 mail ready\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        (found,) = router.findings(look_at(tmp_path))
        thread.join(5)
    named(found, "router-away")


# --- the command ----------------------------------------------------------------------------------------------


def doctor(stack: Stack, folder: Path, **env: str) -> tuple[int, dict[str, Any]]:
    """Run `tandem doctor --json` in `folder`; return its status and the findings by name."""
    argv = [*stack.command(), "cli", "doctor", "--json"]
    done = subprocess.run(argv, cwd=folder, env={**stack.env, **env}, capture_output=True, text=True, timeout=90)
    assert done.stdout, done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_healthy_machine_has_no_false_alarm_and_a_broken_one_its_causes(tmp_path: Path) -> None:
    rehearsed = {"TANDEM_MODELS_ROUTER": "rehearsal/demo", "TANDEM_MODELS_WORKER": "rehearsal/demo"}
    stack = Stack(tmp_path, {**rehearsed, "TANDEM_REHEARSAL_SCRIPT": "demo"})
    folder = tmp_path / "home"
    stack.start()
    try:
        status, found = doctor(stack, folder)
        assert {check["cause"] for check in found.values()} == {""}, found
        assert status == 0
        assert found["router"]["text"].startswith("answers, process")
        assert found["registries"]["ok"] is None
        os.chmod(stack.state, 0o755)  # noqa: PTH101
        status, found = doctor(stack, folder)
        assert (status, found["state folder"]["cause"]) == (1, "state-open")
        assert "chmod 700" in found["state folder"]["remedy"]
    finally:
        stack.stop()
    status, found = doctor(stack, folder, TANDEM_ROUTER_LINGER_S="soon")
    assert (status, found["configuration"]["cause"]) == (1, "config-broken")
    assert found["router"]["ok"] is None


def test_a_router_without_ollama_whose_worker_has_the_models_has_no_false_alarm(tmp_path: Path) -> None:
    """Two real routers' worth of processes: the one asked has no model server, the worker it is paired with plays."""
    rehearsed = {"TANDEM_MODELS_ROUTER": "rehearsal/demo", "TANDEM_MODELS_WORKER": "rehearsal/demo"}
    state, at = tmp_path / "mini", f"127.0.0.1:{free_port()}"
    state.mkdir(mode=0o700)
    book = Stack(
        tmp_path,
        {
            "TANDEM_OLLAMA_URL": f"http://127.0.0.1:{free_port()}",
            "TANDEM_MODELS_ROUTER": "demo",
            "TANDEM_MODELS_WORKER": "demo",
        },
    )
    book.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    paired(book.state, state, at)
    env = {
        **book.env,
        **rehearsed,
        "TANDEM_REHEARSAL_SCRIPT": "demo",
        "TANDEM_WORKER_LISTEN": at,
        "TANDEM_STATE": str(state),
    }
    argv = [*book.command(), "worker", "--state", str(state), "--socket", str(tmp_path / "w.sock"), "--name", "mini"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline()
        book.start()
        try:
            status, found = doctor(book, tmp_path / "home")
        finally:
            book.stop()
            worker.terminate()
    assert {check["cause"] for check in found.values()} == {""}, found
    assert found["ollama"]["ok"] is None
    assert status == 0


def test_every_cause_is_provoked_by_a_test() -> None:
    provoked = {
        node.value
        for file in Path(__file__).parent.glob("test_*.py")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "named"
        for node in call.args
        if isinstance(node, ast.Constant)
    }
    assert set(CAUSES) <= provoked
    assert len(CAUSES) >= 20
