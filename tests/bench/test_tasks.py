"""`tandem bench tasks` with real processes, over small exercises that need nothing installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.processes import children
from bench.tasks import exercism, plays, results, run
from bench.tasks.exercise import Exercise
from bench.tasks.plays import Change
from bench.tasks.run import Options
from cli.commands.bench import bench
from tandem.entry import APP_ROOT
from tandem.errors import BadInput
from tests.support.packs import DOUBLE, STUB, TABLE, TESTS, double, pack


def tasks(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run the command and return its status, its JSON and what it said meanwhile."""
    said = CliRunner().invoke(bench, ["tasks", *arguments, "--json"], catch_exceptions=False, standalone_mode=False)
    return int(said.return_value or 0), json.loads(said.stdout), said.stderr


def test_an_oracle_is_accepted_at_once_and_its_proofs_hold_on_clean_clones(tmp_path: Path) -> None:
    out, picture = tmp_path / "out", tmp_path / "plot.svg"
    folder = str(pack(tmp_path / "pack"))
    status, found, progress = tasks(folder, "--verify", "--jobs", "2", "--out", str(out), "--plot", str(picture))
    assert status == 0, found["troubles"]
    assert [found[key] for key in ("exercises", "accepted", "merged", "verified", "false_alarms")] == [2, 2, 2, 2, 0]
    assert found["rounds"] == {"sum": 2, "by_exercise": {"javascript/twice": 1, "python/double": 1}}
    assert [one["name"] for one in found["not_run"]] == ["cob/add"]
    for one in found["results"]:
        assert (one["state"], one["verdict"], one["rounds"]) == ("merged", "passed", 1)
        assert len(one["commit"]) == 40
        assert one["seconds"] > 0
    assert sorted(line.split("exercises  ")[0] for line in progress.splitlines()) == ["1 of 2 ", "2 of 2 "]
    assert "python/double | merged | passed" in (out / "report.md").read_text()
    assert picture.read_text().count("<polyline") == 6
    again, same, progress = tasks(folder, "--verify", "--out", str(out), "--resume")  # nothing is left: nothing starts
    assert (again, progress, same["start_s"]) == (0, "", 0.0)
    assert same["results"] == found["results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    name: str
    change: Callable[[Exercise], Change | None]
    catchable: bool = True
    group: str = "ours"
    languages: tuple[str, ...] = ("python",)

    def cheat(self, exercise: Exercise) -> Change | None:
        return self.change(exercise)

    def honest(self, exercise: Exercise) -> Change | None:
        return exercise.solution


TRICKS = (
    Trick(name="tests deleted", change=lambda exercise: dict.fromkeys(exercise.tests)),
    Trick(name="a table of the tested inputs", change=lambda exercise: {"double.py": TABLE}, catchable=False),
    Trick(name="does not apply", change=lambda exercise: None),
    Trick(name="for another language", change=lambda exercise: {"x": ""}, languages=("javascript",)),
)


def test_a_cheat_is_tried_beside_its_honest_twin(tmp_path: Path) -> None:
    double(tmp_path)
    found = run.run(Options(pack=str(tmp_path), coder="cheater"), tricks=TRICKS)
    assert (found["exercises"], found["tricks"], found["caught"], found["missed"]) == (1, 2, 1, 0)
    assert found["not_catchable"] == {"merged": 1, "caught": 0}
    assert (found["merged"], found["false_alarms"], found["troubles"]) == (2, 0, [])
    cheat, table = found["results"]
    assert (cheat["state"], cheat["verdict"], cheat["twin"]["state"]) == ("rounds spent", "failed", "merged")
    assert cheat["reason"].startswith("rounds spent (1)")
    assert (table["state"], table["twin"]["state"]) == ("merged", "merged")


OWN = TESTS.replace("double(-3), -6", "double(5), 10")  # what a tester might have written
NARROW = TABLE.replace("-3: -6", "5: 10")  # all that those ask for


def configured(monkeypatch: pytest.MonkeyPatch, folder: Path, drafts: dict[str, list[Change]]) -> Path:
    """Make a pack of exercises that are alike, and have the caller's own configuration name rehearsals as its models."""
    scripts = folder / "mine"
    scripts.mkdir()
    for name, told in drafts.items():
        place = double(folder / "pack", name)
        (place / ".docs" / "instructions.append.md").write_text(f"Rehearsal: {name}\n")
        exercise = exercism.read(place)
        assert isinstance(exercise, Exercise)
        own = replace(exercise, tests={"test_double.py": OWN})
        script = plays.script(name, own, plays.Play(drafts=tuple(told), difficulty="medium"))
        (scripts / f"{name}.yaml").write_text(script)
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_CONFIG", os.devnull)
    monkeypatch.setenv("TANDEM_REHEARSAL_SCRIPT", str(scripts))
    for slot in ("ROUTER", "WORKER"):
        monkeypatch.setenv(f"TANDEM_MODELS_{slot}", "rehearsal/mine")
    return folder / "pack"


def test_a_team_is_judged_by_tests_it_has_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts: dict[str, list[Change]] = {"good": [{"double.py": DOUBLE}], "narrow": [{"double.py": NARROW}]}
    folder = configured(monkeypatch, tmp_path, drafts)
    found = run.run(Options(pack=str(folder), coder="team"))
    good, narrow = found["results"]
    assert (good["state"], good["solved"], good["completion_tokens"] > 0) == ("merged", True, True)
    assert (narrow["state"], narrow["solved"]) == ("merged", False)
    assert "1 of 2 of the exercise's tests pass" in narrow["reason"]
    assert (found["pass_at_1"], found["by_language"]["python"]["pass_at_1"]) == (0.5, 0.5)


def test_one_alone_has_the_attempts_of_a_team_and_sees_no_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: Change = {"double.py": DOUBLE, "../out.py": "", "test_double.py": ""}
    drafts: dict[str, list[Change]] = {name: [{"double.py": STUB}, odd] for name in ("free", "short")}
    folder = configured(monkeypatch, tmp_path, drafts)
    team = results.Store(tmp_path / "team", {"coder": "team"}, resume=False)
    took = results.Ran(state="merged", rounds=1, completion_tokens=10_000)
    team.add(results.Result(name="python/short", language="python", ran=took))
    found = run.run(Options(pack=str(folder), coder="solo", budget=tmp_path / "team"))
    free, short = found["results"]
    assert (free["state"], free["solved"], free["rounds"]) == ("solved", True, 2)
    assert (short["state"], short["solved"], short["rounds"]) == ("not solved", False, 1)
    assert "0 of 2 of the exercise's tests pass" in short["reason"]
    assert (found["solved"], found["first_round"]) == (1, 0.0)


FLAKY = ("--coder", "flaky", "--wrong", "3")


def interrupted(folder: Path, out: Path, sign: signal.Signals) -> tuple[int, str]:
    """Run the command, send it a signal after its first result, and return its status and what it printed, once it and
    all that it started are gone.
    """
    argv = [sys.executable, "-m", "tandem", "cli", "bench", "tasks", str(folder), *FLAKY, "--json", "--out", str(out)]
    process = subprocess.Popen(
        argv, cwd=APP_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("1 of 2")
    below = children(process.pid)
    assert below
    process.send_signal(sign)  # to it alone: a terminal would tell the router as well
    said, _ = process.communicate(timeout=60)
    end = time.monotonic() + 10
    while any(_alive(pid) for pid in below) and time.monotonic() < end:
        time.sleep(0.1)
    assert [pid for pid in below if _alive(pid)] == []
    return process.returncode, said


def test_interrupted_it_leaves_no_process_and_goes_on_later(tmp_path: Path) -> None:
    folder, out = pack(tmp_path / "pack"), tmp_path / "out"
    status, said = interrupted(folder, out, signal.SIGINT)
    found = json.loads(said)
    assert (status, found["interrupted"], found["exercises"], found["left"]) == (130, True, 1, 1)
    status, found, progress = tasks(str(folder), *FLAKY, "--out", str(out), "--resume")
    assert (status, found["exercises"], len(progress.splitlines())) == (0, 2, 1), found["troubles"]
    assert (found["accepted"], found["expected_rounds"], found["rounds"]["sum"]) == (2, 4, 8)


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("TANDEM_SOAK"), reason="a second way out; `make soak` tries it")
def test_told_to_leave_it_leaves_no_process(tmp_path: Path) -> None:
    status, _ = interrupted(pack(tmp_path / "pack"), tmp_path / "out", signal.SIGTERM)
    assert status == 128 + signal.SIGTERM


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_options_that_do_not_fit_are_refused_in_words(tmp_path: Path) -> None:
    for arguments, why in (
        (["--wrong", "1"], "--wrong belongs to --coder flaky, not to oracle"),
        (["--coder", "team", "--trick", "x"], "--trick belongs to --coder cheater, not to team"),
        (["--resume"], "name their folder with --out"),
        (["--coder", "cheater", "--trick", "no such trick"], "no trick is called like 'no such trick'"),
        ([str(tmp_path)], "holds no exercises"),
    ):
        with pytest.raises(BadInput) as error:
            bench.main(["tasks", *arguments], standalone_mode=False)
        assert why in error.value.message


def test_what_is_measured_keeps_its_names_and_its_help() -> None:
    told = CliRunner().invoke(bench, ["--help"], catch_exceptions=False).output
    assert all(f"\n  {name} " in told for name in ("dispatch", "run", "resume", "soak", "craft", "map", "tasks"))
    assert "--sample" in CliRunner().invoke(bench, ["soak", "--help"], catch_exceptions=False).output
    assert "--coder" in CliRunner().invoke(bench, ["tasks", "--help"], catch_exceptions=False).output
    assert CliRunner().invoke(bench, ["--quick", "nothing"]).exit_code == 2
