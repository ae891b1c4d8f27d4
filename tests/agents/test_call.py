import asyncio

import pytest

from agents import personas
from agents.call import Spoken, call
from agents.replies import Review
from tandem.errors import BadReply
from tandem.types import Json, Message, Reply

REVIEWER = personas.load()["reviewer"]


def speak(*texts: str) -> tuple[Spoken, list[tuple[Message, ...]]]:
    asked: list[tuple[Message, ...]] = []
    replies = iter(texts)

    async def ask(messages: tuple[Message, ...], schema: dict[str, Json]) -> Reply:
        assert schema["title"] == "Review"
        asked.append(messages)
        return Reply(text=next(replies), model="m")

    spoken = asyncio.run(call(REVIEWER, [], language="en", context_tokens=32768, ask=ask))
    return spoken, asked


def test_a_good_reply_is_asked_for_once() -> None:
    spoken, asked = speak('{"verdict": "approve"}')
    assert isinstance(spoken.value, Review)
    assert len(asked) == 1


def test_an_unusable_reply_gets_one_repair_with_the_error_in_words() -> None:
    spoken, asked = speak("I approve.", '{"verdict": "approve"}')
    assert spoken.repairs == ("the reply was asked for again",)
    assert asked[1][-2].content == "I approve."
    assert "not one JSON object" in asked[1][-1].content


def test_two_unusable_replies_are_an_error_that_names_the_persona() -> None:
    with pytest.raises(BadReply, match=r"Reviewer \(m\)"):
        speak("no", "still no")


def test_each_call_starts_from_an_empty_history() -> None:
    _, first = speak('{"verdict": "approve"}')
    _, second = speak('{"verdict": "changes"}')
    assert first[0] == second[0]
