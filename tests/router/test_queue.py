"""Which run goes next: rules by example, then a whole router's day played with random arrivals."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.queue import Waiting, choose, ordered, urgency
from tandem.types import RunId

AGEING_S = 900.0


def waiting(run: str, priority: int = 1, *, repo: str = "/a", since_s: float = 0, created_s: float = 0) -> Waiting:
    return Waiting(run=RunId(run), repo=repo, priority=priority, since_s=since_s, created_s=created_s)


def first(*queue: Waiting, busy: tuple[str, ...] = (), now_s: float = 0, per_repo: int = 1) -> str | None:
    chosen = choose(queue, busy, now_s, per_repo=per_repo, ageing_s=AGEING_S)
    return chosen.run if chosen else None


def test_the_smaller_number_goes_first_and_of_equals_the_older() -> None:
    assert first(waiting("batch", 5), waiting("mine", 1)) == "mine"
    assert first(waiting("new", created_s=2), waiting("old", created_s=1)) == "old"
    assert first(waiting("b"), waiting("a")) == "a"


def test_after_the_ageing_time_a_run_stands_beside_the_next_priority() -> None:
    old = waiting("old", 2, since_s=0)
    assert first(old, waiting("new", 1, since_s=AGEING_S - 1), now_s=AGEING_S) == "new"
    assert first(old, waiting("new", 1, since_s=AGEING_S + 1), now_s=2 * AGEING_S) == "old"


def test_a_busy_repository_is_passed_over_and_holds_nobody_else_up() -> None:
    queue = [waiting("same", repo="/a"), waiting("other", 9, repo="/b")]
    assert first(*queue, busy=("/a",)) == "other"
    assert first(*queue, busy=("/a",), per_repo=2) == "same"
    assert first(*queue, busy=("/a", "/b")) is None
    assert first() is None


WAITING = st.builds(
    Waiting,
    run=st.text("ab", min_size=1, max_size=3).map(RunId),
    repo=st.sampled_from(["/a", "/b", "/c"]),
    priority=st.integers(1, 10),
    since_s=st.floats(0, 1e6),
    created_s=st.floats(0, 1e6),
)
QUEUES = st.lists(WAITING, max_size=12, unique_by=lambda one: one.run)


@given(QUEUES, st.lists(st.sampled_from(["/a", "/b", "/c"]), max_size=4), st.integers(1, 3), st.randoms())
def test_one_queue_has_one_order_however_it_is_handed_in(
    queue: list[Waiting], busy: list[str], per_repo: int, rnd: random.Random
) -> None:
    now_s = 1e6
    mixed = rnd.sample(queue, len(queue))
    assert ordered(mixed, now_s, ageing_s=AGEING_S) == ordered(queue, now_s, ageing_s=AGEING_S)
    chosen = choose(queue, busy, now_s, per_repo=per_repo, ageing_s=AGEING_S)
    assert choose(mixed, rnd.sample(busy, len(busy)), now_s, per_repo=per_repo, ageing_s=AGEING_S) == chosen
    may = [one for one in queue if busy.count(one.repo) < per_repo]
    assert (chosen is None) == (not may), "a free place stays empty only where nobody may have it"
    if chosen:
        assert chosen in may
        assert urgency(chosen, now_s, AGEING_S) == min(urgency(one, now_s, AGEING_S) for one in may)


@given(WAITING, WAITING, st.floats(0, 1e6))
def test_who_goes_first_does_not_change_with_time_alone(one: Waiting, two: Waiting, later_s: float) -> None:
    def ahead_s(now_s: float) -> float:
        return AGEING_S * (urgency(two, now_s, AGEING_S)[0] - urgency(one, now_s, AGEING_S)[0])

    assert abs(ahead_s(1e6) - ahead_s(1e6 + later_s)) < 1e-3  # seconds; floats do not come closer


@dataclass
class Day:
    """A router that is always offered work: what happened, at which second."""

    places: int
    per_repo: int
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def play(self, arrivals: list[tuple[float, str, int, float]]) -> None:
        """Play runs given as (arrival, repository, priority, seconds of work), and look at every moment."""
        coming = sorted(enumerate(arrivals), key=lambda one: one[1][0])
        queue: dict[str, Waiting] = {}
        work_s = {f"r{number}": spent for number, (_, _, _, spent) in enumerate(arrivals)}
        active: dict[str, tuple[float, str]] = {}
        while coming or queue or active:
            now_s = min([end for end, _ in active.values()] + [arrival[0] for _, arrival in coming[:1]])
            for run in [run for run, (end, _) in active.items() if end <= now_s]:
                self.ended[run] = now_s
                del active[run]
            while coming and coming[0][1][0] <= now_s:
                number, (at_s, repo, priority, _) = coming.pop(0)
                queue[f"r{number}"] = waiting(f"r{number}", priority, repo=repo, since_s=at_s, created_s=at_s)
            while len(active) < self.places:
                repos = [repo for _, repo in active.values()]
                one = choose(queue.values(), repos, now_s, per_repo=self.per_repo, ageing_s=AGEING_S)
                if one is None:
                    break
                del queue[one.run]
                self.began[one.run] = now_s
                active[one.run] = (now_s + work_s[one.run], one.repo)
            busy = Counter(repo for _, repo in active.values())
            assert max(busy.values(), default=0) <= self.per_repo
            idle = self.places - len(active)
            assert not idle or all(busy[one.repo] >= self.per_repo for one in queue.values()), "work was left lying"
            assert active or not queue


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 20_000).map(float), st.sampled_from("abc"), st.integers(1, 10), st.integers(1, 2000)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(ARRIVALS, st.integers(1, 4), st.integers(1, 3))
def test_every_run_has_its_turn_once_and_no_repository_has_too_many(
    arrivals: list[tuple[float, str, int, float]], places: int, per_repo: int
) -> None:
    day = Day(places, per_repo)
    day.play(arrivals)
    assert day.began.keys() == day.ended.keys() == {f"r{number}" for number in range(len(arrivals))}


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 10), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
@example(10, 1, 1, 0)
@example(10, 3, 1, 0)
def test_a_batch_is_served_however_many_tasks_of_persons_keep_coming(
    priority: int, places: int, per_repo: int, seed: int
) -> None:
    rnd = random.Random(seed)
    spent_s, grown_s = 600.0, (priority - 1) * AGEING_S
    busy = [(0.0, repo, 1, spent_s) for repo in "ab" for _ in range(places)]
    persons = [(float(at), rnd.choice("ab"), 1, spent_s) for at in range(2, 12_000, int(spent_s / places / 2))]
    day = Day(places, per_repo)
    day.play([(1.0, "a", priority, spent_s), *busy, *persons])  # twice as much work as there are places, all urgent
    before = [at for number, (at, repo, *_) in enumerate([*busy, *persons], 1)
              if repo == "a" and day.began[f"r{number}"] < day.began["r0"]]  # fmt: skip
    assert max(before) <= 1 + grown_s, "who comes when it has grown as urgent does not pass it"
