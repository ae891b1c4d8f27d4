import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.errors import Unavailable
from tandem.types import CompleteRequest, Message, RequestId, RunId
from worker.backends import noise

SCHEMA = {
    "type": "object",
    "properties": {
        "verdict": {"enum": ["approve", "change"]},
        "files": {"type": "array", "items": {"$ref": "#/$defs/File"}},
        "count": {"type": "integer"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "sure": {"type": "boolean"},
        "share": {"type": "number"},
        "version": {"const": 1},
    },
    "required": ["verdict", "files", "count", "note", "sure", "share", "version"],
    "additionalProperties": False,
    "$defs": {
        "File": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def question(name: str, attempt: int = 1, turn: int = 1) -> CompleteRequest:
    return CompleteRequest(
        request_id=RequestId(name),
        attempt=attempt,
        run_id=RunId("r"),
        persona="coder",
        turn=turn,
        model="rehearsal/random",
        messages=(Message(role="user", content="x"),),
        schema=SCHEMA,
    )


def said(request: CompleteRequest, seed: int) -> str:
    try:
        return noise.reply(request, seed)
    except Unavailable as error:
        return f"failed: {error.message}"


def follows(text: str) -> bool:
    try:
        return VALIDATOR.is_valid(json.loads(text))
    except (ValueError, RecursionError):
        return False


@given(name=st.text(max_size=8), seed=st.integers(0, 99), attempt=st.integers(1, 3), turn=st.integers(1, 3))
def test_the_same_seed_and_call_say_the_same(name: str, seed: int, attempt: int, turn: int) -> None:
    asked = question(name, attempt, turn)
    assert said(asked, seed) == said(asked, seed)


def test_every_part_of_a_calls_name_and_the_seed_change_what_is_said() -> None:
    texts = {said(question(n, a, t), s) for n in "pq" for a in (1, 2) for t in (1, 2) for s in range(10)}
    assert len(texts) > 60


def test_what_is_well_formed_follows_the_schema_about_as_often_as_promised() -> None:
    count = 1500
    share = sum(follows(said(question(str(number)), 1)) for number in range(count)) / count
    assert noise.WELL_FORMED - 0.05 < share < noise.WELL_FORMED + 0.05


def test_every_way_to_fail_comes_up() -> None:
    texts = [said(question(str(number)), 2) for number in range(400)]
    assert any(text.startswith("failed: ") for text in texts)
    assert "" in texts
    assert any("```json" in text for text in texts)
    assert any(len(text) == 200_000 for text in texts)
    assert any(text.startswith("{{") for text in texts)
    assert any(text.endswith("}}}}") for text in texts)


@pytest.mark.parametrize("schema", [None, {}, {"type": "string"}])
def test_without_a_schema_there_is_text(schema: dict[str, str] | None) -> None:
    asked = question("plain")
    bare = CompleteRequest(
        request_id=asked.request_id, run_id=asked.run_id, persona="p", turn=1, model="m", messages=(), schema=schema
    )
    assert isinstance(said(bare, 3), str)
