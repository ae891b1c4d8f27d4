"""Finding and starting the router: with the router itself where it must start, on a state folder of the test's own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli import launch
from cli.client import Client
from cli.launch import ensure_router, last_lines, spinner
from cli.shutdown import shut_down
from tandem.errors import BadConfig
from tandem.paths import socket_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for key in [key for key in os.environ if key.startswith("TANDEM_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TANDEM_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "state"


def test_a_router_is_started_once_however_many_ask_and_left_behind_detached(state: Path) -> None:
    ask = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cli.launch import ensure_router\n"
    ask += "print(ensure_router().get('/v1/status')['pid'])"
    askers = [subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        pids = {asker.communicate(timeout=60)[0].strip() for asker in askers}
        assert len(pids) == 1
        pid = int(pids.pop())
        assert os.getsid(pid) == pid  # a session of its own
        assert Path(f"/proc/{pid}/cwd").resolve() == Path("/") or sys.platform != "linux"
        assert (state / "logs" / "router.log").stat().st_mode & 0o777 == 0o600
        assert state.stat().st_mode & 0o777 == 0o700
    finally:
        shut_down()
    assert not socket_path(state, "router").exists()


def test_a_router_that_cannot_start_is_told_with_its_own_words(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_ROUTER_LINGER_S", "soon")
    began = time.monotonic()
    with pytest.raises(BadConfig, match=r"(?s)did not start: it left with status 2.*linger_s = 'soon'"):
        ensure_router()
    assert time.monotonic() - began < launch.START_S - 2


def test_relative_paths_still_mean_the_same_for_the_router(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state.parent)
    Path("script.yaml").write_text("name: demo\n")
    monkeypatch.setenv("TANDEM_STATE", "state")
    monkeypatch.setenv("TANDEM_CONFIG", "my.toml")
    monkeypatch.setenv("TANDEM_REHEARSAL_SCRIPT", "script.yaml")
    env = launch._absolute_env(state)
    assert env["TANDEM_STATE"] == str(state)
    assert env["TANDEM_CONFIG"] == str(state.parent / "my.toml")
    assert env["TANDEM_REHEARSAL_SCRIPT"] == str(state.parent / "script.yaml")


def test_the_end_of_a_log_is_shown_in_words(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    entry = {"level": "error", "event": "start failed", "error": "x\nValueError: no"}
    log.write_text(f"old\n{json.dumps(entry)}\nplain \x1b[2J words\n")
    assert last_lines(log, begin=4) == "  error: start failed: ValueError: no\n  plain ⟨U+001B⟩[2J words"
    assert last_lines(tmp_path / "none") == ""


def test_waiting_is_told_after_a_second_and_not_before(capsys: pytest.CaptureFixture[str]) -> None:
    with spinner("short"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    with spinner("long"):
        time.sleep(1.2)
    assert capsys.readouterr().err == "long …\n"


def test_no_router_is_running_where_none_was_started(state: Path) -> None:
    assert shut_down() is None
    assert not Client(socket_path(state, "router")).socket_file.exists()
