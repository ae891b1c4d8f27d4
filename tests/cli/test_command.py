"""The command as a process, against a small server that speaks the router's API."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.commands.show import _export
from tandem.errors import BadInput
from tests.cli.little_router import QUESTION, Play, a_whole_run, little_router
from tests.support import smalldisk

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("langgraph", "guardrails", "grpc", "httpx", "ollama", "git", "pydantic", "rich", "starlette", "yaml")


def _env(state: Path, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TANDEM_") and k != "NO_COLOR"}
    return {**clean, "TANDEM_STATE": str(state), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **more}


def tandem(state: Path, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem", "cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=_env(state, **env), timeout=60)


def _last(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(done.stdout.splitlines()[-1])


def _imported(state: Path, *arguments: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "tandem", "cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=_env(state), timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize(("arguments", "modules_max"), [(["--help"], 115), (["runs"], 200)])  # 96 and 168 with 3.11
def test_help_and_the_list_import_little_and_nothing_heavy(
    tmp_path: Path, arguments: list[str], modules_max: int
) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run())):
        found = _imported(tmp_path, *arguments)
    assert "cli.app" in found
    assert not [name for name in found if name.partition(".")[0] in HEAVY]
    assert len(found) <= modules_max


def test_a_run_without_a_person_waits_and_exits_with_3(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        done = tandem(tmp_path, "run", "Make shout shout", "--repo", str(tmp_path))
    assert done.returncode == 3
    assert "`tandem approve 1120-abcdefg`" in done.stderr
    assert "! the checkout is dirty" in done.stderr
    assert play.decision is None
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [({"state": "merged", "commit": "ab" * 20}, 0), ({"state": "delivered", "commit": "ab" * 20}, 0),
     ({"state": "answered", "commit": None}, 0), ({"state": "rejected", "commit": None}, 8),
     ({"state": "rounds spent", "commit": None}, 9), ({"state": "blocked", "commit": None}, 6),
     ({"state": "failed", "commit": None, "message": "no worker; start one"}, 1)],
)  # fmt: skip
def test_each_way_to_end_has_its_exit_code_and_one_json_object_last(
    tmp_path: Path, end: dict[str, Any], code: int
) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), end=end)):
        done = tandem(tmp_path, "run", "x", "--repo", str(tmp_path), "--json")
    assert done.returncode == code
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(told[-1])[:5] == ["run", "repo", "state", "commit", "verdict"]
    assert (told[-1]["state"], told[-1]["commit"]) == (end["state"], end["commit"])
    assert all("event" in line for line in told[:-1])


def test_the_whole_task_reaches_the_router_as_it_was_given(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run())
    task = "한국어 작업: 제목을 이어라\n둘째 줄 ‘인용’\n"
    picture = tmp_path / "p.png"
    picture.write_bytes(b"png")
    with little_router(tmp_path, play):
        done = tandem(
            tmp_path, "run", "-", "--repo", str(tmp_path), "--base", "main~1", "--branch", "b", "--check", "make test",
            "--image", str(picture), "--yes", "--max-minutes", "5", "--priority", "2", "--detach", stdin=task,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1120-abcdefg\n")
    assert next(body for method, path, body in play.heard if (method, path) == ("POST", "/v1/runs")) == {
        "text": task, "repo": str(tmp_path), "base": "main~1", "branch": "b", "check": "make test", "priority": 2,
        "images": [str(picture)], "yes": True, "max_minutes": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["run"], "give the task as TASK"), (["run", "  "], "the task is empty"),
     (["run", "x", "--file", "y"], "only once"), (["run", "--file", "/nowhere/t"], "cannot read the task"),
     (["run", "x", "--repo", "/nowhere"], "there is no folder"), (["run", "x", "--priority", "0"], "--priority"),
     (["frobnicate"], "no command 'frobnicate'"), (["aprove"], "did you mean 'approve'?"),
     (["reject", "latest", "--comment", "nonsense"], "PATH:LINE:TEXT")],
)  # fmt: skip
def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), question=QUESTION)):
        done = tandem(tmp_path, *arguments, "--json")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert _last(done)["error"]["exit_code"] == 2


def test_a_task_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "task").write_bytes(b"\xff\xfe\x00x")
    with little_router(tmp_path, Play(phases=[])):
        done = tandem(tmp_path, "run", "--file", str(tmp_path / "task"), "--repo", str(tmp_path))
    assert (done.returncode, "no UTF-8 text" in done.stderr) == (2, True)


def test_approve_sends_the_question_and_digest_as_shown_and_follows(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        done = tandem(tmp_path, "approve", "1120")
    assert done.returncode == 0, done.stderr
    assert play.decision == {"question": QUESTION["id"], "digest": QUESTION["digest"], "choice": "approve"}
    assert "-     return text" in done.stdout
    assert "proof: red 2 failing on the base → green 7 passing" in done.stdout
    assert "plan" not in done.stdout.split("merged")[-1]  # what was over before is not told again


def test_an_approval_of_another_digest_is_a_conflict(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        done = tandem(tmp_path, "approve", "latest", "--digest", "0000")
    assert (done.returncode, play.decision) == (5, None)


def test_comments_on_lines_go_back_to_the_coder_and_a_bare_no_ends_the_run(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        tandem(tmp_path, "reject", "latest", "--comment", "words.py:2: why?", "--message", "please", "--detach")
    assert play.decision is not None
    assert play.decision["choice"] == "change"
    assert play.decision["comments"] == [{"path": "words.py", "line": 2, "text": "why?"}]
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        tandem(tmp_path, "reject", "latest", "--message", "no", "--detach")
    assert play.decision is not None
    assert (play.decision["choice"], play.decision["text"]) == ("reject", "no")


def test_an_answer_is_one_of_the_choices_or_nothing(tmp_path: Path) -> None:
    question = {**QUESTION, "kind": "route", "choices": ["code low", "code high", "stop"]}
    play = Play(phases=a_whole_run(), question=question)
    with little_router(tmp_path, play):
        assert tandem(tmp_path, "answer", "latest", "code").returncode == 2
        assert tandem(tmp_path, "approve", "latest").returncode == 2  # no yes is meant by this question
        assert play.decision is None
        assert tandem(tmp_path, "answer", "latest", "code h", "--text", "it is", "--detach").returncode == 0
    assert play.decision == {"question": question["id"], "digest": question["digest"], "choice": "code high",
                             "text": "it is"}  # fmt: skip


def test_nothing_asked_is_a_conflict(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run())):
        done = tandem(tmp_path, "approve", "latest", "--json")
    assert (done.returncode, _last(done)["error"]["class"]) == (5, "Conflict")


def test_show_and_runs_print_json_that_programs_can_rely_on(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), title="제목을 잇는 함수")):
        shown = tandem(tmp_path, "show", "latest", "--json", "--diff")
        listed = tandem(tmp_path, "runs", "--json")
        plain = tandem(tmp_path, "runs")
    assert {"run", "repo", "state", "commit", "verdict", "diff"} <= set(_last(shown))
    assert [run["state"] for run in json.loads(listed.stdout)] == ["merged"]
    assert "제목을 잇는 함수" in plain.stdout


def test_a_diff_for_a_program_is_the_plain_bytes(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run())):
        assert tandem(tmp_path, "show", "latest", "--diff").stdout.startswith("diff --git a/words.py b/words.py\n")


@pytest.mark.parametrize(("verdict", "code"), [("holds", 0), ("does not hold", 1), ("no proof", 1), ("unproven", 0)])
def test_verify_says_and_returns_whether_the_proof_holds(tmp_path: Path, verdict: str, code: int) -> None:
    result = {"repo": "/r", "commit": "ab" * 20, "verdict": verdict, "reason": "why", "checks": []}
    verify = [("progress", {"stage": "base", "message": "running"}), ("result", result)]
    with little_router(tmp_path, Play(phases=[], verify=verify)):
        done = tandem(tmp_path, "verify", "HEAD", "--repo", str(tmp_path), "--json")
    assert (done.returncode, _last(done)["verdict"]) == (code, verdict)


def test_an_error_in_the_middle_of_verifying_keeps_its_class(tmp_path: Path) -> None:
    error = {"class": "NoSandbox", "message": "no sandbox works; install bubblewrap", "exit_code": 6}
    with little_router(tmp_path, Play(phases=[], verify=[("error", error)])):
        done = tandem(tmp_path, "verify")
    assert (done.returncode, "install bubblewrap" in done.stderr) == (6, True)


def test_a_router_of_another_version_is_named(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=[], version="9.9.9")):
        done = tandem(tmp_path, "runs")
    assert done.returncode == 4
    assert "9.9.9" in done.stderr
    assert "tandem down" in done.stderr


def _started(state: Path, play: Play, *arguments: str) -> subprocess.Popen[str]:
    """Start a command that follows the run, and wait until it does."""
    command = [sys.executable, "-m", "tandem", "cli", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_env(state))
    until = time.monotonic() + 20
    while not any("events" in path for _, path, _ in play.heard):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)
    return child


def test_ctrl_c_during_a_run_cancels_it_and_says_how_to_go_on(tmp_path: Path) -> None:
    play = Play(phases=[a_whole_run()[0]], hang_after=True)
    with little_router(tmp_path, play):
        child = _started(tmp_path, play, "run", "x", "--repo", str(tmp_path))
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "cancelled; `tandem resume 1120-abcdefg` goes on with it" in told
    assert ("POST", "/v1/runs/1120-abcdefg/cancel", {}) in play.heard


def test_ctrl_c_while_watching_only_leaves(tmp_path: Path) -> None:
    play = Play(phases=[a_whole_run()[0]], hang_after=True)
    with little_router(tmp_path, play):
        child = _started(tmp_path, play, "watch")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
        assert not [path for method, path, _ in play.heard if method == "POST"]
    assert child.returncode == 130


def test_what_lasts_gives_a_sign_of_life_in_plain_output(tmp_path: Path) -> None:
    play = Play(phases=[[("step.started", {"step": "code.1", "title": "code"})]], hang_after=True)
    with little_router(tmp_path, play):
        child = _started(tmp_path, play, "watch")
        time.sleep(1.2)
        child.send_signal(signal.SIGINT)
        shown, _ = child.communicate(timeout=20)
    assert "    … ▸ code" in shown


def test_a_reader_that_leaves_is_borne_quietly(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), title="long " * 100_000)):
        line = f"'{sys.executable}' -m tandem cli show latest --json | head -c 1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=_env(tmp_path), timeout=60)
    assert done.stderr == ""
    assert done.returncode == 141


def test_the_unforeseen_is_one_line_and_a_private_report(tmp_path: Path) -> None:
    broken = Play(phases=[], refuse={"/v1/runs": (200, {"class": "not", "message": "a list"})})
    with little_router(tmp_path, broken):
        done = tandem(tmp_path, "runs", "--json")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "unforeseen KeyError" in done.stderr
    report = next((tmp_path / "logs").glob("crash-*.txt"))
    assert str(report) in done.stderr
    assert report.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in report.read_text()
    assert _last(done)["error"]["class"] == "KeyError"


def test_a_full_disk_that_nobody_foresaw_is_named_and_no_empty_report_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli import __main__, crash

    smalldisk.require(private=False)
    with smalldisk.small_disk(tmp_path, 1 << 20, private=False) as disk:
        monkeypatch.setenv("TANDEM_STATE", str(disk.path))
        (disk.path / "logs").mkdir(mode=0o700)
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            crash.write_report("long " * 10_000)
        assert list((disk.path / "logs").iterdir()) == []

        def written(args: list[str]) -> int:
            (disk.path / "some").write_bytes(b"x" * 10_000)
            return 0

        monkeypatch.setattr(__main__, "_invoke", written)
        assert __main__.main(["status"]) == 4
        said = capsys.readouterr().err
        assert "unforeseen" not in said
        assert f"the disk that holds {disk.path} is full" in said


def test_status_without_a_router_starts_none(tmp_path: Path) -> None:
    done = tandem(tmp_path, "status", "--json")
    assert (done.returncode, _last(done)["running"]) == (4, False)
    assert tandem(tmp_path, "down").stdout == "no router is running\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("install",), ("install", "cook"), ("bench", "nothing"), ("completions",)])
def test_choices_are_listed_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = tandem(tmp_path, *arguments)
    assert done.returncode == 2
    assert "U+0009" not in done.stderr
    if arguments == ("install",):
        assert done.stderr.endswith("Choose from: router, worker\n")


def test_every_command_explains_itself(tmp_path: Path) -> None:
    from cli.app import TABLE, LazyGroup, tandem

    assert isinstance(tandem, LazyGroup)
    for name, (_, _, words) in TABLE.items():
        command = tandem.get_command(None, name)  # type: ignore[arg-type]  # our group does not use the context
        assert command is not None
        assert command.name == name
        assert command.help
        assert words.endswith(".")


def test_the_exit_codes_stand_in_the_help_of_run(tmp_path: Path) -> None:
    done = tandem(tmp_path, "run", "--help")
    for code in ("0  merged", "3  waiting", "6  blocked", "8  rejected", "9  rounds spent", "130  cancelled"):
        assert code in done.stdout


@pytest.mark.parametrize("run", ["é", "a b", "", "?x=1", "../status", "x" * 65])
def test_a_word_that_can_be_no_run_is_refused_before_a_router_is_asked(tmp_path: Path, run: str) -> None:
    done = tandem(tmp_path, "show", run)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no run" in done.stderr
    assert not (tmp_path / "router.lock").exists()


def test_an_export_needs_a_name_and_is_the_owner_s_from_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name another file"):
        _export([], "")
    before = os.umask(0)
    try:
        _export([{"a": 1}], str(tmp_path / "calls"))
    finally:
        os.umask(before)
    assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o600
