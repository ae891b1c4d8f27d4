import pytest

from router.holds import Hold, given_up, kind_of, pause_s
from tandem.errors import BY_NAME, DiskFull, Unreachable


def test_only_what_waiting_helps_against_makes_a_run_wait() -> None:
    waits = {name: kind_of(error("x")) for name, error in BY_NAME.items() if kind_of(error("x"))}
    away = {"Unreachable": "waiting-for-worker", "NotPaired": "waiting-for-worker"}
    assert waits == {**away, "DiskFull": "paused-disk-full"}


def test_the_pause_grows_and_then_stays() -> None:
    pauses = [pause_s(tries) for tries in range(50)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 1
    assert set(pauses[6:]) == {pauses[5]} == {15.0}


@pytest.mark.parametrize("error", [Unreachable, DiskFull])
def test_giving_up_is_the_same_error_with_how_long_it_waited_and_what_to_do(error: type[Unreachable]) -> None:
    ended = given_up(error("worker desk does not answer"), 43_260)
    assert type(ended) is error
    assert ended.message == (
        "worker desk does not answer (waited 721 minutes, router.wait_s); `tandem resume` goes on with the run"
    )


def test_a_hold_is_told_with_its_kind_its_words_and_since_when() -> None:
    hold = Hold(kind="retrying", text="the model does not answer", since_s=3.5)
    assert hold.told() == {"kind": "retrying", "text": "the model does not answer", "since_s": 3.5}
