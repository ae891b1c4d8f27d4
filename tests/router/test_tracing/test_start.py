"""Where it is switched on: the address, the library, a run's feed, and what a start costs without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router.feed import Feed
from router.tracing import observer
from router.tracing.spans import Observer
from tandem.errors import BadConfig
from tandem.events import RunEvent
from tests.router.test_tracing.collector import CALL, RUN, Collector, by_name

REPOSITORY = Path(__file__).parents[3]
LACKING = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


# --- the address and the library ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "ftp://localhost", "http://", "http://h:x", "http://h?a=b", "http://h#a", "file:///a"],
)
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(BadConfig, match=r"^telemetry\.endpoint .* is no http"):
        observer(endpoint)


@pytest.mark.parametrize("endpoint", ["http://me:hunter2@localhost", "http://me:hunter2@localhost:x"])
def test_an_address_with_a_password_is_refused_and_not_shown(endpoint: str) -> None:
    with pytest.raises(BadConfig, match="carries a name or password") as caught:
        observer(endpoint)
    assert "hunter2" not in caught.value.message


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, LACKING, None)
    with pytest.raises(BadConfig, match="install the extra `otel`"):
        observer("http://127.0.0.1:4318")


def test_without_an_address_nothing_of_it_is_imported() -> None:
    heavy = ("opentelemetry", "requests", "agents", "router.tracing.")
    program = (
        "import sys; from router.__main__ import observer; assert observer('') is None; "
        f"print([name for name in sys.modules if name.startswith({heavy})])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- a router that cannot watch as it was told to does not begin --------------------------------------------------


def _start(tmp_path: Path, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tandem", "router", "--state", str(tmp_path / "state")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_bad_address_is_one_clear_line_at_the_start(tmp_path: Path) -> None:
    status, told = _start(tmp_path, TANDEM_TELEMETRY_ENDPOINT="localhost:4318")
    assert (status, len(told.splitlines())) == (BadConfig.exit_code, 1)
    assert "telemetry.endpoint 'localhost:4318' is no http(s) address" in told
    assert not list((tmp_path / "state").glob("journal*"))


def test_a_library_that_is_missing_is_one_clear_line_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{LACKING!r}] = None\n")
    where = {"PYTHONPATH": str(tmp_path), "TANDEM_TELEMETRY_ENDPOINT": "http://127.0.0.1:4318"}
    status, told = _start(tmp_path, **where)
    assert (status, len(told.splitlines())) == (BadConfig.exit_code, 1)
    assert "install the extra `otel`" in told


def test_a_command_that_starts_the_router_tells_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tandem", "cli", "up"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(REPOSITORY),
            "TANDEM_STATE": str(tmp_path / "state"),
            "TANDEM_TELEMETRY_ENDPOINT": "http://me:hunter2@collector",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == BadConfig.exit_code
    assert "telemetry.endpoint carries a name or password" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr + (tmp_path / "state" / "logs" / "router.log").read_text()


# --- a run's feed -------------------------------------------------------------------------------------------------


def test_a_feed_tells_its_observer_what_it_tells_everybody_and_a_repetition_to_nobody() -> None:
    told: list[RunEvent] = []
    feed = Feed(RUN, told.append)
    for _ in range(2):  # the run, and its replay after a decision
        feed.emit("step.started", {"step": "code.1", "title": "code"})
        feed.emit("call.started", {**CALL})
        feed.emit("step.finished", {"step": "code.1", "summary": "coded", "seconds": 1.0})
    kinds = ["step.started", "call.started", "step.finished", "call.started"]
    assert [(event.seq, event.kind) for event in told] == list(enumerate(kinds, 1))
    assert told == list(feed._ring)
    assert {event.run_id for event in told} == {RUN}


def test_a_feed_outlives_an_observer_in_trouble(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    feed = Feed(RUN, Observer(nothing))
    feed.emit("state", {"state": "running"})
    feed.emit("state", {"state": "merged"})
    assert feed.ended
    assert [record.message for record in caplog.records] == ["event was not traced"]


def test_a_feed_that_begins_again_goes_on_in_the_same_trace(collector: Collector) -> None:
    watch = observer(collector.url)
    assert watch is not None
    Feed(RUN, watch).emit("state", {"state": "running"})
    feed = Feed(RUN, watch)  # the first was dropped
    feed.emit("state", {"state": "running"})
    feed.emit("state", {"state": "merged"})
    watch.close()
    assert list(by_name(collector.spans())) == ["tandem.run"]
