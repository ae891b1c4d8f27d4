"""The router's books: who has which place, and who waits. Any order of arrivals, ends and descriptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.allotment import Allotment
from router.placement import Need
from tandem.errors import ResourceExhausted, Unreachable
from tandem.types import Load, ModelInfo, NodeInfo

MODELS = ("large", "small")


def says(name: str, *models: str, load: Load | None = None, boot: str = "b", sandbox: str = "") -> NodeInfo:
    offered = tuple(ModelInfo(name=model, backend="ollama", resident=True) for model in models)
    calls = load or Load(places=1)
    return NodeInfo(
        name=name, boot_id=boot, version="1", protocol=1, platform="Linux", models=offered, calls=calls, checks=calls,
        sandbox=sandbox,
    )  # fmt: skip


def books(*nodes: NodeInfo, **more: float) -> Allotment:
    made = Allotment(**more)  # type: ignore[arg-type]
    made.keep(range(len(nodes)))
    for key, info in enumerate(nodes):
        made.heard(key, info, asked_s=0.0, here=False)
    return made


def call(model: str = "large", *, run: str = "r", priority: int = 1, persona: str = "coder", tokens: int = 0) -> Need:
    return Need(kind="call", run=run, model=model, priority=priority, persona=persona, prompt_tokens=tokens)


def test_two_calls_at_once_go_to_two_nodes_and_the_third_waits_for_the_first_that_is_free() -> None:
    made = books(says("a", "large"), says("b", "large"))
    first, second = made.arrive(1, call(), 0), made.arrive(2, call(), 0)
    assert first is not None
    assert second is not None
    assert {first.name, second.name} == {"a", "b"}
    assert made.arrive(3, call(), 0) is None
    made.leave(2, 1)
    assert [(ticket, choice.key) for ticket, choice in made.ready(1)] == [(3, second.key)]


def test_lower_numbers_go_first_until_waiting_has_made_up_for_it() -> None:
    made = books(says("a", "large"), ageing_s=10)
    made.arrive(1, call(), 0)
    made.arrive(2, call(priority=3), 0)  # counts as priority 1 from 20 s on
    for ticket, now_s in ((3, 5.0), (4, 21.0)):
        assert made.arrive(ticket, call(priority=1), now_s) is None
    order: list[int] = []
    for last in (1, 3, 2):
        made.leave(last, 22.0)
        order += [ticket for ticket, _ in made.ready(22.0)]
    assert order == [3, 2, 4]


def test_whoever_wants_another_model_is_not_held_up() -> None:
    made = books(says("a", "large"), says("b", "small"))
    made.arrive(1, call("large"), 0)
    made.arrive(2, call("large", priority=1), 0)
    assert made.arrive(3, call("small", priority=10), 0) is not None


def test_one_more_than_may_wait_is_refused() -> None:
    made = books(says("a", "large"), waiting_max=1)
    made.arrive(1, call(), 0)
    made.arrive(2, call(), 0)
    with pytest.raises(ResourceExhausted, match="1 calls wait for a worker already"):
        made.arrive(3, call(), 0)


def test_what_a_node_says_of_our_own_calls_is_not_counted_twice() -> None:
    made = books(says("a", "large", load=Load(places=2)))
    made.arrive(1, call(), 1)
    made.heard(0, says("a", "large", load=Load(places=2, running={1: 1})), asked_s=2)
    assert made.arrive(2, call(), 2) is not None, "one of two places is free"
    made.leave(1, 3)
    made.heard(0, says("a", "large", load=Load(places=2, running={1: 2})), asked_s=2.5)  # as both were there
    assert made.arrive(3, call(), 4) is not None


def test_what_others_have_there_is_counted_until_the_node_says_otherwise() -> None:
    made = books(says("a", "large", load=Load(places=1, running={1: 1})))
    choice = made.arrive(1, call(), 0)
    assert choice is not None, "others' calls end without a word to us, so one of ours waits there"
    assert "full, 0 before it" in choice.why
    assert made.arrive(2, call(), 0) is None
    made.leave(1, 1)
    made.heard(0, says("a", "large"), asked_s=2)
    (taken,) = made.ready(2)
    assert (taken[0], "a place is free" in taken[1].why) == (2, True)


def test_a_node_that_is_lost_gets_nothing_and_who_waits_for_it_alone_is_told() -> None:
    made = books(says("a", "large"), says("b", "small"))
    made.arrive(1, call("large"), 0)
    made.arrive(2, call("large"), 0)
    made.lost(0)
    made.leave(1, 1)
    assert made.ready(1) == []
    ((ticket, error),) = made.hopeless()
    assert (ticket, type(error), made.waiting) == (2, Unreachable, 0)
    made.heard(0, says("a", "large"), asked_s=2)
    assert made.arrive(3, call("large"), 2) is not None


def test_a_node_never_heard_of_may_be_anything() -> None:
    made = Allotment()
    made.keep([1, 2])
    made.heard(1, says("a", "small"), asked_s=0)
    with pytest.raises(Unreachable, match="a worker that does not answer may"):
        made.arrive(1, call("large"), 0)
    made.keep([1])
    with pytest.raises(Exception, match="no node has the model"):
        made.arrive(2, call("large"), 0)


@pytest.mark.parametrize(("boot", "stays"), [("b", True), ("another", False)])
def test_a_persona_goes_back_to_the_process_that_read_its_beginning(boot: str, *, stays: bool) -> None:
    made = books(*(says(f"n{key}", "large") for key in range(8)))
    need = call(tokens=8000)
    usual = made.arrive(1, need, 0)
    assert usual is not None
    made.leave(1, 1)
    warm = (usual.key + 1) % 8
    made.served(warm, need, None)
    made.heard(warm, says(f"n{warm}", "large", boot=boot), asked_s=2)
    again = made.arrive(2, need, 2)
    assert again is not None
    assert again.key == (warm if stays else usual.key)


def test_the_pace_that_was_seen_counts_and_later_ones_more_than_the_first() -> None:
    made = books(says("a", "large"))
    for token_s in (0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2):
        made.served(0, call(), token_s)
    assert 0.19 < made.nodes[0].token_s["large"] < 0.2
    made.served(0, call(), None)
    assert 0.19 < made.nodes[0].token_s["large"] < 0.2


@given(st.lists(st.tuples(st.integers(1, 10), st.floats(0, 5)), min_size=1, max_size=60))
def test_no_class_starves_however_many_of_a_higher_one_come(arrivals: list[tuple[int, float]]) -> None:
    """One place, one second a call: a call waits at most for those before it, and those that came while it aged."""
    made, ageing_s, now_s = books(says("a", "large"), ageing_s=2.0), 2.0, 0.0
    came: dict[int, tuple[float, int]] = {}
    begun: dict[int, float] = {}
    pending, serving = list(enumerate(arrivals, 1)), 0
    while pending or made.waiting or serving:
        if pending:
            ticket, (priority, gap_s) = pending.pop(0)
            now_s += gap_s
            came[ticket] = now_s, priority
            if made.arrive(ticket, call(priority=priority), now_s) is not None:
                begun[ticket], serving = now_s, ticket
        if serving and (not pending or now_s - begun[serving] >= 1.0):
            now_s = max(now_s, begun[serving] + 1.0)
            made.leave(serving, now_s)
            serving = 0
            for ticket, _ in made.ready(now_s):
                begun[ticket], serving = now_s, ticket
    assert set(begun) == set(came)
    for ticket, (at_s, priority) in came.items():
        passed = [
            other
            for other, (its_s, _) in came.items()
            if its_s > at_s + (priority - 1) * ageing_s and begun[other] < begun[ticket]
        ]
        assert not passed, "once it stands beside the first class, nobody who comes later passes it"


class Books(RuleBasedStateMachine):
    """Calls come and go and nodes say things; a waiting call never faces a free place, and no place is taken twice."""

    @initialize(places=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def begin(self, places: list[int]) -> None:
        self.places = places
        self.made = Allotment()
        self.made.keep(range(len(places)))
        self.now_s, self.tickets = 0.0, 0
        self.at: dict[int, int] = {}  # ticket to node
        self.waits: dict[int, str] = {}
        self.away: set[int] = set()
        for key in range(len(places)):
            self.say(key)

    def models(self, key: int) -> tuple[str, ...]:
        return MODELS if key % 2 == 0 else MODELS[:1]

    def say(self, key: int) -> None:
        running = sum(node == key for node in self.at.values())
        load = Load(places=self.places[key], running={1: running} if running else {})
        self.made.heard(key, says(f"n{key}", *self.models(key), load=load), asked_s=self.now_s, here=False)
        self.away.discard(key)

    def settle(self) -> None:
        for ticket, choice in self.made.ready(self.now_s):
            assert self.waits.pop(ticket) in self.models(choice.key)
            self.at[ticket] = choice.key

    @rule(model=st.sampled_from(MODELS))
    def arrive(self, model: str) -> None:
        self.tickets += 1
        try:
            choice = self.made.arrive(self.tickets, call(model), self.now_s)
        except Unreachable:
            assert not [key for key in range(len(self.places)) if key not in self.away and model in self.models(key)]
            return
        if choice is None:
            self.waits[self.tickets] = model
        else:
            self.at[self.tickets] = choice.key

    @precondition(lambda self: self.at or self.waits)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted({**self.at, **self.waits})))
        self.at.pop(ticket, None)
        self.waits.pop(ticket, None)
        self.made.leave(ticket, self.now_s)
        self.settle()

    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        key = data.draw(st.integers(0, len(self.places) - 1))
        self.made.lost(key)
        self.away.add(key)
        for ticket in [ticket for ticket, node in self.at.items() if node == key]:
            del self.at[ticket]
            self.made.leave(ticket, self.now_s)
        for ticket, _ in self.made.hopeless():
            del self.waits[ticket]
        self.settle()

    @rule(data=st.data(), pause_s=st.floats(0.1, 5))
    def heard(self, data: st.DataObject, pause_s: float) -> None:
        self.now_s += pause_s
        self.say(data.draw(st.integers(0, len(self.places) - 1)))
        self.settle()

    @invariant()
    def no_place_is_taken_twice(self) -> None:
        for key, places in enumerate(getattr(self, "places", [])):
            assert sum(node == key for node in self.at.values()) <= places

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        free = [
            key
            for key, places in enumerate(getattr(self, "places", []))
            if key not in self.away and sum(node == key for node in self.at.values()) < places
        ]
        for model in getattr(self, "waits", {}).values():
            assert not [key for key in free if model in self.models(key)]


TestBooks = Books.TestCase


def test_a_check_that_waits_for_a_place_does_not_go_without_a_sandbox_when_the_one_that_has_it_leaves() -> None:
    made = books(says("bare"), says("boxed", sandbox="seatbelt"))
    need, bare = Need(kind="check", run="r", commit="c"), Need(kind="check", run="d", commit="c", bare=True)
    first = made.arrive(1, need, 0)
    assert first is not None
    assert first.name == "boxed"
    assert made.arrive(2, need, 0) is None
    assert made.arrive(3, bare, 0) is None
    made.lost(first.key)
    assert [(ticket, choice.name) for ticket, choice in made.ready(1)] == [(3, "bare")]
    ((ticket, error),) = made.hopeless()
    assert (ticket, type(error)) == (2, Unreachable)
