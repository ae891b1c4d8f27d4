"""The simulation of placement: what it counts is so, and it sees in others what ours does not do."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from bench import fleet, placement
from cli.__main__ import main
from cli.commands.bench import bench


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    picture = tmp_path_factory.mktemp("placement") / "placement.svg"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "QUICK_FLEETS", (3, 12))
        patch.setattr(placement, "QUICK_CALLS", 500)
        done = CliRunner().invoke(bench, ["placement", "--quick", "--json", "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), picture


def test_every_call_is_answered_once_by_each_way(found: tuple[dict[str, Any], Path]) -> None:
    for ways in found[0]["fleets"].values():
        assert set(ways) == {"ours", "round robin", "shortest queue"}
        for one in ways.values():
            assert (one["answered"], one["answered_twice"]) == (500, 0)
            assert one["moved"] > 0, "workers vanished"


def test_ours_starves_nobody_and_idles_beside_no_waiting_call(found: tuple[dict[str, Any], Path]) -> None:
    for ways in found[0]["fleets"].values():
        ours = ways["ours"]
        assert ours["longest_wait_of_bound"] <= 1, (ours["longest_wait_s"], ours["bound_s"])
        assert (ours["passed_after_ageing"], ours["idle_while_waiting_s"], ours["idle_while_in_a_line_s"]) == (0, 0, 0)
        assert max(ours["longest_wait_s"].values()) > 0, "somebody waited"


def test_what_ours_does_not_do_is_seen_in_the_others(found: tuple[dict[str, Any], Path]) -> None:
    ways = found[0]["fleets"]["12"]
    for name in ("round robin", "shortest queue"):
        assert ways[name]["idle_while_in_a_line_s"] > 10 * ways["ours"]["idle_while_in_a_line_s"]
        assert ways[name]["passed_after_ageing"] > 0
        assert ways[name]["answer_s"]["p99"] > ways["ours"]["answer_s"]["p99"]


def test_the_figures_and_the_picture_are_for_people_too(found: tuple[dict[str, Any], Path]) -> None:
    told = "\n".join(placement.lines(found[0], 100))
    assert "12 workers" in told
    assert "shortest queue" in told
    root = ElementTree.fromstring(found[1].read_text("utf-8"))
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours", "round robin", "shortest queue", "class 10 waits, p99 (s)", "3", "12 workers"} <= texts


def test_an_aim_is_judged_by_the_figure_that_is_shown(found: tuple[dict[str, Any], Path]) -> None:
    told = "\n".join(placement.lines(found[0], 100))
    for name, aim in found[0]["aims"].items():
        assert aim["found"] == found[0][name]
        assert f"aim met: {name} is {aim['found']:g}, at most {aim['at_most']:g}" in told
    for one in found[0]["fleets"]["12"].values():
        idle = [round(one[f"idle_while_{where}_s"]) for where in ("waiting", "in_a_line", "at_a_gone_worker")]
        assert "idle beside a call at the router {} s, in another's line {}, at one just gone {},".format(*idle) in told


def test_where_a_call_waits_beside_an_idle_worker_is_told_apart() -> None:
    """Three calls wait for ten seconds while a worker idles: here, in a line, and at a worker that has just vanished."""
    machines = fleet.workers(3, 1)
    need = placement.Need(kind="call", run="r", model="small")
    asked = [fleet.Call(need=need, reply_tokens=1, came_s=0.0) for _ in range(3)]
    places: list[tuple[dict[int, fleet.Call], int | None, bool]] = [
        ({}, None, True),
        ({2: asked[1]}, 1, True),
        ({3: asked[2]}, 1, False),
    ]
    seen: list[tuple[float, float, float]] = []
    for opened, at, up in places:
        world = fleet.World(machines, asked, placement.Ours(range(3)), seed=1)
        machines[1].busy, machines[1].up = machines[1].places, up
        world._held = {} if opened else {1: asked[0]}
        world._open = opened
        for call in opened.values():
            call.worker = at
        world._idle(10.0)
        seen.append((world.idle_s, world.queued_idle_s, world.gone_idle_s))
    assert seen == [(10, 0, 0), (0, 10, 0), (0, 0, 10)]


def test_an_aim_that_was_missed_is_the_commands_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the command itself, as a shell sees it: nothing decides in no time at all."""
    monkeypatch.setattr(placement, "QUICK_FLEETS", (2,))
    monkeypatch.setattr(placement, "QUICK_CALLS", 50)
    assert main(["bench", "placement", "--quick"]) == 0
    monkeypatch.setitem(placement.AIMS, "decision_us_p99", 0.0)
    assert main(["bench", "placement", "--quick"]) == 1


def test_the_same_seed_draws_the_same_world() -> None:
    one, two = (fleet.workers(20, 1) for _ in range(2))
    assert [worker.info() for worker in one] == [worker.info() for worker in two]
    drawn = [[call.came_s for call in fleet.calls(50, machines, 1)] for machines in (one, two)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != [call.came_s for call in fleet.calls(50, one, 2)]


def test_a_late_answer_counts_as_late_and_not_as_an_answer() -> None:
    """One call on a worker that is cut off and works on, while another answers it."""
    machines = fleet.workers(2, 1)
    asked = [fleet.Call(need=placement.Need(kind="call", run="r", model="small"), reply_tokens=4000, came_s=0.0)]
    world = fleet.World(machines, asked, placement.Ours(range(2)), seed=1)
    for machine in machines:
        machine.token_s = 0.05
        world.policy.heard(machine.key, machine.info(), 0.0)
    world._come(asked[0])
    first = machines[asked[0].worker or 0]
    world.now_s = 5.0
    world._missed(first)
    assert asked[0].worker != first.key
    world.now_s = 200.0
    world._end((first, first.boot, 1))
    assert (world.late, asked[0].ended_s) == (1, None)
    world.now_s = 210.0
    other = machines[asked[0].worker or 0]
    world._end((other, other.boot, 1))
    assert (world.late, world.twice, asked[0].ended_s) == (1, 0, 210.0)
