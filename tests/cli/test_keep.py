"""`tandem gc`, `export` and `import`, against a server that answers each call from a table."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.commands.keep import size
from tandem import __version__
from tandem.paths import socket_path

RUN = "1120-abcdefg"
STATUS = {"version": __version__, "pid": 1, "ready": True, "runs": {}, "models": {}, "nodes": []}
Answers = dict[str, tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def tandem(state: Path, *arguments: str, **env: str) -> Said:
    """Run a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for key, value in {"TANDEM_STATE": str(state), **env}.items():
            patch.setenv(key, value)
        code = main(list(arguments))
    return Said(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextmanager
def answering(state: Path, answers: Answers) -> Generator[list[tuple[str, Any]]]:
    """Serve `answers` by path, and yield what was posted."""
    posted: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(*({"/v1/status": (200, STATUS)} | answers)[self.path])

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            posted.append((self.path, body))
            self._send(*answers[self.path])

        def _send(self, status: int, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    path = socket_path(state, "router")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield posted
        finally:
            server.shutdown()
            thread.join(5)
            path.unlink(missing_ok=True)


# --- gc -----------------------------------------------------------------------------------------------------------

CLEARED = {
    "dry_run": False,
    "freed": [
        {"what": "runs", "count": 2, "bytes": 1_500_000},
        {"what": "environments on the worker", "count": 1, "bytes": 2_500_000_000},
    ],
    "troubles": ["nothing was cleared in a.git: \x1b[31mbroken"],
}


def test_what_was_freed_is_a_table_with_a_sum_and_troubles_are_remarks(tmp_path: Path) -> None:
    with answering(tmp_path, {"/v1/clear": (200, CLEARED)}) as posted:
        done = tandem(tmp_path, "gc")
    assert done.returncode == 0
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "count size", "runs 2 1.5 MB", "environments on the worker 1 2.5 GB", "2.5 GB freed"
    ]  # fmt: skip
    assert done.stderr.splitlines()[-1] == "nothing was cleared in a.git: ⟨U+001B⟩[31mbroken"
    assert posted == [("/v1/clear", {"dry_run": False})]


def test_a_dry_run_says_what_could_be_freed_and_the_options_reach_the_router(tmp_path: Path) -> None:
    with answering(tmp_path, {"/v1/clear": (200, CLEARED | {"dry_run": True, "troubles": []})}) as posted:
        done = tandem(tmp_path, "gc", "--dry-run", "--older-than", "0.5", "--run", "abcd")
        as_json = tandem(tmp_path, "gc", "--older-than", "0", "--json")
    assert done.stdout.splitlines()[-1] == "2.5 GB could be freed"
    assert json.loads(as_json.stdout)["freed"] == CLEARED["freed"]
    assert [body for _, body in posted] == [
        {"dry_run": True, "days": 0.5, "run": "abcd"}, {"dry_run": False, "days": 0.0}
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [
    {"dry_run": False, "freed": [], "troubles": []}, {}, {"freed": None, "troubles": None}, {"freed": [5, "x"]},
])  # fmt: skip
def test_where_nothing_goes_that_is_said(tmp_path: Path, answer: dict[str, Any]) -> None:
    with answering(tmp_path, {"/v1/clear": (200, answer)}):
        done = tandem(tmp_path, "gc")
    assert (done.returncode, done.stdout) == (0, "nothing is old enough to go\n")


@pytest.mark.parametrize("arguments", [
    ["--older-than", "-1"], ["--older-than", "x"], ["--run", "a/b"], ["--run", ""], ["more"],
])  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_a_router_is_asked(tmp_path: Path, arguments: list[str]) -> None:
    done = tandem(tmp_path, "gc", *arguments)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_the_router_s_no_is_the_command_s(tmp_path: Path) -> None:
    error = {"class": "Conflict", "message": "run 1120-a is running; `tandem cancel` first", "exit_code": 5}
    with answering(tmp_path, {"/v1/clear": (409, {"error": error})}):
        done = tandem(tmp_path, "gc", "--run", "1120-a", "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout.splitlines()[-1])["error"]["class"] == "Conflict"


@pytest.mark.parametrize(("count", "words"), [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5_000_000_000, "5.0 GB"),
])  # fmt: skip
def test_bytes_are_said_as_people_read_them(count: int, words: str) -> None:
    assert size(count) == words


# --- export -------------------------------------------------------------------------------------------------------


def exporting(file: str) -> Answers:
    told = {"run": RUN, "file": file, "bytes": 12_345, "moved": False}
    return {"/v1/runs/abc": (200, {"run": RUN}), f"/v1/runs/{RUN}/export": (200, told)}


def test_an_export_is_written_here_under_the_run_s_whole_name_unless_one_is_given(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with answering(tmp_path / "state", exporting("/x/r.tandem")) as posted:
        done = tandem(tmp_path / "state", "export", "abc")
        tandem(tmp_path / "state", "export", "abc", "sub/../r", "--move")
        tandem(tmp_path / "state", "export", "abc", "~/r.tandem", HOME=str(home))
        as_json = tandem(tmp_path / "state", "export", "abc", "--json")
    assert done.stdout == "/x/r.tandem  (12.3 kB)\n"
    assert f"`tandem import {RUN}.tandem` takes it in" in done.stderr
    assert [body for _, body in posted] == [
        {"file": str(Path.cwd() / f"{RUN}.tandem"), "move": False},
        {"file": str(Path.cwd() / "sub/../r"), "move": True},
        {"file": str(home / "r.tandem"), "move": False},
        {"file": str(Path.cwd() / f"{RUN}.tandem"), "move": False},
    ]
    assert json.loads(as_json.stdout)["bytes"] == 12_345


@pytest.mark.parametrize(
    "arguments", [["export", "abc", "~nobody-by-that-name/x"], ["import", "~nobody-by-that-name/x"]]
)
def test_a_home_that_is_nobody_s_is_said_so(tmp_path: Path, arguments: list[str]) -> None:
    with answering(tmp_path, exporting("/x")) as posted:
        done = tandem(tmp_path, *arguments)
    assert (done.returncode, posted) == (2, [])
    assert "nobody-by-that-name" in done.stderr
    assert "unforeseen" not in done.stderr


# --- import -------------------------------------------------------------------------------------------------------


def test_a_file_is_taken_in_for_this_folder_or_the_one_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "r.tandem"
    file.touch()
    told = {"run": RUN, "state": "waiting", "repo": "/somewhere", "commit": None, "verdict": None, "message": ""}
    with answering(tmp_path / "state", {"/v1/import": (200, told)}) as posted:
        done = tandem(tmp_path / "state", "import", str(file))
        tandem(tmp_path / "state", "import", os.path.relpath(file), "--repo", str(tmp_path))
        as_json = tandem(tmp_path / "state", "import", str(file), "--json")
    assert done.stdout.splitlines()[0] == f"waiting: {RUN}"
    assert f"`tandem approve {RUN}`" in done.stdout
    assert [(Path(body["file"]).resolve(), body["repo"]) for _, body in posted] == [
        (file, str(Path.cwd())), (file, str(tmp_path)), (file, str(Path.cwd()))
    ]  # fmt: skip
    assert list(json.loads(as_json.stdout))[:5] == ["run", "repo", "state", "commit", "verdict"]


def test_a_file_that_is_not_there_is_refused_before_a_router_is_asked(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("none", "folder", "n" * 300):
        done = tandem(tmp_path / "state", "import", str(tmp_path / name))
        assert done.returncode == 2
        assert "there is no file" in done.stderr
        assert "`tandem export RUN` on the other machine writes one" in done.stderr
    assert not (tmp_path / "state").exists()
