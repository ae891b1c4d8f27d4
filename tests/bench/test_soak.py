"""The soak: its form and its counting with a few runs, and with full counts that nothing grows but what may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import samples, soak, soak_report
from cli.commands.bench import bench
from tandem.errors import BadInput

SOAK = bool(os.environ.get("TANDEM_SOAK"))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """Return what a soak of three runs found, what it said meanwhile, and the picture."""
    plot = tmp_path_factory.mktemp("soak") / "soak.svg"
    arguments = ["soak", "--runs", "3", "--sample", "2", "--json", "--plot", str(plot)]
    said = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    return json.loads(said.stdout), said.stderr, plot.read_text("utf-8")


def test_every_run_is_counted_and_was_merged(played: tuple[dict[str, Any], str, str]) -> None:
    found, progress, _ = played
    assert (found["runs"], found["ended"], found["messages"]) == (3, {"merged": 3}, [])
    assert [sample["runs"] for sample in found["samples"]] == [0, 2, 3]
    assert found["worker_starts"] == 1
    assert [line.split(" runs")[0] for line in progress.splitlines()] == ["2 of 3", "3 of 3"]


def test_what_the_state_folder_holds_is_counted_and_cleared(played: tuple[dict[str, Any], str, str]) -> None:
    found, _, _ = played
    before, after = (sample["state"] for sample in (found["samples"][0], found["samples"][-1]))
    assert before["references"] == before["git_bytes"] == before["record_bytes"] == 0
    assert after["references"] % 3 == 0  # each run leaves as many as any other
    assert after["references"] >= 3 * 4  # a base, and drafts
    assert after["journal_bytes"] > before["journal_bytes"]
    assert after["state_bytes"] > after["git_bytes"] + after["record_bytes"] + after["log_bytes"] > 0
    left = found["after_gc"]["state"]
    assert left["references"] == left["git_bytes"] == left["record_bytes"] == 0


def test_processes_are_looked_at_and_too_few_runs_are_not_judged(played: tuple[dict[str, Any], str, str]) -> None:
    found, _, _ = played
    for part in ("router", "worker"):
        assert found[part]["memory_bytes"]["last"] > 1 << 20
        assert found[part]["threads"]["last"] >= 1
        assert found[part]["children"]["last"] == 0
        assert (found[part]["descriptors"] is None) == (sys.platform != "linux")
        assert found[part]["cpu_ms_per_run"]["last"] >= 0
        assert all(found[part][name]["steady"] is None for name in soak_report.HELD if found[part][name])
    assert found["samples"][-1]["router"]["pid"] != found["samples"][-1]["worker"]["pid"]


def test_the_report_has_a_line_for_every_figure_and_the_picture_a_panel(
    played: tuple[dict[str, Any], str, str],
) -> None:
    found, _, picture = played
    told = "\n".join(soak.lines(found, 120))
    assert "3 merged" in told
    assert "GROWS" not in told
    for title in ("memory (MiB)", "journal (MiB)", "references", "packs", "cpu per run (ms)"):
        assert f">{title}</text>" in picture
    assert all(word in told for word in ("memory", "journal", "references", "packs", "cpu per run"))


_OPENS = """
import sys
sum(range(5_000_000))  # some ticks of the processor's clock
print("up", flush=True)
folder = sys.stdin.readline().strip()
opened = [open(f"{folder}/{number}", "w") for number in range(10)]
print("open", flush=True)
sys.stdin.readline()
"""


def test_what_a_process_holds_is_read_from_the_system(tmp_path: Path) -> None:
    # a process of its own: in this one, threads of other tests may close what is theirs between the two looks
    with subprocess.Popen([sys.executable, "-c", _OPENS], stdin=-1, stdout=-1, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        before = samples.held(process.pid)
        process.stdin.write(f"{tmp_path}\n")
        assert process.stdout.readline() == "open\n"
        after = samples.held(process.pid)
        process.stdin.close()
    if sys.platform == "linux":
        assert before.descriptors is not None
        assert after.descriptors == before.descriptors + 10
    assert after.memory_bytes > 1 << 20
    assert after.cpu_ms >= before.cpu_ms > 0


def test_options_of_another_bench_are_refused() -> None:
    for arguments in (["soak", "--rounds", "3"], ["resume", "--runs", "3"], ["run", "--plot", "x.svg"]):
        with pytest.raises(BadInput, match="belongs to"):
            bench.main(arguments, standalone_mode=False)


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="full counts are `make soak`'s; this takes half an hour")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("runs", "checks"), [(1000, "noop"), (100, "real")])
def test_nothing_grows_but_what_may(runs: int, checks: soak.Checks) -> None:
    found = soak.run(runs, checks)
    told = "\n".join(soak.lines(found, 120))
    assert found["ended"] == {"merged": runs}, told
    assert found["worker_starts"] == 1, told
    grows = [
        f"{part} {name}" for part in ("router", "worker") for name in soak_report.HELD if _grows(found[part][name])
    ]
    assert not grows, told
    left = found["after_gc"]["state"]
    assert left["references"] == left["git_bytes"] == left["record_bytes"] == 0, told


def _grows(told: dict[str, Any] | None) -> bool:
    return told is not None and told["steady"] is False
