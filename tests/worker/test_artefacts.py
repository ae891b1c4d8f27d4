"""What a check left, gathered from its tree: real sandboxes, and tests that leave what nobody should take."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem.artefacts import BYTES_MAX, DEFAULT, FILE_BYTES_MAX, FILES_MAX, LEFT_OUT_MAX
from tandem.spool import Spool
from tandem.types import CheckReport, Limits
from tests.support import smalldisk
from tests.support.checkouts import Checkout
from tests.support.smalldisk import small_disk
from tests.support.trees import Trees, known_rung, rung
from worker import artefacts, sandbox
from worker.check import Checker
from worker.workspace import workspace

NAMES = [one.name for one in sandbox.ladder.rungs()]


class Left:
    """What came of a check: its report, what it left by name, what was left out and why, what was told meanwhile."""

    def __init__(self, spool: Spool, report: CheckReport, told: list[tuple[str, str]]) -> None:
        self.report = report
        self.told = [words for stage, words in told if stage == "artefacts"]
        self.files = {file.name: b"".join(spool.read(file)) for file in spool.held}
        self.out = {file.name: (file.size_bytes, file.why) for file in spool.left_out}


def run(
    trees: Trees,
    *patterns: str,
    on: sandbox.Rung | None = None,
    change: Callable[[Any], Any] = lambda request: request,
) -> Left:
    """Check `python run.py` and return what it left of the files that fit the patterns, or the ones of default."""
    used = on or rung()
    spool, told = Spool(trees.state), list[tuple[str, str]]()
    request = dataclasses.replace(trees.check_request("python run.py", "plain"), artefacts=patterns or DEFAULT)
    checker = Checker(trees.state, "here", used, trees.environments(used))
    report = asyncio.run(checker.check(change(request), lambda stage, words: told.append((stage, words)), spool))
    assert trees.leftovers() == []
    return Left(spool, report, told)


def tree(folder: Path, script: str, files: Mapping[str, str] | None = None) -> Trees:
    return Trees(folder, {"run.py": f"import os, pathlib\nP = pathlib.Path\n{script}\n", **(files or {})})


@pytest.mark.parametrize("name", NAMES)
def test_what_the_tests_wrote_comes_back_and_what_was_there_does_not(tmp_path: Path, name: str) -> None:
    trees = tree(
        tmp_path,
        """
P("coverage.xml").write_text("<coverage/>")
P("coverage").mkdir(); P("coverage/lcov.info").write_text("TN:")
P("notes.txt").write_text("nobody asked for it")
P("logs").mkdir(); P("logs/deep.log").write_text("not at the top")
P("changed.log").write_text("new line\\n")
P("rewritten.log").write_text("the same\\n")
raise SystemExit(3)
""",
        {"old.log": "as it was\n", "changed.log": "old line\n", "rewritten.log": "the same\n"},
    )
    left = run(trees, on=known_rung(name))
    assert left.report.verdict == "failed"
    assert left.files == {"coverage.xml": b"<coverage/>", "coverage/lcov.info": b"TN:", "changed.log": b"new line\n"}
    assert (left.out, left.told) == ({}, [])


@pytest.mark.parametrize("name", NAMES)
def test_of_what_is_no_file_of_the_tree_nothing_is_taken_and_it_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("canary")
    trees = tree(
        tmp_path / "t",
        f"""
import socket
os.symlink("/etc/passwd", "coverage.xml")
os.symlink({str(tmp_path)!r}, "coverage")
os.symlink("nowhere", "gone.log")
os.mkfifo("pipe.log")
try:
    socket.socket(socket.AF_UNIX).bind("socket.log")
except OSError:
    P("no-sockets").touch()
P("one.log").write_text("x"); os.link("one.log", "two.log")
try:
    os.link({str(tmp_path / "secret")!r}, "canary.log")
except OSError:
    P("fine.log").write_text("no way out")
""",
        {"linked.log": "x"},
    )
    left = run(trees, *DEFAULT, "coverage/secret", on=known_rung(name))
    assert left.files == {"fine.log": b"no way out"}
    why = {file: words for file, (_, words) in left.out.items() if file != "socket.log"}
    assert why == {
        "coverage.xml": "it is a link, and links are not followed",
        "gone.log": "it is a link, and links are not followed",
        "pipe.log": "it is no file",
        "one.log": "it has a second name (a hard link)",
        "two.log": "it has a second name (a hard link)",
    }
    assert left.told == []


def test_a_link_that_the_commit_has_is_nothing_the_tests_left(tmp_path: Path) -> None:
    checkout = tree(tmp_path, "pass", {"logs/a.txt": "x"})
    (checkout.checkout.root / "a.log").symlink_to("logs/a.txt")
    commit = checkout.checkout.commit({}, "link")
    checkout.checkout.git("push", "-q", str(checkout.bare), "HEAD:refs/tandem/x")
    left = run(checkout, change=lambda request: dataclasses.replace(request, commit=commit))
    assert (left.files, left.out) == ({}, {})


def test_a_folder_that_became_a_link_is_not_gone_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "coverage.xml").write_text("canary")
    trees = Trees(
        tmp_path / "u",
        {"part/run.py": f"import os, shutil\nos.chdir('/')\nshutil.rmtree('/tree/part')\n"
         f"os.symlink({str(tmp_path / 'outside')!r}, '/tree/part')\n"},
    )  # fmt: skip
    left = run(trees, on=known_rung("bubblewrap"), change=lambda request: dataclasses.replace(request, folder="part"))
    assert left.report.verdict == "passed"
    assert (left.files, left.out) == ({}, {})
    assert "could not be gathered" in left.told[0]


def test_what_is_too_large_or_too_much_is_named_with_its_size(tmp_path: Path) -> None:
    trees = tree(
        tmp_path,
        f"""
P("large.log").write_bytes(b"x" * (20 << 20))
with open("sparse.log", "wb") as file: file.truncate({FILE_BYTES_MAX} + 1)
for name in "abc": P(name + ".log").write_bytes(name.encode() * {FILE_BYTES_MAX - 5})
P("little.log").write_bytes(b"fits beside them")
""",
    )
    left = run(trees)
    assert {name: len(data) for name, data in left.files.items()} == {
        "a.log": FILE_BYTES_MAX - 5, "b.log": FILE_BYTES_MAX - 5
    } | ({"little.log": 16} if 2 * (FILE_BYTES_MAX - 5) + 16 <= BYTES_MAX else {})  # fmt: skip
    assert left.out["large.log"] == (20 << 20, "larger than 4 MiB")
    assert left.out["sparse.log"] == (FILE_BYTES_MAX + 1, "larger than 4 MiB")
    assert left.out["c.log"] == (FILE_BYTES_MAX - 5, "with it, it would be more than 8 MiB")


def test_of_many_the_first_patterns_come_first_and_the_others_are_counted(tmp_path: Path) -> None:
    trees = tree(
        tmp_path,
        f"for n in range({FILES_MAX + LEFT_OUT_MAX + 9}): P(f'a{{n:03}}.log').write_text('12345')\n"
        "P('zz.xml').write_text('first')",
    )
    left = run(trees, "zz.xml", "*.log")
    assert list(left.files) == ["zz.xml", *(f"a{n:03}.log" for n in range(FILES_MAX - 1))]
    assert len(left.out) == LEFT_OUT_MAX + 1
    assert left.out[f"a{FILES_MAX - 1:03}.log"] == (5, f"{FILES_MAX} files came before it")
    assert left.out["10 other files"][0] == 50


def test_names_that_could_hide_or_move_something_are_made_safe(tmp_path: Path) -> None:
    trees = tree(
        tmp_path,
        """
P("new\\nline.log").write_text("1")
P("turn\\u202egol.log").write_text("2")
P("back\\\\slash.log").write_text("3")
open(b"byte\\xff.log", "w").write("4")
P("Case.log").write_text("5"); P("case.log").write_text("6")
P("esc\\x1b[2J").mkdir(); P("esc\\x1b[2J/a.log").write_text("7")
P("n" * 199 + ".log").write_text("8")
""",
    )
    left = run(trees, "*.log", "esc*/*.log")
    assert left.files == {
        "new_line.log": b"1", "turn_gol.log": b"2", "back_slash.log": b"3", "byte_.log": b"4", "Case.log": b"5",
        "esc_[2J/a.log": b"7",
    }  # fmt: skip
    assert left.out == {
        "case.log": (1, "another file has that name"),
        "(a name that cannot be used)": (1, "its name cannot be used"),
    }


def test_a_check_that_was_ended_by_a_limit_leaves_what_it_wrote_until_then(tmp_path: Path) -> None:
    trees = tree(tmp_path, "P('last.log').write_text('here it hangs')\nwhile True: pass")
    left = run(trees, change=lambda request: dataclasses.replace(request, limits=Limits(wall_s=2)))
    assert (left.report.verdict, left.files) == ("resource limit", {"last.log": b"here it hangs"})


def test_patterns_go_from_the_folder_of_the_check_and_through_folders(tmp_path: Path) -> None:
    script = "import pathlib\nfor p in ('htmlcov/a', '.hidden'): pathlib.Path(p).mkdir(parents=True)\n"
    script += "for p in ('htmlcov/i.html', 'htmlcov/a/b.html', 'x.log', '../up.log', '.hidden/y.log'):\n"
    script += "    pathlib.Path(p).write_text(p)\n"
    trees = Trees(tmp_path, {"part/run.py": script, "part/htmlcov/old.html": "old"})
    left = run(trees, "htmlcov/**", "*.log", change=lambda request: dataclasses.replace(request, folder="part"))
    assert list(left.files) == ["htmlcov/a/b.html", "htmlcov/i.html", "x.log"]
    everywhere = run(trees, "**/*.log", change=lambda request: dataclasses.replace(request, folder="part"))
    assert list(everywhere.files) == [".hidden/y.log", "x.log"]


def test_a_repository_of_sha256_tells_what_is_unchanged_too(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"a.log": "same", "b.log": "old"}, form="sha256")
    trees = SimpleNamespace(state=tmp_path / "worker", bare=tmp_path / "worker" / "git" / "r.git")
    checkout.git("clone", "-q", "--bare", str(checkout.root), str(trees.bare), at=tmp_path)

    async def main() -> list[str]:
        spool = Spool(tmp_path)
        async with workspace(trees.state, trees.bare, checkout.base) as space:
            (space.tree / "b.log").write_text("new")
            request: Any = SimpleNamespace(folder="", commit=checkout.base, artefacts=("*.log",))
            await artefacts.gather(space, request, trees.bare, spool)
        return [file.name for file in spool.held]

    assert asyncio.run(main()) == ["b.log"]


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"grows.log": 10, "shrinks.log": 1000}
    trees = tree(tmp_path, f"for name, size in {sizes!r}.items(): P(name).write_bytes(b'x' * size)\nP('z.log').touch()")
    fstat = os.fstat

    def lying(number: int) -> os.stat_result:
        """Return what stood there a moment before: 500 bytes of every file that is not empty."""
        about = fstat(number)
        fields = list(about)
        fields[stat.ST_SIZE] = 500 if about.st_size else 0
        return os.stat_result(fields)

    monkeypatch.setattr(artefacts.os, "fstat", lying)
    left = run(trees)
    assert left.files == {"z.log": b""}
    assert {name: why for name, (_, why) in left.out.items()} == dict.fromkeys(sizes, "it changed while it was read")


def test_a_tree_with_too_many_names_is_looked_at_in_part_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "_NAMES_MAX", 50)
    left = run(tree(tmp_path, "for n in range(200): P(f'{n}.txt').touch()"), "**/*.log")
    assert left.out == {"further files": (0, "more than 50 names, or 48 folders in each other")}
    monkeypatch.setattr(artefacts, "_NAMES_MAX", 10**6)
    deep = tree(tmp_path / "deep", "for n in range(99): os.mkdir('d'); os.chdir('d')\nP('x.log').write_text('x')")
    assert list(run(deep, "**/*.log").out) == ["further files"]


def test_without_room_on_the_disk_the_report_comes_and_it_is_said(tmp_path: Path) -> None:
    smalldisk.require(private=False)  # the sandbox has to see it, too
    with small_disk(tmp_path, 48 << 20, private=False) as disk:
        trees = tree(disk.path / "t", "P('a.log').write_text('x')")
        left = run(trees)
        assert (left.report.verdict, left.files) == ("passed", {"a.log": b"x"})
        disk.fill(20 << 20)
        left = run(trees)
    assert (left.report.verdict, left.files) == ("passed", {})
    assert "what the tests left was left behind" in left.told[0]
