"""Model servers at fault, spoken to by real programs: bounded retries, words to act on, and a run that goes on later.

The fault strikes the planner, the second to ask: what the first was told must still be known when the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from router.node import FRESH_S
from tests.faults.matrix import Reached
from tests.faults.wires import MODELS, hosted_team, merged, persona_in, team
from tests.support import fake_openai
from tests.support.fake_ollama import FakeOllama, Say
from tests.support.fake_openai import FakeOpenAI
from tests.support.faultproxy import FaultProxy
from tests.support.stack import TASK, Stack, sample

Fault = Callable[[], Any]  # what the server says instead; None for the right answer
WORDS = "these are the first words of a reply that ends badly"
KEY = "sk-of-nobody-0123456789abcdef"
FIRST_TOKEN_S = {"OLLAMA": "2", "OPENAI": "4"}


@dataclass(frozen=True, slots=True)
class Failed:
    """How a run failed: the error's class, its message, and the classes of the calls that failed on the way."""

    error: str
    message: str
    classes: list[str]


class Desk:
    """A stack and its model server, with a proxy between them. `spoilt` says when wrong answers were given."""

    def __init__(self, stack: Stack, server: FakeOllama | FakeOpenAI, wire: FaultProxy, folder: Path) -> None:
        self.stack, self.server, self.wire = stack, server, wire
        self.spoilt: list[float] = []
        self._fault: Fault = lambda: None
        self._folder = folder
        self._repo, self._run = folder, ""
        self._right: Callable[[Mapping[str, Any]], Any] = team if isinstance(server, FakeOllama) else hosted_team
        server.behaviour = self._say
        self.begin()
        self._tree = merged(stack, self._repo, self._run)
        self._run = ""
        self._asked = [persona_in(question) for question in server.asked]

    def _say(self, body: dict[str, Any]) -> Any:
        wrong = self._fault() if persona_in(body) == "planner" else None
        if wrong is not None:
            self.spoilt.append(time.monotonic())
        return wrong or self._right(body)

    def begin(self, fault: Fault = lambda: None) -> None:
        """Hand the task in, for a repository of its own."""
        self.spoilt, self._fault = [], fault
        self._repo = sample(self._folder / f"repo{len(list(self._folder.iterdir()))}")
        self._run = self.stack.submit(self._repo, TASK)

    def fails(self, fault: Fault = lambda: None) -> Failed:
        """Hand the task in, or go on with the run that failed before, and return how it failed."""
        before = self._look()["failures"] if self._run else []
        if self._run:
            self.spoilt, self._fault = [], fault
            self._resume()
        else:
            self.begin(fault)
        body = self.stack.wait(self._run)
        assert body["state"] == "failed", body["question"]
        assert body["message"].isprintable()
        assert KEY not in str(body)
        classes = [failure["class"] for failure in body["failures"][len(before) :]]
        return Failed(body["error"], body["message"], classes)

    def ends_well(self) -> None:
        """See that a run that failed goes on where it stood, and what was answered before is not asked again."""
        asked = len(self.server.asked)
        self.goes_on()
        personas = [persona_in(question) for question in self.server.asked[asked:]]
        assert personas == self._asked[self._asked.index("planner") :]

    def goes_on(self) -> None:
        """See that the run, where it failed after going on with it, ends as if nothing had been."""
        if self._look()["state"] == "failed":
            self._fault = lambda: None
            self._resume()
        assert merged(self.stack, self._repo, self._run) == self._tree
        self._run = ""

    def _look(self) -> dict[str, Any]:
        return self.stack.call("GET", f"/v1/runs/{self._run}")[1]

    def _resume(self) -> None:
        status, answer = self.stack.call("POST", f"/v1/runs/{self._run}/resume")
        assert status == 200, answer


@contextmanager
def desk(
    folder: Path, server: FakeOllama | FakeOpenAI, section: str, models: Mapping[str, str], path: str = ""
) -> Generator[Desk]:
    port = int(server.url.removesuffix(path).rsplit(":", 1)[1])
    with server, FaultProxy(listen=("127.0.0.1", 0), target=("127.0.0.1", port)) as wire:
        patience = {f"TANDEM_{section}_FIRST_TOKEN_S": FIRST_TOKEN_S[section], f"TANDEM_{section}_IDLE_S": "1.5"}
        url = {f"TANDEM_{section}_URL": f"http://127.0.0.1:{wire.address[1]}{path}"}
        stack = Stack(folder, {**models, **patience, **url, "TANDEM_OPENAI_KEY": KEY})
        server.behaviour = team if isinstance(server, FakeOllama) else hosted_team
        stack.start()
        try:
            yield Desk(stack, server, wire, folder)
        finally:
            stack.stop()


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("ollama"), FakeOllama(team), "OLLAMA", MODELS) as made:
        yield made


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    models = {name: f"openai/{model}" for name, model in MODELS.items()}
    with desk(tmp_path_factory.mktemp("hosted"), FakeOpenAI(hosted_team, key=KEY), "OPENAI", models, "/v1") as made:
        yield made


def refused(status: int, words: str, **headers: str) -> fake_openai.Say:
    return fake_openai.Say(status=status, error={"error": {"message": words}}, headers=headers)


TRIES = (
    3  # of a server that does not answer; what it does answer, however wrong, is not asked for in the same way again
)
OLLAMA: dict[str, tuple[Say, str, int, tuple[str, ...]]] = {
    "fails": (Say(status=500, error="boom"), "Unavailable", TRIES, ("'large'", "boom", "ollama ps")),
    "cut": (Say(WORDS, fault="cut"), "Unavailable", TRIES, ("connection", "broke", "ask again")),
    "hangs": (Say(WORDS, fault="hang"), "DeadlineExceeded", 1, ("'large'", "silent", "ollama.first_token_s (2 s)")),
    "stalls": (Say(WORDS, pause_s=20), "DeadlineExceeded", 1, ("'large'", "silent", "ollama.idle_s (1.5 s)")),
    "garbled": (Say(WORDS, fault="garbage"), "BadReply", 1, ("not its protocol",)),
    "half": (Say(WORDS, fault="no-end"), "BadReply", 1, ("'large'", "last line", "ask again")),
    "empty": (Say(""), "BadReply", 5, ("Planner (large)", "empty replies", "the reply is empty")),
    "endless": (Say("la", fault="endless"), "BadReply", 4, ("Planner (large)", "cut off at the token limit")),
}


@pytest.mark.row(19)
def test_a_server_at_fault_is_asked_a_few_times_then_named_and_the_run_goes_on(ollama: Desk, reached: Reached) -> None:
    for what, (say, error, times, words) in OLLAMA.items():
        failed = ollama.fails(lambda say=say: say)
        assert (what, failed.error, len(ollama.spoilt)) == (what, error, times), failed.message
        assert [word for word in words if word not in failed.message] == [], failed.message
        # replies that cannot be used are no failed calls: each is kept, and what follows from it is asked next
        assert failed.classes == ([] if what in ("empty", "endless") else [error] * times)
        reached.add(what, len(ollama.spoilt))
    ollama.ends_well()


@pytest.mark.row(19)
def test_an_endless_reply_is_stopped_at_its_limit_and_at_the_server(ollama: Desk, reached: Reached) -> None:
    assert isinstance(ollama.server, FakeOllama)
    ollama.server.stopped.clear()
    ollama.begin(lambda: None if ollama.spoilt else Say("la", fault="endless"))
    ollama.goes_on()
    assert ollama.server.stopped.wait(10), "the server was left to go on"
    reached.add("endless", len(ollama.spoilt))


@pytest.mark.row(19)
def test_a_server_that_is_down_is_said_with_its_address_and_how_to_start_it(ollama: Desk, reached: Reached) -> None:
    before = len(ollama.server.asked)
    for listening in (True, False):  # whether each connection is accepted and then reset
        ollama.wire.refuse(listening=listening)
        ollama.wire.cut_now()
        try:
            failed = ollama.fails()
        finally:
            ollama.wire.refuse(False)
        assert (failed.error, failed.classes) == ("Unavailable", ["Unavailable"] * TRIES)
        assert "at http://127.0.0.1:" in failed.message
        assert listening or "start it with `ollama serve`" in failed.message
        reached.add("refused", ollama.wire.counts["refused"] if listening else len(failed.classes))
    assert len(ollama.server.asked) == before
    ollama.goes_on()


@pytest.mark.row(19)
def test_a_server_that_is_down_for_a_moment_fails_no_run(ollama: Desk, reached: Reached) -> None:
    left = [Say(WORDS, fault="cut"), Say(status=503, error="busy")]
    ollama.begin(lambda: left.pop() if left else None)
    ollama.goes_on()
    assert len(ollama.spoilt) == 2
    reached.add("down for a moment", len(ollama.spoilt))


MEMORY = "model requires more system memory (48.4 GiB) than is available (30.2 GiB)"  # Ollama's own words


@pytest.mark.row(20)
def test_a_model_that_is_missing_or_too_large_is_named_with_what_to_do(ollama: Desk, reached: Reached) -> None:
    assert isinstance(ollama.server, FakeOllama)
    known = ollama.server.models
    ollama.server.models = ("small",)
    try:
        failed = ollama.fails()
    finally:
        ollama.server.models = known
    assert failed.error == "UnknownModel", "it is no more there the next moment"
    # the worker says it of its server or, without a call, the router of every node, where it has heard what that has
    assert failed.classes in (["UnknownModel"], [])
    assert "the model 'large'" in failed.message
    assert "`ollama pull large` fetches it" in failed.message
    reached.add("model missing")
    for words in (MEMORY, "llama runner process has terminated: cudaMalloc failed: out of memory"):
        failed = ollama.fails(lambda words=words: Say(status=500, error=words))
        assert (failed.error, len(ollama.spoilt)) == ("ResourceExhausted", 1)
        assert f"Ollama cannot load 'large': {words}; use a smaller one, or close others" in failed.message
        reached.add("out of memory", len(ollama.spoilt))
    ollama.ends_well()


HOSTED: dict[str, tuple[fake_openai.Say, str, int, tuple[str, ...]]] = {
    "missing": (refused(404, "The model `large` does not exist"), "UnknownModel", 1, ("'large'", "load it there")),
    "memory": (refused(500, "insufficient memory: 48 GiB"), "ResourceExhausted", 1, ("'large'", "48 GiB", "smaller")),
}
CLOUD: dict[str, tuple[fake_openai.Say, str, int, tuple[str, ...]]] = {
    "cut": (fake_openai.Say(WORDS, fault="cut"), "Unavailable", TRIES, ("connection", "broke", "ask again")),
    "hangs": (fake_openai.Say(fault="hang"), "DeadlineExceeded", 1, ("'large'", "openai.first_token_s (4 s)")),
    "stalls": (fake_openai.Say(WORDS, fault="late"), "DeadlineExceeded", 1, ("'large'", "openai.idle_s (1.5 s)")),
    "fails": (refused(502, "Bad Gateway"), "Unavailable", TRIES, ("'large'", "502", "Bad Gateway")),
    "spent": (refused(429, "check your plan and billing details"), "ResourceExhausted", 1, ("429", "account")),
    "forbidden": (refused(403, "not for you"), "BadConfig", 1, ("refused the key", "403", "TANDEM_OPENAI_KEY")),
}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(HOSTED, marks=pytest.mark.row(20), id="too large"),
        pytest.param(CLOUD, marks=pytest.mark.row(41), id="at fault"),
    ],
)
def test_a_hosted_model_is_named_with_what_to_do_and_no_state_is_lost(
    hosted: Desk, reached: Reached, faults: Mapping[str, tuple[fake_openai.Say, str, int, tuple[str, ...]]]
) -> None:
    for what, (say, error, times, words) in faults.items():
        failed = hosted.fails(lambda say=say: say)
        assert (what, failed.error, len(hosted.spoilt)) == (what, error, times), failed.message
        assert [word for word in words if word not in failed.message] == [], failed.message
        assert failed.classes == [error] * times
        reached.add(what, len(hosted.spoilt))
    hosted.ends_well()


@pytest.mark.row(41)
def test_a_server_that_has_too_much_to_do_is_left_alone_for_as_long_as_it_says(hosted: Desk, reached: Reached) -> None:
    failed = hosted.fails(lambda: refused(429, "Rate limit reached", **{"retry-after": "1"}))
    assert (failed.error, failed.classes) == ("Unavailable", ["Unavailable"] * TRIES)
    assert "429: Rate limit reached" in failed.message
    waits = [later - before for before, later in pairwise(hosted.spoilt)]
    assert len(waits) == 2 * TRIES - 1, "bounded"
    assert min(waits[::2]) >= 1.0, "as long as it said"
    assert waits[1] >= 0.5
    assert waits[3] >= 2.0, "and longer each time"
    reached.add("429", len(hosted.spoilt))
    hosted.ends_well()


@pytest.mark.row(41)
def test_a_server_that_has_too_much_to_do_for_a_moment_fails_no_run(hosted: Desk, reached: Reached) -> None:
    left = [refused(429, "busy", **{"retry-after": "0"}), refused(429, "busy"), refused(429, "busy")]
    hosted.begin(lambda: left.pop() if left else None)
    hosted.goes_on()
    assert left == []
    reached.add("429", len(hosted.spoilt))


@pytest.mark.row(41)
def test_a_refused_key_is_not_sent_again_and_again(hosted: Desk, reached: Reached) -> None:
    server = hosted.server
    assert isinstance(server, FakeOpenAI)
    hosted.stack.call("GET", "/v1/status")
    server.key = "another"
    try:
        for known in (True, False):  # whether the server was asked a moment ago what models it has
            time.sleep(0.0 if known else FRESH_S + 0.1)
            asked = len(server.paths)
            failed = hosted.fails()
            assert (failed.error, failed.classes) == ("BadConfig", ["BadConfig"])
            assert "refused the key (401" in failed.message
            assert "TANDEM_OPENAI_KEY" in failed.message
            assert server.paths[asked:].count("/v1/chat/completions") == 1
            assert len(server.paths) - asked <= 2, "once for the question, and once at most for what models there are"
            reached.add("401", len(failed.classes))
    finally:
        server.key = KEY
    hosted.goes_on()
