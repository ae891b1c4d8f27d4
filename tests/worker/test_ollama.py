import asyncio
import time

import pytest

from tandem.config import OllamaConfig
from tandem.errors import BadReply, DeadlineExceeded, ResourceExhausted, TandemError, Unavailable, UnknownModel
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId, Sampling, Tool
from tests.support.fake_ollama import FakeOllama, Say
from worker.backends.ollama import OllamaBackend


def request(**more: object) -> CompleteRequest:
    given: dict[str, object] = {
        "request_id": RequestId("q"),
        "run_id": RunId("r"),
        "persona": "coder",
        "turn": 1,
        "model": "large",
        "messages": (Message(role="user", content="hello"),),
        "context_tokens": 32768,
        **more,
    }
    return CompleteRequest(**given)  # type: ignore[arg-type]


def ask(say: Say, asked: CompleteRequest | None = None, **config: float) -> tuple[list[Chunk], Reply, FakeOllama]:
    async def run(fake: FakeOllama) -> tuple[list[Chunk], Reply]:
        backend = OllamaBackend(OllamaConfig(url=fake.url, **config))  # type: ignore[arg-type]
        try:
            parts = [part async for part in backend.complete(asked or request(), (asked or request()).model)]
        finally:
            await backend.close()
        reply = parts.pop()
        assert isinstance(reply, Reply)
        return [part for part in parts if isinstance(part, Chunk)], reply

    with FakeOllama(lambda body: say) as fake:
        chunks, reply = asyncio.run(run(fake))
    return chunks, reply, fake


def test_streams_the_reply_and_counts_its_tokens() -> None:
    chunks, reply, _ = ask(Say("one two three"))
    assert "".join(chunk.text for chunk in chunks) == reply.text == "one two three"
    assert [chunk.offset for chunk in chunks] == [0, 3, 7]
    assert (reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("stop", 11, 3)
    assert reply.first_token_ms > 0


def test_sends_the_context_the_schema_the_tools_and_how_long_to_keep_the_model() -> None:
    tool = Tool(name="read", description="d", parameters={"type": "object", "properties": {}})
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = request(schema=schema, tools=(tool,), sampling=Sampling(temperature=0.1, max_tokens=77, seed=5))
    _, _, fake = ask(Say("{}"), asked)
    body = fake.asked[-1]
    assert body["options"] == {"num_ctx": 32768, "num_predict": 77, "temperature": 0.1, "top_p": 0.95, "seed": 5}
    assert body["format"] == schema
    assert body["tools"][0]["function"]["name"] == "read"
    assert body["keep_alive"] == "30m"


def test_sends_pictures_and_returns_tool_calls() -> None:
    asked = request(messages=(Message(role="user", content="look", images=(b"\x89PNG",)),))
    call = {"function": {"name": "read", "arguments": {"path": "a.py"}}}
    _, reply, fake = ask(Say("", tool_calls=[call]), asked)
    assert fake.asked[-1]["messages"][0]["images"] == ["iVBORw=="]
    assert reply.finish == "tool_calls"
    assert (reply.tool_calls[0].name, reply.tool_calls[0].arguments) == ("read", {"path": "a.py"})


@pytest.mark.parametrize(
    ("say", "error", "says"),
    [
        (Say("one two", fault="cut"), Unavailable, "broke"),
        (Say("one two", fault="garbage"), BadReply, "not its protocol"),
        (Say("one two", fault="error"), Unavailable, "an error was encountered"),
        (Say("one two", fault="no-end"), BadReply, "without its last line"),
        (Say(status=500, error="llama runner process has terminated"), Unavailable, "terminated"),
        (Say(status=500, error="model requires more system memory"), ResourceExhausted, "smaller"),
    ],
)
def test_each_failure_becomes_an_error_of_ours_with_a_remedy(say: Say, error: type[TandemError], says: str) -> None:
    with pytest.raises(error, match=says):
        ask(say)


def test_an_unknown_model_names_the_command_that_fetches_it() -> None:
    with pytest.raises(UnknownModel, match="ollama pull nonesuch"):
        ask(Say("x"), request(model="nonesuch"))


def test_silence_ends_in_time_and_names_the_setting() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"ollama\.first_token_s"):
        ask(Say("x", fault="hang"), first_token_s=0.3)
    assert time.monotonic() - started < 5


def test_silence_inside_a_reply_ends_in_time() -> None:
    with pytest.raises(DeadlineExceeded, match=r"ollama\.idle_s"):
        ask(Say("one two three", pause_s=3), idle_s=0.2)


def test_endless_tokens_are_cut_off() -> None:
    _, reply, _ = ask(Say("x", fault="endless"), request(sampling=Sampling(max_tokens=200)))
    assert reply.finish == "length"
    assert len(reply.text) < 20_000


def test_nobody_there_is_said_with_the_command_that_starts_it() -> None:
    backend = OllamaBackend(OllamaConfig(url="http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="ollama serve"):
        asyncio.run(backend.models())


def test_closing_the_reply_stops_the_server() -> None:
    async def run(fake: FakeOllama) -> None:
        backend = OllamaBackend(OllamaConfig(url=fake.url))
        stream = backend.complete(request(), "large")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await backend.close()

    with FakeOllama(lambda body: Say("word " * 2000, pause_s=0.01)) as fake:
        asyncio.run(run(fake))
        assert fake.stopped.wait(5)


@pytest.mark.parametrize(
    ("resident", "told"), [(("large",), [False, True]), ((), [False, False]), (None, [None, None])]
)
def test_it_says_which_models_are_in_memory_where_the_server_does(
    resident: tuple[str, ...] | None, told: list[bool | None]
) -> None:
    async def run(fake: FakeOllama) -> None:
        backend = OllamaBackend(OllamaConfig(url=fake.url))
        try:
            models = await backend.models()
        finally:
            await backend.close()
        assert [model.name for model in models] == ["small", "large"]
        assert [model.resident for model in models] == told
        assert {model.size_bytes for model in models} == {1}

    with FakeOllama(lambda body: Say()) as fake:
        fake.resident = resident
        asyncio.run(run(fake))
