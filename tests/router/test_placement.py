"""Where a call goes, and what is said about it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.placement import (
    HERE_S,
    MOVES_MAX,
    OTHERS_MAX,
    Candidate,
    Choice,
    Need,
    Places,
    able,
    attempt_of,
    choose,
    others_load,
)
from tandem.errors import TandemError, Unavailable, UnknownModel, Unreachable
from tandem.types import Load, ModelInfo, NodeInfo

GIB = 1 << 30
COUNTS = st.dictionaries(st.integers(1, 10), st.integers(1, 5), max_size=3)


def model(name: str, *, resident: bool | None = True, size: int = 0) -> ModelInfo:
    return ModelInfo(name=name, backend="ollama", resident=resident, size_bytes=size)


def node(name: str, *models: str | ModelInfo, key: int | None = None, **more: Any) -> Candidate:
    """Return a node on another machine; `free`, `sandbox` and `trouble` are what it says, the rest is the books'."""
    offered = tuple(model(one) if isinstance(one, str) else one for one in models)
    info = NodeInfo(
        name=name,
        boot_id="b",
        version="1",
        protocol=1,
        platform="Linux",
        models=offered,
        sandbox=more.pop("sandbox", ""),
        backend_trouble=more.pop("trouble", ""),
        free_bytes=more.pop("free", None),
    )
    number = hash(name) if key is None else key
    return Candidate(
        key=number, info=info, models={one.name: one for one in offered}, **{"here": False, "calls": Places(), **more}
    )


def call(wanted: str = "large", **more: Any) -> Need:
    return Need(kind="call", run="r", model=wanted, **more)


def check(**more: Any) -> Need:
    return Need(kind="check", run="r", repo_id="repo", commit="c", **more)


def full(*, theirs: int = 0, **ours: int) -> Places:
    """Return one place, taken; `p1=2` says that two calls of priority 1 are this router's."""
    return Places(total=1, theirs=theirs, ours={int(name[1:]): count for name, count in ours.items()})


def placed(need: Need, *nodes: Candidate, **more: Any) -> Choice:
    choice = choose(need, nodes, **more)
    assert choice is not None
    return choice


def test_a_node_without_the_model_is_passed_over() -> None:
    choice = placed(call(), node("gone", "large", away=True), node("a", "small"), node("b", "large"))
    assert choice.name == "b"
    assert choice.why.endswith("a place is free, has large, reads all of it (0.0 s), writes in 10.0 s")
    assert sorted(choice.others) == [("a", "does not have large"), ("gone", "does not answer")]


@pytest.mark.parametrize("wanted", ["large", "ollama/large", "large:latest", "ollama/large:latest"])
def test_a_default_tag_and_the_default_backend_may_be_left_out(wanted: str) -> None:
    assert placed(call(wanted), node("a", "large:latest")).name == "a"


def test_another_tag_is_another_model() -> None:
    words = r"no node has the model 'large:7b'; there are large:latest; `ollama pull large:7b`"
    with pytest.raises(UnknownModel, match=words):
        choose(call("large:7b"), [node("a", "large:latest")])


def test_no_models_at_all_is_said_so() -> None:
    with pytest.raises(UnknownModel, match=r"no models at all; look at rehearsal\.script"):
        choose(call("rehearsal/play"), [node("a")])


def test_a_backend_that_is_down_is_named_before_a_model_is_called_unknown() -> None:
    down = node("a", "rehearsal/play", trouble="Ollama is down")
    with pytest.raises(Unavailable, match="nobody can serve 'large': Ollama is down"):
        choose(call(), [down])
    with pytest.raises(UnknownModel):
        choose(call("rehearsal/other"), [down])


def test_a_model_that_nobody_here_has_is_waited_for_while_a_worker_is_away() -> None:
    here = node("a", "small")
    with pytest.raises(Unreachable, match="'large', and a worker that does not answer may"):
        choose(call(), [here], silent=1)
    with pytest.raises(Unreachable, match="2 workers that do not answer may"):
        choose(call(), [node("b", "large", away=True), here], silent=1)


@pytest.mark.parametrize("nodes", [[], [node("a", "large", away=True)]])
@pytest.mark.parametrize("need", [call(), check()])
def test_nobody_there_is_unreachable(nodes: list[Candidate], need: Need) -> None:
    with pytest.raises(Unreachable, match="tandem doctor"):
        choose(need, nodes, silent=1)


# --- what costs -----------------------------------------------------------------------------------------------


def test_a_model_in_memory_comes_before_one_that_has_to_be_loaded() -> None:
    cold = node("cold", model("large", resident=False, size=48 * GIB), free=60 * GIB)
    choice = placed(call(), cold, node("hot", "large"))
    assert choice.name == "hot"
    assert "large has to be loaded (25.8 s)" in dict(choice.others)["cold"]
    assert placed(call(), cold).name == "cold"


def test_what_fits_comes_before_what_another_model_must_leave_for_and_that_before_what_never_fits() -> None:
    wanted = model("large", resident=False, size=40 * GIB)
    roomy = node("roomy", wanted, free=50 * GIB)
    crowded = node("crowded", wanted, model("other", size=30 * GIB), free=20 * GIB)
    small = node("small", wanted, free=20 * GIB)
    assert placed(call(), small, crowded, roomy).name == "roomy"
    assert placed(call(), small, crowded).name == "crowded"
    assert placed(call(), small).name == "small"


def test_whoever_read_the_beginning_reads_it_on() -> None:
    nodes = [node(name, "large") for name in "abcdefgh"]
    need = call(prompt_tokens=8000)
    for one in nodes:
        assert placed(need, *nodes, warm=one.key).name == one.info.name
    assert "has read the beginning" in placed(need, *nodes, warm=nodes[0].key).why
    assert "reads all of it (16.0 s)" in placed(need, *nodes).why


def test_a_model_that_left_memory_has_read_nothing() -> None:
    forgot = node("forgot", model("large", resident=False, size=GIB), free=8 * GIB)
    choice = placed(call(prompt_tokens=8000), forgot, node("hot", "large"), warm=forgot.key)
    assert choice.name == "hot"


def test_a_node_that_was_seen_to_be_faster_is_taken() -> None:
    quick, slow = node("quick", "large", token_s={"large": 0.01}), node("slow", "large", token_s={"large": 0.05})
    assert placed(call(), slow, quick).name == "quick"
    assert placed(call(), slow, node("unknown", "large")).name == "unknown"


def test_another_machine_is_taken_before_the_one_somebody_works_on() -> None:
    here = node("here", "large", here=True)
    assert placed(call(), here, node("mini", "large")).name == "mini"
    assert f"is this machine ({HERE_S:.1f} s)" in placed(call(), here).why
    assert placed(call(), here, node("mini", "large", calls=full(p1=1))).name == "here"


def test_equals_are_spread_over_runs_and_the_same_for_one_run() -> None:
    nodes = [node(f"n{number}", "large", key=number) for number in range(4)]
    taken = [choose(Need(kind="call", run=f"run {n}", model="large"), nodes) for n in range(200)]
    counts = [sum(one is not None and one.key == key for one in taken) for key in range(4)]
    assert min(counts) > 20
    again = [choose(Need(kind="call", run=f"run {n}", model="large"), nodes[::-1]) for n in range(200)]
    assert [one and one.name for one in again] == [one and one.name for one in taken]


# --- places ---------------------------------------------------------------------------------------------------


def test_a_free_place_comes_before_any_line() -> None:
    slow = node("slow", model("large", resident=False, size=100 * GIB), token_s={"large": 1.0})
    assert placed(call(), node("quick", "large", calls=full(theirs=1)), slow).name == "slow"


def test_where_all_are_full_with_our_own_calls_it_waits_here() -> None:
    assert choose(call(), [node("a", "large", calls=full(p1=1)), node("b", "large", calls=full(p10=1))]) is None


def test_it_waits_in_a_line_only_where_others_have_the_place_and_in_the_shortest() -> None:
    longer = Places(total=1, theirs=1, theirs_waiting={1: 3})
    shorter = Places(total=1, theirs=1, theirs_waiting={1: 1})
    choice = placed(call(), node("a", "large", calls=longer), node("b", "large", calls=shorter))
    assert choice.name == "b"
    assert "full, 1 before it (20.0 s)" in choice.why
    assert choose(call(), [node("a", "large", calls=full(theirs=1, p1=1))]) is None, "one of ours waits there already"


def test_a_call_does_not_wait_for_those_of_lower_priority() -> None:
    batch = Places(total=1, theirs=1, theirs_waiting={10: 5})
    person = Places(total=1, theirs=1, theirs_waiting={1: 2})
    nodes = [node("batch", "large", calls=batch), node("person", "large", calls=person)]
    assert placed(call(priority=1), *nodes).name == "batch"
    assert placed(call(priority=10), *nodes).name == "person"


def test_checks_have_places_of_their_own() -> None:
    busy = node("a", "large", sandbox="bubblewrap", calls=full(p1=1), checks=Places(total=2))
    assert choose(call(), [busy]) is None
    assert placed(check(), busy).name == "a"


# --- checks ---------------------------------------------------------------------------------------------------


def test_a_check_goes_where_a_sandbox_is() -> None:
    assert placed(check(), node("a"), node("b", sandbox="bubblewrap")).name == "b"
    assert placed(check(), node("b")).name == "b", "it says itself why it cannot"


def test_a_check_waits_for_a_sandbox_that_is_away_and_fails_only_where_nobody_can_have_one() -> None:
    bare, boxed = node("bare"), node("boxed", sandbox="seatbelt", away=True)
    prepare = Need(kind="prepare", run="r", repo_id="repo", commit="c")
    words = r"nobody here runs tests in a sandbox, and a worker .* may \(no answer from boxed\)"
    for need in (check(), prepare):
        with pytest.raises(Unreachable, match=words):
            choose(need, [bare, boxed])
        with pytest.raises(Unreachable, match="runs tests in a sandbox, and a worker that does not answer may;"):
            choose(need, [bare], silent=1)
    others = [node("off", sandbox="seatbelt", away=True, checks=Places(total=0)), node("gone", away=True)]
    assert placed(check(), bare, *others).name == "bare", "neither of those could do it, and this one says why"
    assert placed(check(bare=True), bare, boxed, silent=1).name == "bare"


def test_a_check_goes_where_its_commit_is() -> None:
    has = node("z", sandbox="seatbelt", commits={("repo", "c")})
    nodes = [node(name, sandbox="seatbelt") for name in "abcdefg"]
    choice = placed(check(), *nodes, has)
    assert (choice.name, "has the commit" in choice.why) == ("z", True)


def test_a_check_with_an_environment_goes_only_where_that_is() -> None:
    has, other = (
        node("has", key=7, sandbox="seatbelt"),
        node("other", key=8, sandbox="seatbelt", commits={("repo", "c")}),
    )
    assert placed(check(only=frozenset({7})), has, other).name == "has"
    has.checks = Places(total=1, ours={1: 1})
    assert choose(check(only=frozenset({7})), [has, other]) is None
    has.away = True
    with pytest.raises(Unreachable, match="has the environment of this check; it is prepared anew"):
        choose(check(only=frozenset({7})), [has, other])


def test_where_no_tests_are_run_none_are_sent_and_nothing_is_prepared() -> None:
    book = node("book", "small", sandbox="seatbelt", checks=Places(total=0))
    mini = node("mini", sandbox="seatbelt")
    prepare = Need(kind="prepare", run="r", repo_id="repo", commit="c")
    for need in (check(), prepare):
        choice = placed(need, book, mini)
        assert (choice.name, choice.others) == ("mini", (("book", "runs no tests"),))
    assert placed(call("small"), book, mini).name == "book"
    mini.away = True
    for need in (check(), prepare, check(only=frozenset({mini.key}))):
        with pytest.raises(Unreachable, match=r"nobody here runs tests, and a worker .* may \(no answer from mini\)"):
            choose(need, [book, mini])
    with pytest.raises(Unavailable, match=r"no machine runs tests; raise worker\.checks"):
        choose(check(), [book])


def test_preparing_waits_for_no_place() -> None:
    busy = node("a", sandbox="seatbelt", checks=full(p1=1))
    assert placed(Need(kind="prepare", run="r"), busy).name == "a"


# --- what others have -----------------------------------------------------------------------------------------


def test_a_node_that_says_nothing_of_its_load_has_one_place() -> None:
    assert others_load(None, {1: 3}) == (1, 0, {})


@given(st.integers(1, 8), COUNTS, COUNTS, COUNTS)
def test_what_others_have_is_what_a_node_said_without_ours(
    places: int, running: dict[int, int], waiting: dict[int, int], mine: dict[int, int]
) -> None:
    total, theirs, behind = others_load(Load(places=places, running=running, waiting=waiting), mine)
    said = {p: running.get(p, 0) + waiting.get(p, 0) for p in range(1, 11)}
    left = {p: max(said[p] - mine.get(p, 0), 0) for p in said}
    assert total == places
    assert theirs + sum(behind.values()) == sum(left.values())
    assert 0 <= theirs <= sum(running.values())
    assert all(0 < behind[p] <= waiting[p] for p in behind)


# --- any nodes whatever ---------------------------------------------------------------------------------------

PLACES = st.builds(
    Places,
    total=st.integers(1, 4),
    theirs=st.integers(0, 4),
    theirs_waiting=COUNTS,
    ours=st.dictionaries(st.integers(1, 10), st.integers(0, 3), max_size=2),
)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    def one(key: int) -> Candidate:
        offered = [
            model(name, resident=draw(st.none() | st.booleans()), size=draw(st.integers(0, 80)) * GIB)
            for name in draw(st.sets(st.sampled_from(("large", "small"))))
        ]
        return node(
            f"n{key}", *offered, key=key, away=draw(st.booleans()), here=draw(st.booleans()), calls=draw(PLACES),
            checks=draw(PLACES), sandbox=draw(st.sampled_from(("", "bubblewrap"))), free=draw(st.none() | st.just(9 * GIB)),
        )  # fmt: skip

    return [one(key) for key in range(draw(st.integers(0, 6)))]


@given(
    candidates(), st.sampled_from(("call", "check")), st.integers(1, 10), st.none() | st.integers(0, 6), st.booleans()
)
def test_a_call_goes_to_a_node_that_can_serve_it_and_a_free_one_if_there_is_one(
    nodes: list[Candidate], kind: Any, priority: int, warm: int | None, bare: bool
) -> None:
    need = Need(kind=kind, run="r", model="large", priority=priority, prompt_tokens=100, bare=bare)
    fit = able(need, nodes)
    try:
        choice = choose(need, nodes, warm)
    except TandemError:
        assert not fit
        return
    free = {one.key for one in fit if one.places(kind).beyond < 0}
    room = {one.key for one in fit if one.places(kind).has_room}
    assert (choice is None) == (not room)
    if choice is not None:
        assert choice.key in (free or room)
        assert len(choice.others) + choice.unnamed == len(nodes) - 1
        assert all(why for _, why in choice.others)
        assert choice == choose(need, nodes, warm), "the same again"


def test_of_many_nodes_the_nearest_are_told_of_and_the_rest_counted() -> None:
    nodes = [node(f"n{number}", "large", key=number, token_s={"large": 0.02 + number / 1000}) for number in range(20)]
    choice = placed(call(), *nodes)
    assert [name for name, _ in choice.others] == [f"n{number}" for number in range(1, OTHERS_MAX + 1)]
    assert choice.unnamed == 20 - 1 - OTHERS_MAX


@given(st.integers(1, 1000), st.integers(0, 10), st.integers(1, 1000), st.integers(0, 10))
def test_a_later_attempt_has_a_higher_number_however_often_it_moved(a: int, moved: int, b: int, again: int) -> None:
    assert (attempt_of(a, moved) < attempt_of(b, again)) == ((a, moved) < (b, again))
    assert attempt_of(1, 0) == 1
    assert attempt_of(2, 0) > attempt_of(1, MOVES_MAX + 5)
