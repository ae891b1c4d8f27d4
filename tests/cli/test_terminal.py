"""What a person sees and types: the command at a pseudo-terminal, against a small server that speaks the API."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.little_router import QUESTION, Play, a_whole_run, little_router

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, state: Path, *arguments: str, **env: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TANDEM_") and k != "NO_COLOR"}
        about = {"TANDEM_STATE": str(state), "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self._own, theirs = pty.openpty()
        os.set_inheritable(theirs, True)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tandem", "cli", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, **about, **env}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, words: str, wait_s: float = 20.0) -> None:
        """Read until `words` were shown since the last thing typed."""
        until = time.monotonic() + wait_s
        while words not in self.shown:
            if time.monotonic() > until:
                self.child.kill()
                self.child.wait()
                pytest.fail(f"{words!r} was not shown: {self.shown}")
            self._read(0.2)

    def type(self, line: str) -> None:
        """Type a line."""
        self.shown = ""
        os.write(self._own, f"{line}\n".encode())

    def end(self, wait_s: float = 20.0) -> int:
        """Read to the end and return the exit code."""
        until = time.monotonic() + wait_s
        while self._read(0.2):
            assert time.monotonic() < until, self.shown
        os.close(self._own)
        return self.child.wait(10)

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._own], [], [], wait_s)[0]:
            return self.child.poll() is None
        try:
            piece = os.read(self._own, 65536)
        except OSError:
            return False  # Linux: the other end is closed
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)


@pytest.fixture
def play() -> Play:
    return Play(phases=a_whole_run(rehearsed=True), question=QUESTION, rehearsed=True)


def test_the_change_is_shown_and_approved_where_the_person_sits(tmp_path: Path, play: Play) -> None:
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "run", "x", "--repo", str(tmp_path))
        terminal.until("leave it waiting >")
        before = terminal.shown
        terminal.type("a")
        assert terminal.end() == 0
    assert play.decision == {"question": QUESTION["id"], "digest": QUESTION["digest"], "choice": "approve"}
    for told in ("planner", "rehearsal: no model was asked", "red, as they must be", "proof: red 2 failing",
                 "Merge this change into main?", "return text.upper()", "[a]pprove", "[c]omment"):  # fmt: skip
        assert told in before
    assert "\x1b[32m" in before  # what was added is green
    assert "merged" in terminal.shown


def test_comments_are_collected_and_sent_back_to_the_coder(tmp_path: Path, play: Play) -> None:
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "approve")
        terminal.until("leave it waiting >")
        terminal.type("c nonsense")
        terminal.until("that is not PATH:LINE: TEXT")
        terminal.type("nowhere.py:1: what?")
        terminal.until("the diff has no file 'nowhere.py'")
        terminal.type("words.py:3: 왜 대문자?")
        terminal.until("> ")
        terminal.type("")
        terminal.until("omment on a line (1)")
        terminal.type("change")
        terminal.until("in your words")
        terminal.type("please explain")
        terminal.end()
    assert play.decision is not None
    assert (play.decision["choice"], play.decision["text"]) == ("change", "please explain")
    assert play.decision["comments"] == [{"path": "words.py", "line": 3, "text": "왜 대문자?"}]


def test_leaving_the_question_leaves_the_run_waiting(tmp_path: Path, play: Play) -> None:
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "run", "x", "--repo", str(tmp_path))
        terminal.until("leave it waiting >")
        terminal.type("what")
        terminal.until("none of the choices")
        terminal.type("q")
        assert terminal.end() == 3
    assert play.decision is None
    assert "`tandem approve 1120-abcdefg`" in terminal.shown


def test_no_input_asks_nothing_at_a_terminal(tmp_path: Path, play: Play) -> None:
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "run", "x", "--repo", str(tmp_path), "--no-input")
        assert terminal.end() == 3
    assert "leave it waiting >" not in terminal.shown


def test_no_color_means_no_colours(tmp_path: Path, play: Play) -> None:
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "approve", NO_COLOR="1")
        terminal.until("leave it waiting >")
        shown = terminal.shown
        terminal.type("q")
        terminal.end()
    assert "\x1b[3" not in shown


def test_ctrl_c_takes_the_block_away_and_cancels(tmp_path: Path) -> None:
    play = Play(phases=[a_whole_run()[0][:3]], hang_after=True)
    with little_router(tmp_path, play):
        terminal = Terminal(tmp_path, "run", "x", "--repo", str(tmp_path))
        terminal.until("Ctrl-C stops")
        os.kill(terminal.child.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert "tandem resume 1120-abcdefg" in terminal.shown
    assert terminal.shown.rstrip().endswith("goes on with it")
    assert "\x1b[?25h" in terminal.shown  # the cursor is back


def test_the_screen_is_redrawn_ten_times_a_second_at_most(tmp_path: Path) -> None:
    tokens = [
        ("call.tokens", {"step": "code.1", "persona": "coder", "tokens": n, "tokens_s": 9.0, "tail": f"word{n} "})
        for n in range(400)
    ]
    play = Play(phases=[[("step.started", {"step": "code.1", "title": "code"}), *tokens]])
    with little_router(tmp_path, play):
        began = time.monotonic()
        terminal = Terminal(tmp_path, "watch")
        assert terminal.end() == 0
        lasted_s = time.monotonic() - began
    assert terminal.shown.count("Ctrl-C stops") <= 10 * lasted_s + 2
