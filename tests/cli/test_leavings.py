"""`tandem show` of what checks left, and `--artefacts DIR`: the command as a process, against a small server."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli.render.summary import artefact_lines
from tests.cli.little_router import Play, a_whole_run, little_router
from tests.cli.test_command import tandem

LEFT: dict[str, dict[str, bytes]] = {
    "draft": {"coverage.xml": b"<half/>"},
    "head": {"coverage.xml": b"<coverage/>", "htmlcov/a/i.html": b"<p>\x00\xff", "empty.log": b""},
}


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return out.getvalue()


def play(left: dict[str, dict[str, bytes]] = LEFT) -> Play:
    told: list[dict[str, Any]] = [
        {
            "check": kind, "step": f"{kind}.1", "node": "mini", "at_s": 1.0, "trouble": "",
            "files": [{"name": name, "bytes": len(data)} for name, data in files.items()],
            "left_out": [{"name": "big.log", "bytes": 20 << 20, "why": "larger than 4 MiB"}],
        }
        for kind, files in left.items()
    ]  # fmt: skip
    return Play(phases=a_whole_run(), artefacts=told, packed={kind: packed(files) for kind, files in left.items()})


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ALL = {f"{kind}/{name}": data for kind, files in LEFT.items() for name, data in files.items()}


def test_show_says_what_there_is_of_which_check_and_what_was_left_out(tmp_path: Path) -> None:
    with little_router(tmp_path, play()):
        shown = tandem(tmp_path, "show", "1120").stdout
        as_json = json.loads(tandem(tmp_path, "show", "1120", "--json").stdout)
    for line in ("head, left by head.1 on mini", "  coverage.xml  11 B", "  htmlcov/a/i.html  5 B",
                 "  left out: big.log  20.0 MiB: larger than 4 MiB"):  # fmt: skip
        assert f"  {line}\n" in shown
    assert [one["check"] for one in as_json["artefacts"]] == ["draft", "head"]


def test_they_are_written_out_each_under_its_check_for_their_owner(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with little_router(tmp_path, play()):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(out / path) for path in ALL]
    assert files_in(out) == ALL
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.rglob("*") if path.is_file())


def test_what_did_not_come_is_said_with_the_reason(tmp_path: Path) -> None:
    lost = "what the tests left did not come within 60 s"
    for left, shown in (({"draft": {}, "head": LEFT["head"]}, 0), ({"draft": {}, "head": {}}, 2)):
        given = play(left)
        given.artefacts[0]["trouble"] = lost
        with little_router(tmp_path, given):
            done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / f"out{shown}"))
            assert f"\n    {lost}\n" in tandem(tmp_path, "show", "1120").stdout
        assert (done.returncode, f"draft: {lost}" in done.stderr) == (shown, True), done.stderr


def test_with_json_one_object_says_what_was_written(tmp_path: Path) -> None:
    with little_router(tmp_path, play()):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / "out"), "--json")
    written = json.loads(done.stdout)["written"]
    assert written[0] == {"path": str(tmp_path / "out" / "draft" / "coverage.xml"), "bytes": 7}
    assert len(written) == 4


@pytest.mark.parametrize("there", ["file", "link", "folder"])
def test_what_is_there_is_not_written_over_and_nothing_else_is_written(tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    place = out / "head" / "empty.log"
    place.parent.mkdir(parents=True)
    {"file": lambda: place.write_text("mine"), "link": lambda: place.symlink_to(tmp_path / "x"), "folder": place.mkdir}[
        there
    ]()
    before = files_in(out)
    with little_router(tmp_path, play()):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(out))
    assert done.returncode == 2
    assert f"{place} exists, and nothing was written; name another folder" in done.stderr
    assert files_in(out) == before
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with little_router(tmp_path, play()):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_nothing_was_left_the_setting_is_named(tmp_path: Path) -> None:
    for left in ({}, {"head": {}}):
        with little_router(tmp_path, play(left)):
            done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / "out"))
        assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
        assert "check.artefacts says which are" in done.stderr


@pytest.mark.parametrize("name", ["../up", "/up", "a/../../up", "new\nline"])
def test_a_name_that_leads_elsewhere_is_not_written(tmp_path: Path, name: str) -> None:
    with little_router(tmp_path, play({"head": {"fine.log": b"", name: b"x"}})):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / "in" / "out"))
    assert done.returncode == 1
    assert "is not written anywhere" in done.stderr
    assert not (tmp_path / "in").exists()


def test_what_is_no_zip_is_said(tmp_path: Path) -> None:
    torn = play()
    torn.packed["head"] = torn.packed["head"][:-30]
    with little_router(tmp_path, torn):
        done = tandem(tmp_path, "show", "1120", "--artefacts", str(tmp_path / "out"))
    assert (done.returncode, os.path.lexists(tmp_path / "out")) == (1, False)
    assert "what a head check left cannot be unpacked" in done.stderr


def test_what_a_test_called_its_file_cannot_draw_on_the_terminal() -> None:
    told = {"check": "head", "files": [{"name": "a\x1b[2J", "bytes": 1}], "left_out": [{"name": "\u202e", "why": "\r"}]}
    assert all(line.isprintable() for line in artefact_lines([told]))
    assert artefact_lines([{"files": 3, "left_out": None, "trouble": "torn"}])[1:] == ["  torn"]
