"""What `tandem accept` measures and says. Nothing was recorded on a Mac: of Metal it is held what its script prints."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.accept import answers, confinement, link, metal, process, run, team
from bench.accept.figures import Figure, untaken
from bench.accept.report import lines, markdown, report
from bench.accept.run import FIGURES
from bench.accept.targets import TARGETS
from cli.commands.accept import AREAS
from router.dispatcher import Dispatcher
from router.node import Node
from router.paired import PairedNode
from tandem import identity, interfaces
from tandem.config import Config, LinkConfig
from tests.support.fake_ollama import FakeOllama, Say
from tests.support.machine import Machine
from tests.support.pairs import free_port, paired
from tests.support.stack import ROOT
from tests.support.trees import rung
from worker.sandbox import ladder

MAC = {"metal": True, "error": 2.5e-6, "gflops": 12345.6}


def rows(*figures: Figure) -> dict[str, Mapping[str, Any]]:
    return {row["name"]: row for row in report(figures, {})["results"]}


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_every_target_has_a_figure_and_every_area_a_name() -> None:
    assert {name for names in FIGURES.values() for name in names} == set(TARGETS)
    assert tuple(FIGURES) == AREAS


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("load", 10.0, "met"),
        ("load", 10.1, "missed"),
        ("link-carries", 400.0, "met"),
        ("link-carries", 399.0, "missed"),
        ("sandbox-holes", 0.0, "met"),
        ("sandbox-holes", 1.0, "missed"),
        ("sandbox-real", 0.0, "missed"),
        ("metal-speed", 1.0, "recorded"),
        ("load", None, "not measured"),
    ],
)
def test_a_figure_is_met_missed_recorded_or_not_measured(name: str, value: float | None, verdict: str) -> None:
    assert rows(Figure(name=name, value=value))[name]["verdict"] == verdict


def test_what_there_was_no_time_for_is_in_the_report_and_is_no_success() -> None:
    found = report([Figure(name="load", value=1.0)], {"chip": "M4"})
    assert found["counts"] == {"met": 1, "missed": 0, "recorded": 0, "not measured": len(TARGETS) - 1}
    assert {row["note"] for row in found["results"] if row["value"] is None} == {"time was over"}


def test_the_page_and_the_lines_say_the_same() -> None:
    figures = [
        Figure(name="load", value=12.345, note="a | b\nc", of="small"),
        *untaken("no Metal", "metal-error", "metal-speed"),
    ]
    found = report(figures, {"chip": "M4"})
    page = markdown(found)
    assert (
        "| ✗ | B7 | until a model that was not in memory gives its first token | small | 12.3 s | at most 10 s |"
        in page
    )
    assert "a \\| b c |" in page
    assert "- chip: M4" in page
    said = lines(found)
    assert "✗ until a model that was not in memory gives its first token (small): 12.3 s, wanted at most 10 s" in said
    assert said.count("    no Metal") == 1  # said once, of both


def test_metals_figures_are_read_from_what_its_script_prints() -> None:
    assert by_name(metal.read(0, json.dumps(MAC), "")) == {
        "metal-error": Figure(name="metal-error", value=2.5e-6),
        "metal-speed": Figure(name="metal-speed", value=12345.6),
    }
    for status, out, err, why in (
        (1, "", "ModuleNotFoundError: No module named 'mlx'", "MLX is not installed"),
        (0, '{"metal": false}', "", "this machine has no Metal"),
        (-11, "", "", "MLX failed: status -11"),
        (1, "", "Traceback\nRuntimeError: kernel", "MLX failed: RuntimeError: kernel"),
    ):
        found = metal.read(status, out, err)
        assert [figure.value for figure in found] == [None, None]
        assert found[0].note.startswith(why)


def test_metals_script_runs_where_there_is_mlx() -> None:
    pytest.importorskip("mlx.core")
    found = asyncio.run(metal.figures())
    if sys.platform != "darwin":
        assert {figure.note for figure in found} == {"this machine has no Metal"}
    else:
        assert all(figure.value is not None for figure in found)


@pytest.mark.parametrize("area", [metal.figures, team.figures])
@pytest.mark.parametrize("heeds", [True, False])
def test_nothing_is_left_of_an_area_for_which_the_time_was_over(
    area: Callable[[], Awaitable[list[Figure]]], heeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, pids, ready = tmp_path / "python", tmp_path / "pids", tmp_path / "ready"
    trap = "exit 0" if heeds else ""
    body = f"trap '{trap}' TERM; sleep 300 & echo $$ $! > {pids}; touch {ready}; while :; do wait; done"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(process, "_LEAVE_S", 0.5)
    monkeypatch.setattr(sys, "executable", str(script))
    asked = (lambda: metal.figures(str(script))) if area is metal.figures else area

    async def measure() -> list[Figure]:
        return await run._within(3.0, asked, ("load",))

    found = asyncio.run(measure())
    assert [figure.note for figure in found] == ["time was over"]
    assert ready.exists(), "it was begun"
    end = time.monotonic() + 20
    while (left := [pid for pid in pids.read_text().split() if is_alive(int(pid))]) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and waits for init to see it does not."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(said.strip()) and not said.strip().startswith("Z")


def test_an_unforeseen_fault_of_one_area_is_a_figure_not_taken() -> None:
    async def broken() -> list[Figure]:
        raise KeyError("mini")

    found = asyncio.run(run._within(5.0, broken, ("load", "first-answer")))
    assert found == untaken("it met an unforeseen fault: KeyError: 'mini'", "load", "first-answer")


def test_a_sandbox_that_holds_is_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rung()  # a sandbox works here, or this is skipped
    held = by_name(asyncio.run(confinement.figures()))
    assert held["sandbox-holes"].value == 0, held
    assert (held["sandbox-real"].value or 0) > 10
    monkeypatch.setattr(ladder, "select", lambda: ladder.UNSANDBOXED)
    open_ = by_name(asyncio.run(confinement.figures()))
    assert (open_["sandbox-holes"].value or 0) > 10
    assert "read-a-file-beside-the-tree" in open_["sandbox-holes"].note


def test_the_way_to_a_paired_worker_is_measured(tmp_path: Path) -> None:
    port = free_port()
    settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}", "TANDEM_STATE": str(tmp_path / "mini")}
    lo = interfaces.carrier("127.0.0.1")

    async def figures(media: Mapping[str, str]) -> dict[str, Figure]:
        peer = paired(tmp_path / "book", tmp_path / "mini", f"127.0.0.1:{port}")
        node = PairedNode(peer, identity.load(tmp_path / "book"), LinkConfig.model_validate({"media": media}))
        try:
            async with asyncio.timeout(30):
                while (found := by_name(await link.figures([node])))["link-rtt"].value is None:  # noqa: ASYNC110 - it begins to listen
                    await asyncio.sleep(0.2)
            return found
        finally:
            await node.close()

    with Machine(tmp_path, [], **settings):
        cable = asyncio.run(figures({lo: "thunderbolt"}))
        other = asyncio.run(figures({}))
    assert (cable["link-thunderbolt"].value, other["link-thunderbolt"].value) == (1.0, 0.0)
    assert cable["link-rtt"].value
    assert cable["link-carries"].value
    assert "Thunderbolt" in cable["link-thunderbolt"].note
    assert {figure.value for figure in asyncio.run(link.figures([]))} == {None}


class Moved(PairedNode):
    """One that was found at another address since its ways were measured."""

    async def survey(self) -> None:
        await super().survey()
        self.ways.seen(())


def test_a_worker_that_moved_in_between_is_told_as_not_measured(tmp_path: Path) -> None:
    port = free_port()
    settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}", "TANDEM_STATE": str(tmp_path / "mini")}
    peer = paired(tmp_path / "book", tmp_path / "mini", f"127.0.0.1:{port}")

    async def figures() -> list[Figure]:
        node = Moved(peer, identity.load(tmp_path / "book"))
        try:
            async with asyncio.timeout(30):
                while "was not measured; run this again" not in (found := await link.figures([node]))[0].note:  # noqa: ASYNC110 - it begins to listen
                    await asyncio.sleep(0.2)
            return found
        finally:
            await node.close()

    with Machine(tmp_path, [], **settings):
        found = asyncio.run(figures())
    assert [figure.value for figure in found] == [None] * 3


def test_models_are_asked_as_a_persona_asks_them(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def say(body: dict[str, Any]) -> Say:
        asked.append(body)
        fake.resident = tuple({*(fake.resident or ()), body["model"]})
        return Say("it tells whether a part works", pause_s=3.0 if len(asked) == 1 else 0.0)

    config = Config.model_validate({"models": {"router": "small", "worker": "eyes-vl"}})
    with FakeOllama(say, models=("small", "eyes-vl")) as fake:
        fake.resident = ("eyes-vl",)
        env = {"TANDEM_OLLAMA_URL": fake.url, "TANDEM_MODELS_ROUTER": "small", "TANDEM_MODELS_WORKER": "eyes-vl"}
        with Machine(tmp_path, [], **env) as machine:

            async def measure() -> list[Figure]:
                models = Dispatcher([Node.at_socket(machine.socket)], lambda repo_id: tmp_path)
                try:
                    return await answers.figures(models, config)
                finally:
                    await models.close()

            found = asyncio.run(measure())
    small = by_name([figure for figure in found if figure.of == "small"])
    eyes = by_name([figure for figure in found if figure.of == "eyes-vl"])
    assert small["load"].value is not None
    assert (eyes["load"].value, "was in memory already" in eyes["load"].note) == (None, True)
    first, later = small["first-answer"].value, small["later-answers"].value
    assert first is not None
    assert later is not None
    assert first > later + 1  # the first one was made to take three seconds
    assert (small["text-answer"].value or 9) <= later
    assert "it tells whether" in eyes["image-answer"].note
    assert sum(bool(body["messages"][0].get("images")) for body in asked) == 2
    assert {body["options"]["num_ctx"] for body in asked if body["model"] == "small"} == {config.context.router}


def test_a_picture_is_one(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "red.png").write_bytes(answers.picture(8))
    assert image.open(tmp_path / "red.png").convert("RGB").getpixel((3, 3)) == (208, 32, 32)


def test_the_team_is_measured_and_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="team-") as place:  # pytest's own is too long a way for sockets
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", place)
        (figure,) = asyncio.run(team.figures())
        assert figure.value, figure.note
        assert [path.name for path in Path(place).iterdir() if path.name.startswith("tandem-")] == []


def test_the_command_writes_both_reports_and_says_a_miss_with_its_status(tmp_path: Path) -> None:
    known = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    env = {
        **known,
        "HOME": str(tmp_path),
        "TANDEM_STATE": str(tmp_path / "state"),
        "TANDEM_CONFIG": os.devnull,
        "TANDEM_OLLAMA_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there: the doctor says so
    }

    def tandem(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "tandem", "cli", *arguments]
        return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    try:
        done = tandem("accept", "--only", "doctor", "--only", "metal", "--out", str(tmp_path), "--json")
        assert done.returncode == 1, done.stderr
        found = json.loads(done.stdout)
        results = {row["name"]: row for row in found["results"]}
        assert results["doctor"]["verdict"] == "missed"
        assert "ollama-down" in results["doctor"]["note"]
        assert results["load"]["note"] == "not asked for"
        as_json, page = (Path(name) for name in found["files"])
        assert json.loads(as_json.read_text())["counts"] == found["counts"]
        assert "# Tandem on this machine" in page.read_text()
        assert tandem("accept", "--out", str(tmp_path / "nowhere")).returncode == 2
    finally:
        tandem("down")
