"""Rules of reading a stream that hold for every way to cut it, and for everything a server may send instead."""

import contextlib
import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tandem.errors import BadReply
from tests.support.fake_openai import call, delta
from worker.backends.openai_parts import Gathered, names_in

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("choices", "delta", "message", "tool_calls", "function", "function_call", "index", "id", "name", "arguments")
SAID = ("content", "refusal", "reasoning", "reasoning_content", "finish_reason", "usage", "prompt_tokens", "text")
LIKELY: st.SearchStrategy[Any] = st.recursive(
    JSON,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*FIELDS, *SAID)), inner, min_size=1, max_size=5)
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


def cut(text: str, places: list[int]) -> list[str]:
    """Return `text` in pieces."""
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(ends)] or [""]


@given(
    calls=st.lists(st.tuples(OBJECTS, st.lists(st.integers(0, 200), max_size=4)), min_size=1, max_size=3),
    ids=st.booleans(),
    data=st.data(),
)
def test_calls_come_out_as_they_went_in_however_they_are_cut_and_mixed(
    calls: Any, ids: bool, data: st.DataObject
) -> None:
    queues: list[list[dict[str, Any]]] = []
    for index, (arguments, places) in enumerate(calls):
        first = call("", name=f"tool{index}", index=index, id=f"id{index}" if ids else None)
        queues.append([first, *(call(piece, index=index) for piece in cut(json.dumps(arguments), places))])
    said = Gathered()
    for queue in queues:
        said.take(queue.pop(0))
    while any(queues):
        said.take(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    made, spoilt, finish = said.ended()
    assert [(one.name, one.arguments) for one in made] == [(f"tool{i}", given) for i, (given, _) in enumerate(calls)]
    assert len({one.id for one in made}) == len(calls)
    assert (spoilt, finish) == ("", "tool_calls")


@given(text=st.text(max_size=60), places=st.lists(st.integers(0, 60), max_size=5))
def test_text_comes_out_as_it_went_in_however_it_is_cut(text: str, places: list[int]) -> None:
    said = Gathered()
    assert "".join(said.take(delta(content=piece)) for piece in cut(text, places)) == text
    assert said.size == len(text)


@given(events=st.lists(LIKELY | st.fixed_dictionaries({"choices": st.lists(LIKELY, max_size=2)}), max_size=4))
def test_whatever_is_sent_is_read_or_refused_as_a_bad_reply(events: list[Any]) -> None:
    said = Gathered()
    with contextlib.suppress(BadReply):
        for event in events:
            said.take(event)
    calls, text, _ = said.ended()
    assert all(one.name and one.id for one in calls)
    json.dumps([dict(one.arguments) for one in calls], allow_nan=False)
    text.encode("utf-8")


@given(listing=LIKELY)
def test_whatever_is_listed_is_read_or_refused_as_a_bad_reply(listing: Any) -> None:
    with contextlib.suppress(BadReply):
        assert all(isinstance(name, str) and name for name in names_in(listing))
