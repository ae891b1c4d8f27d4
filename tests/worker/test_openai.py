import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tandem.config import OpenAIConfig
from tandem.errors import (
    BadConfig,
    BadInput,
    BadReply,
    DeadlineExceeded,
    ResourceExhausted,
    TandemError,
    Unavailable,
    UnknownModel,
)
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId, Sampling, Tool, ToolCall
from tests.support.fake_openai import FakeOpenAI, Say, call, delta
from worker.backends.base import Backends
from worker.backends.openai import OpenAIBackend

READ = Tool(name="read_file", description="d", parameters={"type": "object", "properties": {"path": {}}})
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
KEY = "sk-of-nobody-0123456789abcdef"


@pytest.fixture(autouse=True)
def keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the keychain of whoever runs it."""
    monkeypatch.setattr("worker.keys._macos", lambda account, security: "")
    monkeypatch.setattr("worker.keys._keyring", lambda account: "")


def request(**more: object) -> CompleteRequest:
    given: dict[str, object] = {
        "request_id": RequestId("q"),
        "run_id": RunId("r"),
        "persona": "coder",
        "turn": 1,
        "model": "openai/large",
        "messages": (Message(role="user", content="hello"),),
        **more,
    }
    return CompleteRequest(**given)  # type: ignore[arg-type]


def config(fake: FakeOpenAI, **more: Any) -> OpenAIConfig:
    return OpenAIConfig(url=fake.url, **more)


async def answered(backend: OpenAIBackend, asked: CompleteRequest) -> tuple[list[Chunk], Reply]:
    parts = [part async for part in backend.complete(asked, asked.model.removeprefix("openai/"))]
    reply = parts.pop()
    assert isinstance(reply, Reply)
    chunks = [part for part in parts if isinstance(part, Chunk)]
    assert "".join(chunk.text for chunk in chunks) == reply.text
    return chunks, reply


def ask(
    say: Say | Callable[[dict[str, Any]], Say], asked: CompleteRequest | None = None, **more: Any
) -> tuple[list[Chunk], Reply, FakeOpenAI]:
    async def run(fake: FakeOpenAI) -> tuple[list[Chunk], Reply]:
        backend = OpenAIBackend(config(fake, **more))
        try:
            return await answered(backend, asked or request())
        finally:
            await backend.close()

    with FakeOpenAI(say if callable(say) else lambda body: say) as fake:
        chunks, reply = asyncio.run(run(fake))
    return chunks, reply, fake


# --- what is asked and answered -------------------------------------------------------------------------------


def test_streams_the_reply_and_takes_the_counts_that_follow_its_end() -> None:
    chunks, reply, _ = ask(Say("one two three"))
    assert reply.text == "one two three"
    assert [chunk.offset for chunk in chunks] == [0, 3, 7]
    assert (reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("stop", 11, 3)
    assert (reply.model, reply.backend) == ("openai/large", "openai")
    assert 0 < reply.first_token_ms <= reply.total_ms


def test_sends_the_sampling_and_the_schema() -> None:
    asked = request(schema=SCHEMA, sampling=Sampling(temperature=0.1, top_p=0.9, max_tokens=77, seed=5))
    body = ask(Say("{}"), asked)[2].asked[-1]
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"], body["seed"]) == (
        "large", 0.1, 0.9, 77, 5,
    )  # fmt: skip
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"] == {"name": "reply", "schema": SCHEMA, "strict": False}
    assert body["stream_options"] == {"include_usage": True}
    assert "tools" not in body


def test_without_a_seed_none_is_sent() -> None:
    assert "seed" not in ask(Say("x"))[2].asked[-1]


def test_with_tools_no_schema_is_sent_because_no_call_could_be_made_under_it() -> None:
    body = ask(Say("x"), request(schema=SCHEMA, tools=(READ,)))[2].asked[-1]
    assert body["tools"][0]["function"]["name"] == "read_file"
    assert "response_format" not in body


def test_says_the_conversation_in_the_protocols_words() -> None:
    made = ToolCall(id="c1", name="read_file", arguments={"path": "가.py"})
    messages = (
        Message(role="user", content="look", images=(b"\x89PNG", b"\xff\xd8\xff")),
        Message(role="assistant", content="", tool_calls=(made,)),
        Message(role="tool", content="1: x", tool_call_id="c1"),
    )
    sent = ask(Say("x"), request(messages=messages))[2].asked[-1]["messages"]
    assert sent[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}},
    ]
    assert sent[1]["tool_calls"][0]["id"] == "c1"
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"path": "가.py"}
    assert sent[2] == {"role": "tool", "content": "1: x", "tool_call_id": "c1"}


def test_a_server_that_does_not_stream_is_understood() -> None:
    message = {"role": "assistant", "content": "all of it", "tool_calls": call('{"path": "a"}', name="read_file")}
    message["tool_calls"] = message["tool_calls"]["choices"][0]["delta"]["tool_calls"]  # type: ignore[index]
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    reply = ask(Say(whole=whole))[1]
    assert (reply.text, reply.finish) == ("all of it", "tool_calls")
    assert reply.tool_calls[0].arguments == {"path": "a"}


def test_thoughts_are_no_part_of_the_text() -> None:
    thoughts = [delta(reasoning_content="hm"), delta(reasoning="hmm"), delta(content="yes", reasoning_content=None)]
    assert ask(Say(more=thoughts))[1].text == "yes"


@pytest.mark.parametrize(
    ("finish", "meant"), [("length", "length"), ("stop", "stop"), ("eos", "stop"), ("tool_calls", "stop")]
)
def test_the_end_is_said_in_our_words(finish: str, meant: str) -> None:
    assert ask(Say("x", finish=finish))[1].finish == meant


def test_a_reply_without_counts_counts_nothing() -> None:
    reply = ask(Say("x", usage=None))[1]
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)


def test_a_server_that_keeps_the_connection_after_the_end_costs_a_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.backends.openai._TAIL_S", 0.1)
    assert ask(Say("x", fault="open"))[1].text == "x"


# --- tool calls -----------------------------------------------------------------------------------------------


def calls(*more: Mapping[str, Any], text: str = "") -> Reply:
    return ask(Say(text, more=more, finish="tool_calls"), request(tools=(READ,)))[1]


def test_pieces_of_parallel_calls_are_put_together_by_their_index() -> None:
    reply = calls(
        call("", name="read_file", index=0, id="a"),
        call('{"pa', index=0),
        call("", name="search", index=1, id="b"),
        call('{"pattern": ', index=1),
        call('th": "x.py"}', index=0),
        call('"y"}', index=1),
    )
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("a", "read_file", {"path": "x.py"}),
        ("b", "search", {"pattern": "y"}),
    ]
    assert (reply.finish, reply.text) == ("tool_calls", "")


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("ids", [("a", "b"), (None, None), ("a", "a")])
def test_whole_calls_stay_apart_however_they_are_numbered(
    index: int | None, ids: tuple[str | None, str | None]
) -> None:
    reply = calls(
        call('{"path": "1"}', name="read_file", index=index, id=ids[0]),
        call('{"path": "2"}', name="read_file", index=1 if ids == ("a", "a") else index, id=ids[1]),
    )
    assert [c.arguments for c in reply.tool_calls] == [{"path": "1"}, {"path": "2"}]
    assert len({c.id for c in reply.tool_calls}) == 2


def test_a_call_that_was_cut_off_at_the_limit_is_a_reply_that_was_cut_off() -> None:
    cut = '{"error": {"message": "Generation ended with an incomplete tool call."}}'
    reply = ask(Say("so", more=[cut], finish=None), request(tools=(READ,)))[1]
    assert (reply.text, reply.tool_calls, reply.finish) == ("so", (), "length")


def test_a_name_repeated_with_every_piece_is_one_call() -> None:
    reply = calls(call('{"path"', name="read_file"), call(': "1"}', name="read_file"), call("", name="read_file"))
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("read_file", {"path": "1"})]


def test_fresh_ids_with_every_nameless_piece_are_one_call() -> None:
    reply = calls(call('{"path"', name="read_file", id="x"), call(': "1"}', id="y"))
    assert [c.arguments for c in reply.tool_calls] == [{"path": "1"}]


@pytest.mark.parametrize("arguments", [{"path": "1"}, json.dumps(json.dumps({"path": "1"}))])
def test_arguments_as_an_object_or_encoded_twice_are_understood(arguments: Any) -> None:
    assert calls(call(arguments, name="read_file")).tool_calls[0].arguments == {"path": "1"}


def test_a_call_without_arguments_has_none() -> None:
    assert calls(call("", name="run_tests")).tool_calls[0].arguments == {}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path": "a.py"',
        "path=a.py",
        '["a"]',
        '{"start": NaN}',
        '{"start": 1e999}',
        "[" * 5000,
        "7",
        '{"a": 1}{"b": 2}',
    ],
)
def test_arguments_that_are_no_object_go_into_the_text_and_are_lost_to_nobody(arguments: str) -> None:
    reply = calls(call('{"path": "1"}', name="read_file"), call(arguments, name="search", index=1), text="so")
    assert [c.name for c in reply.tool_calls] == ["read_file"]
    assert reply.text == f'so\n<tool_call>\n{{"name": "search", "arguments": {arguments}}}\n</tool_call>'


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    reply = calls(call('{"path": "\\ud800"}', name="read_file"), text="")
    assert reply.tool_calls[0].arguments == {"path": "?"}
    assert ask(Say(more=['{"choices": [{"index": 0, "delta": {"content": "\\udfff"}}]}']))[1].text == "?"


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("say", "error", "says"),
    [
        (Say("one two", fault="cut"), Unavailable, "broke"),
        (Say("one two", fault="close"), Unavailable, "broke off"),
        (Say("one two", finish=None), Unavailable, "broke off"),
        (Say("one", more=["{not json"]), BadReply, "not its protocol"),
        (Say("one", more=["[1, 2]"]), BadReply, "not its protocol"),
        (Say("one", more=["null"]), BadReply, "not its protocol"),
        (Say("one", more=['{"choices": 5}']), BadReply, "not its protocol"),
        (Say("one", more=['{"choices": [5]}']), BadReply, "not its protocol"),
        (Say("one", more=['{"choices": [{"delta": "x"}]}']), BadReply, "not its protocol"),
        (Say("one", more=['{"choices": [{"delta": {"tool_calls": [7]}}]}']), BadReply, "not its protocol"),
        (Say("one", more=['{"choices": [{"delta": {"tool_calls": {"a": 1}}}]}']), BadReply, "not its protocol"),
        (Say("one", more=['{"error": {"message": "slot was lost"}}']), Unavailable, "slot was lost"),
        (Say("one", more=['{"error": "out of memory"}']), ResourceExhausted, "smaller"),
        (Say("x", finish="content_filter"), BadReply, "filter"),
        (Say(status=500, error={"error": {"message": "llama_decode failed"}}), Unavailable, "llama_decode failed"),
        (Say(status=503, error={"error": {"message": "Loading model"}}), Unavailable, "Loading model"),
        (Say(status=500, error={"error": "insufficient memory"}), ResourceExhausted, "smaller"),
        (Say(status=429, error={"message": "slow down"}), Unavailable, "slow down.*again later"),
        (Say(status=429, error={"message": "See your billing details"}), ResourceExhausted, "billing.*account"),
        (Say(status=404, error={"error": "no such"}), UnknownModel, "'large'.*no such.*openai.url"),
        (Say(status=400, error={"error": {"message": "only text"}}), BadInput, "only text"),
        (Say(status=400, error={"error": "The model `large` does not exist"}), UnknownModel, "'large'"),
        (Say(status=400, error={"detail": "Failed to load model: large"}), UnknownModel, "'large'"),
        (Say(status=400, error={"error": {"message": "exceeds context size"}}), ResourceExhausted, "context.worker"),
        (Say(status=500, error="<html>Bad\x1b[31m Gateway</html>"), Unavailable, "Gateway"),
        (Say(status=307, error={}, headers={"location": "http://192.0.2.1/v1"}), BadConfig, "elsewhere"),
    ],
)  # fmt: skip
def test_each_failure_becomes_an_error_of_ours_with_a_remedy(say: Say, error: type[TandemError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        ask(say)
    assert type(raised.value) is error
    assert raised.value.message.isprintable()
    assert "; " in raised.value.message or "filter" in says


def test_a_failure_is_asked_once_and_not_again() -> None:
    asked = 0

    def busy(body: dict[str, Any]) -> Say:
        nonlocal asked
        asked += 1
        return Say(status=503, error={"error": "busy"}, headers={"retry-after": "0"})

    with pytest.raises(Unavailable):
        ask(busy)
    assert asked == 1


@pytest.mark.parametrize(("said", "asked"), [("0.3", 2), ("1000", 1), ("soon", 1), ("", 1), ("-1", 1), ("nan", 1)])
def test_a_busy_server_is_asked_once_more_after_as_long_as_it_says_unless_that_is_long(said: str, asked: int) -> None:
    came: list[float] = []

    def busy(body: dict[str, Any]) -> Say:
        came.append(time.monotonic())
        return Say(status=429, error={"error": "busy"}, headers={"retry-after": said})

    with pytest.raises(Unavailable, match="busy"):
        ask(busy, first_token_s=2.0)
    assert len(came) == asked
    assert asked == 1 or came[1] - came[0] >= 0.3


def test_a_server_that_was_busy_for_a_moment_is_no_trouble() -> None:
    said = [Say(status=429, error={"error": "busy"}, headers={"retry-after": "0"}), Say("at last")]
    assert ask(lambda body: said.pop(0))[1].text == "at last"


def test_a_refused_key_keeps_no_model_from_being_asked_for() -> None:
    """So that the call itself says what is wrong, under its own class, and is not repeated as an outage would be."""

    async def run(fake: FakeOpenAI) -> tuple[list[str], str]:
        backend = OpenAIBackend(config(fake), ("large",))
        try:
            found, trouble = await Backends([backend]).models()
        finally:
            await backend.close()
        return [model.name for model in found], trouble

    with FakeOpenAI(lambda body: Say("x"), key=KEY) as fake:
        found, trouble = asyncio.run(run(fake))
    assert found == ["openai/large"]
    assert "refused the key" in trouble


def test_silence_ends_in_time_and_names_the_setting() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"openai\.first_token_s"):
        ask(Say("x", fault="hang"), first_token_s=0.3)
    assert time.monotonic() - started < 5


def test_a_server_that_says_who_speaks_before_it_has_read_the_prompt_has_not_begun() -> None:
    reply = ask(lambda body: Say("one two", pause_s=0.4), idle_s=5.0)[1]
    assert reply.text == "one two"
    with pytest.raises(DeadlineExceeded):
        ask(Say("one two three", fault="late"), first_token_s=5.0, idle_s=0.2)


def test_a_tool_call_that_is_held_back_until_it_is_whole_is_waited_for() -> None:
    asked = request(tools=(READ,))
    assert ask(Say("one two", pause_s=0.4), asked, first_token_s=5.0, idle_s=0.1)[1].text == "one two"
    with pytest.raises(DeadlineExceeded):
        ask(Say("one two", pause_s=0.4), first_token_s=5.0, idle_s=0.1)


def test_endless_tokens_are_cut_off() -> None:
    reply = ask(Say("x", fault="endless"), request(sampling=Sampling(max_tokens=200)))[1]
    assert reply.finish == "length"
    assert len(reply.text) < 20_000


@pytest.mark.parametrize("event", [delta(content=""), {"choices": []}, delta(reasoning="la " * 50)])
def test_endless_events_without_a_word_are_cut_off(event: Mapping[str, Any]) -> None:
    reply = ask(Say(more=[event] * 400), request(sampling=Sampling(max_tokens=20)))[1]
    assert (reply.text, reply.finish) == ("", "length")


def test_closing_the_reply_stops_the_server() -> None:
    async def run(fake: FakeOpenAI) -> None:
        backend = OpenAIBackend(config(fake))
        stream = backend.complete(request(), "large")
        await anext(stream)
        await stream.aclose()
        await backend.close()

    with FakeOpenAI(lambda body: Say("word " * 2000, pause_s=0.01)) as fake:
        asyncio.run(run(fake))
        assert fake.stopped.wait(5)


def test_cancelling_while_nothing_has_come_stops_the_server() -> None:
    async def run(fake: FakeOpenAI) -> None:
        backend = OpenAIBackend(config(fake))

        async def one() -> None:
            await answered(backend, request())

        task = asyncio.create_task(one())
        await asyncio.to_thread(fake.heard.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await backend.close()

    with FakeOpenAI(lambda body: time.sleep(0.3) or Say("word " * 2000, pause_s=0.01)) as fake:
        asyncio.run(run(fake))
        assert fake.stopped.wait(5)


# --- a schema that is refused ---------------------------------------------------------------------------------


def test_a_refused_schema_is_left_out_and_remembered() -> None:
    def refusing(body: dict[str, Any]) -> Say:
        return Say(status=400, error={"error": "no response_format"}) if "response_format" in body else Say("{}")

    async def run(fake: FakeOpenAI) -> None:
        backend = OpenAIBackend(config(fake))
        for _ in range(2):
            assert (await answered(backend, request(schema=SCHEMA)))[1].text == "{}"
        await backend.close()

    with FakeOpenAI(refusing) as fake:
        asyncio.run(run(fake))
    assert ["response_format" in body for body in fake.asked] == [True, False, False]


def test_a_question_refused_for_another_reason_says_that_reason_and_is_not_held_against_the_schema() -> None:
    refuse = True

    async def run(fake: FakeOpenAI) -> None:
        nonlocal refuse
        backend = OpenAIBackend(config(fake))
        with pytest.raises(BadInput, match="no pictures"):
            await answered(backend, request(schema=SCHEMA))
        refuse = False
        await answered(backend, request(schema=SCHEMA))
        await backend.close()

    with FakeOpenAI(lambda body: Say(status=400, error={"error": "no pictures"}) if refuse else Say("{}")) as fake:
        asyncio.run(run(fake))
    assert ["response_format" in body for body in fake.asked] == [True, False, True]


# --- models, keys and addresses -------------------------------------------------------------------------------


def models(fake: FakeOpenAI, *wanted: str) -> list[str]:
    async def run() -> list[str]:
        backend = OpenAIBackend(config(fake), wanted)
        try:
            return [model.name for model in await backend.models()]
        finally:
            await backend.close()

    with fake:
        return asyncio.run(run())


def test_offers_what_the_server_lists_and_what_the_configuration_names() -> None:
    assert models(FakeOpenAI(lambda body: Say()), "large", "org/unlisted") == [
        "openai/small",
        "openai/large",
        "openai/org/unlisted",
    ]


@pytest.mark.parametrize("listing", ["drop", "", "[]", {"data": 5}, {"data": [5]}, {"data": None}])
def test_a_server_that_lists_nothing_readable_offers_what_the_configuration_names(listing: Any) -> None:
    assert models(FakeOpenAI(lambda body: Say(), models=listing), "large") == ["openai/large"]
    with pytest.raises((Unavailable, BadReply), match="model server"):
        models(FakeOpenAI(lambda body: Say(), models=listing))


def test_nobody_there_is_said_with_the_setting() -> None:
    backend = OpenAIBackend(OpenAIConfig(url="http://127.0.0.1:9/v1"), ("large",))
    with pytest.raises(Unavailable, match=r"start it, or set openai\.url"):
        asyncio.run(backend.models())
    with pytest.raises(Unavailable, match=r"start it, or set openai\.url"):
        asyncio.run(answered(OpenAIBackend(OpenAIConfig(url="http://127.0.0.1:9/v1")), request()))


def test_the_key_is_sent_and_nothing_of_the_environment_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_OPENAI_KEY", KEY)
    for name, value in {
        "OPENAI_API_KEY": "other", "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "pro", "OPENAI_ADMIN_KEY": "adm",
        "OPENAI_CUSTOM_HEADERS": "x-private: yes", "OPENAI_BASE_URL": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with FakeOpenAI(lambda body: Say("x"), key=KEY) as fake:
        backend = OpenAIBackend(config(fake))
        asyncio.run(answered(backend, request()))
    sent = fake.headers[-1]
    assert sent["authorization"] == f"Bearer {KEY}"
    ours = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"}
    assert set(sent) <= {*ours, "authorization"}


def test_without_a_key_no_key_is_sent() -> None:
    assert "authorization" not in ask(Say("x"))[2].headers[-1]


def test_a_refused_key_is_in_no_message_and_the_next_call_looks_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(fake: FakeOpenAI) -> None:
        backend = OpenAIBackend(config(fake))
        monkeypatch.setenv("TANDEM_OPENAI_KEY", "wrong-" + KEY)
        with pytest.raises(BadConfig, match="TANDEM_OPENAI_KEY") as refused:
            await answered(backend, request())
        assert KEY not in refused.value.message
        with pytest.raises(BadConfig, match="refused the key"):
            await backend.models()
        monkeypatch.setenv("TANDEM_OPENAI_KEY", KEY)
        await answered(backend, request())
        await backend.close()

    with FakeOpenAI(lambda body: Say("x"), key=KEY) as fake:
        asyncio.run(run(fake))


def test_a_redirect_is_not_followed() -> None:
    with FakeOpenAI(lambda body: Say("stolen")) as other:
        away = Say(status=308, error={}, headers={"location": f"{other.url}/chat/completions"})
        with pytest.raises(BadConfig, match="elsewhere"):
            ask(away)
    assert other.paths == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (500, "tools param requires --jinja flag"),
    ],
)
def test_a_server_that_refuses_tools_is_told_of_them_in_words(status: int, words: str) -> None:
    def answer(body: Mapping[str, Any]) -> Say:
        return Say(status=status, error={"error": {"message": words}}) if body.get("tools") else Say(text="hello")

    async def asked_twice(backend: OpenAIBackend) -> list[Reply]:
        try:
            return [
                part
                for _ in range(2)
                async for part in backend.complete(request(tools=(READ,)), "large")
                if isinstance(part, Reply)
            ]
        finally:
            await backend.close()

    with FakeOpenAI(answer) as fake:
        replies = asyncio.run(asked_twice(OpenAIBackend(config(fake))))
        assert [reply.text for reply in replies] == ["hello", "hello"]
        assert [bool(body.get("tools")) for body in fake.asked] == [True, False, False]
        assert '"read_file"' in fake.asked[1]["messages"][0]["content"]


def test_an_error_that_is_not_about_tools_is_not_asked_again() -> None:
    with FakeOpenAI(lambda _: Say(status=500, error={"error": {"message": "out of memory"}})) as fake:
        backend = OpenAIBackend(config(fake))

        async def ask() -> None:
            try:
                async for _ in backend.complete(request(tools=(READ,)), "large"):
                    pass
            finally:
                await backend.close()

        with pytest.raises(TandemError):
            asyncio.run(ask())
        assert len(fake.asked) == 1
