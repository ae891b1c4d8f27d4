"""The bench of the link: real processes and tiny counts; its form and what it compares, not its times."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from grpc import aio

from bench import floor, link, link_ends, link_report, link_sync
from bench.link_ends import Link
from bench.turns import in_turns
from cli.__main__ import main
from cli.commands.bench import bench
from router.repository.own import OwnRepository
from tandem.errors import BadInput
from tandem.git import git
from tests.support.stack import ROOT

UNITS = {"rtt": "us", "token": "ms", "throughput": "mb_s", "sync_small": "ms", "sync_large": "mb_s"}
SIDES = {
    "rtt": {"tcp", "grpc", "paired"},
    "token": {"tcp", "paired"},
    "throughput": {"tcp", "grpc", "paired"},
    "sync_small": {"plain", "paired"},
    "sync_large": {"grpc", "index", "plain", "paired"},
}


@pytest.fixture(scope="module")
def found() -> tuple[dict[str, Any], str]:
    """Return what two rounds over 50 files found, and what was said meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "CALLS", 3)
        patch.setattr(link, "STREAM_MB", 2)
        arguments = ["link", "--rounds", "2", "--files", "50", "--delta-mb", "1", "--json"]
        said = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    return json.loads(said.stdout), said.stderr


def test_every_side_is_measured_beside_ours_with_its_spread(found: tuple[dict[str, Any], str]) -> None:
    for part, unit in UNITS.items():
        figures = found[0][part]
        for side in SIDES[part]:
            spread = figures[f"{side}_{unit}"]
            assert 0 < spread["p25"] <= spread["p50"] <= spread["p75"]
        for side in SIDES[part] - {"paired"}:
            assert (f"share_of_{side}" if unit == "mb_s" else f"ratio_to_{side}") in figures
            assert (f"added_to_{side}_{unit}" in figures) == (unit != "mb_s")
    assert found[0]["sync_small"]["files"] == 50
    assert found[0]["sync_large"]["size_mb"] == 1
    assert found[0]["token"]["question_bytes"] > len(link_ends.REPLY) > 0


def test_the_aims_are_named_and_judged_by_the_figures(found: tuple[dict[str, Any], str]) -> None:
    aims = found[0]["aims"]
    small, large = aims["sync_small.added_to_plain_ms"], aims["sync_large.share_of_grpc"]
    assert (small["at_most"], large["at_least"]) == (80, 0.5)
    assert small["found"] == found[0]["sync_small"]["added_to_plain_ms"]["p50"]
    assert large["found"] == found[0]["sync_large"]["share_of_grpc"]["p50"]
    assert small["met"] == (small["found"] <= 80)
    assert large["met"] == (large["found"] >= 0.5)


def test_progress_is_told_of_each_round_and_of_no_other(found: tuple[dict[str, Any], str]) -> None:
    told = found[1].splitlines()
    assert len(told) == link.steps(2) == 15
    assert told[-1].startswith("15 of 15 rounds")


def test_the_table_has_a_line_for_every_figure_and_aim(found: tuple[dict[str, Any], str]) -> None:
    lines = link.lines(found[0], 120)
    spreads = [name for part in UNITS for name, value in found[0][part].items() if isinstance(value, dict)]
    assert sum(any(character.isdigit() for character in line.split("  ")[-1]) for line in lines[3:-3]) == len(spreads)
    assert [line.split(":")[0] in ("aim met", "aim MISSED") for line in lines[-2:]] == [True, True]


def test_one_part_alone_leaves_the_aims_of_the_others_open() -> None:
    assert set(link_report.aims({})) == {"sync_small.added_to_plain_ms", "sync_large.share_of_grpc"}
    assert all((aim["found"], aim["met"]) == (None, None) for aim in link_report.aims({}).values())


def test_figures_are_of_pairs_and_not_of_medians() -> None:
    taken = {"plain": [1.0, 2.0, 9.0], "paired": [1.5, 4.0, 10.0]}
    figures = link_report.times(taken, "ms")
    assert figures["plain_ms"] == {"p25": 1500, "p50": 2000, "p75": 5500}
    assert figures["added_to_plain_ms"]["p50"] == 1000
    assert figures["ratio_to_plain"]["p50"] == 1.5
    speeds = link_report.speeds({"grpc": [1.0, 1.0], "paired": [2.0, 4.0]}, 8_000_000)
    assert (speeds["grpc_mb_s"]["p50"], speeds["paired_mb_s"]["p50"]) == (8, 3)
    assert speeds["share_of_grpc"]["p50"] == 0.375
    assert link_report.share({"a": [1.0], "b": [4.0]}, "b", "a") == {"p25": 0.25, "p50": 0.25, "p75": 0.25}


def test_an_aim_is_missed_by_too_much_and_by_too_little() -> None:
    def judged(added_ms: float, share: float) -> list[bool]:
        parts = {
            "sync_small": {"added_to_plain_ms": {"p50": added_ms}},
            "sync_large": {"share_of_grpc": {"p50": share}},
        }
        return [aim["met"] for aim in link_report.aims(parts).values()]

    assert judged(80, 0.5) == [True, True]
    assert judged(80.1, 0.49) == [False, False]


def test_a_missed_aim_is_the_commands_failure_and_stands_out_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(added_ms: float) -> dict[str, Any]:
        small = {"sync_small": {"added_to_plain_ms": {"p25": 1.0, "p50": added_ms, "p75": 99.0}}}
        machine = {"cores": 2, "load_before": 0.0}
        return {"machine": machine, "rounds": 1, **small, "aims": link_report.aims(small)}

    monkeypatch.setattr(link, "run", lambda *_, **__: measured(81))
    assert main(["bench", "link"]) == 1
    assert "aim MISSED: sync_small.added_to_plain_ms is 81, at most 80" in capsys.readouterr().out
    monkeypatch.setattr("cli.output.colours", lambda: True)
    assert main(["bench", "link"]) == 1
    assert "aim \x1b[31m\x1b[1mMISSED\x1b[0m:" in capsys.readouterr().out
    monkeypatch.setattr(link, "run", lambda *_, **__: measured(79))
    assert main(["bench", "link"]) == 0


def test_ctrl_c_at_a_terminal_is_one_line(tmp_path: Path) -> None:
    """It goes to every program that was started there, those that are measured against as well."""
    argv = [sys.executable, "-m", "tandem", "cli", "bench", "link", "--only", "rtt", "--rounds", "1000"]
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        try:
            until = time.monotonic() + 60
            while "1 of " not in (tmp_path / "errors").read_text() and time.monotonic() < until:
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    said = [line for line in (tmp_path / "errors").read_text().splitlines() if " rounds" not in line]
    assert said == ["error: interrupted"]


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], Awaitable[float]]:
        async def measured() -> float:
            order.append(name)
            return float(len(order))

        return measured

    taken = asyncio.run(in_turns({"a": side("a"), "b": side("b")}, 2, lambda: order.append("|")))
    assert "".join(order) == "ab|ba|ab|"
    assert taken == {"a": [5.0, 7.0], "b": [4.0, 8.0]}


def test_options_of_the_link_belong_to_it_alone() -> None:
    for arguments in (["resume", "--delta-mb", "1"], ["soak", "--files", "5"], ["run", "--only", "rtt"]):
        with pytest.raises(BadInput, match=f"{arguments[1]} belongs to `tandem bench link`"):
            bench.main(arguments, standalone_mode=False)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with link_ends.machines(tmp_path_factory.mktemp("link")) as made:
        yield made


def play(ends: link_ends.Ends, scenario: Callable[[Link], Awaitable[None]]) -> None:
    async def run() -> None:
        async with link_ends.linked(ends) as made:
            await scenario(made)

    asyncio.run(run())


def test_the_same_commit_is_really_pushed_to_both_sides(ends: link_ends.Ends, tmp_path: Path) -> None:
    async def scenario(made: Link) -> None:
        size = link_sync.Size(files=120, delta_mb=2)
        base, large = await asyncio.to_thread(link_sync.make, tmp_path / "source.git", size)
        listed = (await git("ls-tree", "-r", "--name-only", large, git_dir=tmp_path / "source.git")).text.splitlines()
        assert len(listed) == 122
        own = await OwnRepository.open(ends.router, tmp_path / "source.git", large)
        sides = link_sync.Sides(made, own.repo_id)
        for name in ("first", "second"):  # which takes the place of the first
            await sides.begin(name, base)
            sides.commit = large
            assert await sides.plain() > 0
            assert await sides.paired() > 0
            (there,) = (ends.worker / "git").glob("*@*.git")  # whose name is a paired router's
            assert there.name.startswith(name)
            for folder in (there, ends.router / "local.git"):
                assert (await git("rev-list", "--count", large, git_dir=folder)).text == "2"
                await git("fsck", "--strict", git_dir=folder)

    play(ends, scenario)


def test_the_paired_floor_is_behind_mutual_tls_and_the_bare_one_is_not(ends: link_ends.Ends) -> None:
    async def scenario(made: Link) -> None:
        assert await floor.stream(made.floor_paired, 300_000) > 0
        assert await floor.stream(made.grpc, 300_000) > 0
        async with aio.insecure_channel(f"127.0.0.1:{ends.ports['paired']}") as plain:
            with pytest.raises(aio.AioRpcError) as caught:
                await plain.unary_unary(floor.ECHO)(b"x", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    play(ends, scenario)
