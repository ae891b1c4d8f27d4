import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.config import OllamaConfig
from tandem.errors import BadReply, Unavailable
from tandem.types import Chunk, Reply, Sampling
from tests.support.machine import Machine, dispatcher, question
from worker.backends.ollama import OllamaBackend
from worker.backends.rehearsal import RehearsalBackend, Script

Lines = Callable[[asyncio.StreamWriter], Awaitable[None]]


def line(content: str, *, done: bool = False) -> bytes:
    said = {"model": "m", "message": {"role": "assistant", "content": content}, "done": done}
    return json.dumps(said).encode() + b"\n"


@asynccontextmanager
async def server(say: Lines) -> AsyncIterator[str]:
    """Serve one raw stream, whatever it holds; what a real Ollama would never say cannot come from a polite fake."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n")
        try:
            await say(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def answer(say: Lines, max_tokens: int = 50) -> Reply:
    async def scenario() -> Reply:
        async with server(say) as url, asyncio.timeout(10):
            backend = OllamaBackend(OllamaConfig(url=url))
            try:
                asked = question("q", model="m", sampling=Sampling(max_tokens=max_tokens))
                parts = [part async for part in backend.complete(asked, "m")]
            finally:
                await backend.close()
            assert isinstance(parts[-1], Reply)
            return parts[-1]

    return asyncio.run(scenario())


def test_endless_lines_without_a_word_are_cut_off() -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(line("") * 100)
            await writer.drain()

    reply = answer(say)
    assert (reply.text, reply.finish) == ("", "length")


@pytest.mark.parametrize("said", [b"[1, 2]\n", b"null\n", b"5\n", b'"text"\n', b'{"done": true}\n', b""])
def test_a_line_that_is_json_but_not_the_protocol_is_a_bad_reply(said: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    with pytest.raises(BadReply):
        answer(say)


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(line("a\ud83d") + line("", done=True))

    assert answer(say).text == "a?"


def test_half_a_surrogate_pair_in_a_script_crosses_the_wire_as_a_question_mark(tmp_path: Path) -> None:
    async def scenario(machine: Machine) -> None:
        async with dispatcher(machine.socket) as made:
            reply = await made.complete(question("odd"), lambda chunk: None)
            assert reply.text == "a?b"

    with Machine(tmp_path, [{"persona": "coder", "text": "a\ud83db"}]) as machine:
        asyncio.run(scenario(machine))


def test_a_rehearsed_cut_comes_in_the_middle_of_the_reply() -> None:
    script = Script.model_validate(
        {"name": "play", "replies": [{"persona": "coder", "text": "one two three four", "fault": "cut"}]}
    )

    heard: list[str] = []

    async def scenario() -> None:
        async for part in RehearsalBackend(script, tokens_s=0, seed=0).complete(question("q"), "play"):
            assert isinstance(part, Chunk)
            heard.append(part.text)

    with pytest.raises(Unavailable, match="in the middle"):
        asyncio.run(scenario())
    assert "".join(heard) == "one two t"
