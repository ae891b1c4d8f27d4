"""The bench of the judge: its figures as people read them."""

import pytest

from bench import check
from cli.__main__ import main


def test_the_figures_are_said_in_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"bare_ms": 100.0, "draft_ms": 20.0, "sealed_ms": 30.0, "twins_ms": 400.0, "rounds": 5}
    found = {"aim_ms": 150.0, "pytest": measured, "unittest": {"not_run": "no such program"}, "node": measured}
    monkeypatch.setattr(check, "run", lambda quick: found)
    assert main(["bench", "check"]) == 0
    said = capsys.readouterr().out
    assert "pytest    bare 100 ms; a draft +20; sealed +30 and the twins' own 400 (5 rounds)" in said
    assert "unittest  not run: no such program" in said
