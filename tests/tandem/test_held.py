"""A lock that is taken in turns: who waits, how long, and what is left of it."""

import threading
from pathlib import Path

import pytest

from tandem import held
from tandem.errors import Conflict

BUSY = Conflict("somebody else is at it")


def test_whoever_comes_while_it_is_held_has_a_turn_when_it_is_free(tmp_path: Path) -> None:
    order, is_in = list[str](), threading.Event()

    def other() -> None:
        is_in.wait(20)
        with held.in_turn(tmp_path / "lock", 20, BUSY):
            order.append("other")

    waiting = threading.Thread(target=other)
    waiting.start()
    with held.in_turn(tmp_path / "lock", 20, BUSY):
        is_in.set()
        waiting.join(0.3)
        order.append("first")
    waiting.join(20)
    assert order == ["first", "other"]


def test_nobody_waits_longer_than_they_said(tmp_path: Path) -> None:
    with held.in_turn(tmp_path / "lock", 0, BUSY):
        with pytest.raises(Conflict, match="somebody else is at it"), held.in_turn(tmp_path / "lock", 0.1, BUSY):
            raise AssertionError("two hold it")
        with (
            pytest.raises(Conflict),
            held.in_turn(tmp_path / "lock", 0, BUSY),
        ):  # the one that gave up let go of nothing
            raise AssertionError("two hold it")


def test_a_turn_ends_with_whatever_was_raised_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in the midst"), held.in_turn(tmp_path / "lock", 0, BUSY):
        raise ValueError("in the midst")
    with held.in_turn(tmp_path / "lock", 0, BUSY):
        pass
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_behind_a_link_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), held.in_turn(tmp_path / "lock", 0, BUSY):
        raise AssertionError("it was followed")
    assert not (tmp_path / "elsewhere").exists()
