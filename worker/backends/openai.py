"""Any OpenAI-compatible server as a model runtime (llama.cpp, LM Studio, vLLM, mlx_lm.server), through OpenAI's client.

The client is imported only when a model is asked for. It reads a dozen environment variables and follows redirects; here
it does neither: what leaves is exactly one request to the configured address, with the headers of `_HEADERS` and no
other. Replies are always streamed, because servers stop working for a client that went away only then. The protocol
cannot say how large a context is needed: the server is started with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from tandem.config import OpenAIConfig
from tandem.errors import BadConfig, BadReply, DeadlineExceeded, TandemError, Unavailable
from tandem.types import Chunk, CompleteRequest, ModelInfo, Reply
from worker import keys
from worker.backends.openai_errors import ACCOUNT, nobody_there, ours, wait_s
from worker.backends.openai_parts import Gathered, names_in
from worker.backends.openai_question import question, tells_schema
from worker.backends.toolprompt import in_words

if TYPE_CHECKING:
    import httpx
    from openai import APIStatusError, AsyncOpenAI, AsyncStream

_CONNECT_S = 5.0
_LIST_S = 5.0
_TAIL_S = 5.0  # for what may follow the end: the counts
_BUSY_SHARE = 0.25  # of the wait for a reply to begin: the most that a busy server may ask us to wait
_CHARS_PER_TOKEN = 16  # beyond it a reply is taken for endless, whatever the server counts
_PARTS_PER_TOKEN = 2  # the same for events, which may hold no text at all
_HEADERS = frozenset(
    ("host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent")
)
_SCHEMA_REFUSED = (400, 422, 501)
_TOOLS_REFUSED = re.compile(r"\btools?\b|tool[-_ ](?:choice|call)|--jinja", re.IGNORECASE)
_END = object()

log = logging.getLogger(__name__)


class OpenAIBackend:
    """One OpenAI-compatible server. `wanted` are the models the configuration names, as the server calls them."""

    name = "openai"
    rehearsal = False

    def __init__(self, config: OpenAIConfig, wanted: tuple[str, ...] = ()) -> None:
        self._config = config
        self._wanted = wanted
        self._client: AsyncOpenAI | None = None
        self._key: str | None = None  # not looked for yet
        self._schemaless: set[str] = set()  # models whose server refused a schema
        self._toolless: set[str] = set()  # models whose server refused tools

    async def _connected(self) -> AsyncOpenAI:
        if self._key is None:
            self._key = await asyncio.to_thread(keys.find, self._config.key_env, ACCOUNT)
        if self._client is None:
            await asyncio.to_thread(__import__, "openai")  # it takes half a second
            self._client = self._made()
        return self._client

    def _made(self) -> AsyncOpenAI:
        import httpx
        from openai import AsyncOpenAI

        logging.getLogger("openai").setLevel(logging.WARNING)  # OPENAI_LOG=debug would log every prompt
        timeout = httpx.Timeout(self._config.first_token_s + 5, connect=_CONNECT_S)
        # A proxy from the environment must never see what is meant for this address, nor may a redirect lead it away.
        http = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=timeout, event_hooks={"request": [self._only_ours]}
        )
        return AsyncOpenAI(
            api_key="unused", base_url=self._config.url, max_retries=0, timeout=timeout, http_client=http
        )

    async def _only_ours(self, request: httpx.Request) -> None:
        """Send our headers alone: the client adds what the environment names, and what machine this is."""
        for name in [name for name in request.headers if name.lower() not in _HEADERS]:
            del request.headers[name]
        if self._key:
            request.headers["authorization"] = f"Bearer {self._key}"

    async def models(self) -> list[ModelInfo]:
        """Return the models the server lists, and those the configuration names: servers serve what they do not list.

        mlx_lm.server lists only some of what it has and, where there is no folder of downloads, breaks off.

        Raises:
            Unavailable: It does not answer.
            DeadlineExceeded: It does not answer in time.
            BadConfig: It refuses the key.
            TandemError: It lists nothing that can be read, and the configuration names no model of its.
        """
        try:
            client = await self._connected()
            async with asyncio.timeout(_LIST_S):
                listed = names_in(await client.get("/models", cast_to=object))
        except Exception as error:
            trouble = self._ours(error, "")
            if not self._wanted or isinstance(trouble, BadConfig | DeadlineExceeded) or nobody_there(error):
                raise trouble from error
            listed = []
        names = dict.fromkeys((*listed, *self._wanted))
        return [ModelInfo(name=f"{self.name}/{model}", backend=self.name) for model in names]

    def named(self) -> list[ModelInfo]:
        """Return the models the configuration names."""
        return [ModelInfo(name=f"{self.name}/{model}", backend=self.name) for model in self._wanted]

    async def complete(self, request: CompleteRequest, model: str) -> AsyncGenerator[Chunk | Reply]:
        """Ask the server; closing the iterator closes the connection, which makes it stop.

        Raises:
            UnknownModel: The server does not have it.
            Unavailable: It does not answer, is too busy, or the connection broke.
            DeadlineExceeded: It stayed silent longer than it may.
            ResourceExhausted: The account is spent, or the prompt too long for it.
            BadConfig: It refuses the key.
            BadInput: It refuses the question.
            BadReply: Its answer is not what its protocol says.
        """
        started, first_ms, text, said = time.monotonic(), 0.0, "", Gathered()
        tokens = request.sampling.max_tokens
        stream: AsyncStream[object] | None = None
        cut = False
        try:
            client = await self._connected()
            async with asyncio.timeout(self._config.first_token_s):
                stream = await self._ask(client, request, model)
            events = _events(stream)
            while (event := await self._next(events, said, self._patience_s(request, said, started))) is not _END:
                piece = said.take(event)
                first_ms = first_ms or (said.begun and (time.monotonic() - started) * 1000) or 0.0
                if piece:
                    yield Chunk(offset=len(text), text=piece)
                    text += piece
                cut = said.size > tokens * _CHARS_PER_TOKEN or said.parts > (tokens + 32) * _PARTS_PER_TOKEN
                if cut:
                    break
            calls, spoilt, finish = said.ended()
            self._whole(said, model, cut=cut)
        except Exception as error:
            raise self._ours(error, model) from error
        finally:
            if stream is not None:
                await stream.close()
        if spoilt:
            yield Chunk(offset=len(text), text=spoilt)
        yield Reply(
            text=text + spoilt,
            tool_calls=calls,
            finish="length" if cut else finish,
            model=request.model,
            backend=self.name,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            first_token_ms=first_ms,
            total_ms=(time.monotonic() - started) * 1000,
        )

    async def _ask(self, client: AsyncOpenAI, request: CompleteRequest, model: str) -> AsyncStream[object]:
        """Return the reply's stream; a server that refuses a schema or tools is asked again without, and known for it.

        vLLM refuses tools where it was started without a parser for them, llama.cpp without its templates; the tools
        are then told in words.
        """
        from openai import APIStatusError

        if model in self._toolless:
            request = in_words(request)
        schema = tells_schema(request) and model not in self._schemaless
        try:
            return await self._post_patiently(client, question(request, model, schema=schema))
        except APIStatusError as error:
            if request.tools and _refuses_tools(error):
                known, what, request = self._toolless, "tools", in_words(request)
            elif schema and error.status_code in _SCHEMA_REFUSED:
                known, what = self._schemaless, "schema"
            else:
                raise
        stream = await self._post_patiently(client, question(request, model, schema=False))
        known.add(model)
        log.info("refused, asked without", extra={"model": model, "what": what})
        return stream

    async def _post_patiently(self, client: AsyncOpenAI, body: dict[str, Any]) -> AsyncStream[object]:
        """Send a question; a server that is too busy and says for how long is asked once more after that."""
        from openai import APIStatusError

        try:
            return await _post(client, body)
        except APIStatusError as error:
            pause_s = wait_s(error, self._config.first_token_s * _BUSY_SHARE)
            if pause_s is None:
                raise
        log.info("server busy, asked again", extra={"model": body["model"], "after_s": pause_s})
        await asyncio.sleep(pause_s)
        return await _post(client, body)

    def _patience_s(self, request: CompleteRequest, said: Gathered, started: float) -> float:
        """Return how long the next event may take.

        Servers hold a tool call back until it is whole (mlx_lm.server: without a sign of life), and a call may hold a
        file: where tools are offered, silence inside a reply may be as long as the one before it.
        """
        if said.finish:
            return _TAIL_S
        if not said.begun:
            return started + self._config.first_token_s - time.monotonic()
        return max(self._config.idle_s, self._config.first_token_s if request.tools else 0.0)

    async def _next(self, events: AsyncIterator[object], said: Gathered, patience_s: float) -> object:
        """Return the next event, or `_END`; what goes wrong behind the reply's end harms nothing."""
        try:
            async with asyncio.timeout(patience_s):
                return await anext(events, _END)
        except Exception as error:
            if "incomplete tool call" in str(error):  # mlx_vlm.server's words where max_tokens cut one off
                said.finish = "length"
            if said.finish:
                return _END
            raise

    def _whole(self, said: Gathered, model: str, *, cut: bool) -> None:
        """Refuse a reply that is none.

        Raises:
            Unavailable: It broke off. Many servers mark the end of what they say by closing the connection, so that a
                server that died looks like one that has finished.
            BadReply: A filter held it back.
        """
        if not cut and not said.finish:
            raise Unavailable(
                f"the model server at {self._config.url} broke off its reply of {model!r}; ask again, or look at its log"
            )
        if said.finish == "content_filter":
            raise BadReply(f"a filter of the model server at {self._config.url} held back the reply of {model!r}")

    def _ours(self, error: Exception, model: str) -> TandemError:
        mapped = ours(error, self._config, model, self._key or "")
        if isinstance(mapped, BadConfig):
            self._key = None  # the person may store another meanwhile
        return mapped

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None


def _refuses_tools(error: APIStatusError) -> bool:
    """Return whether the server's words say so; llama.cpp calls it an error of its own (500)."""
    return error.status_code in (*_SCHEMA_REFUSED, 500) and bool(_TOOLS_REFUSED.search(str(error)))


async def _post(client: AsyncOpenAI, body: dict[str, Any]) -> AsyncStream[object]:
    from openai import AsyncStream

    return await client.post(
        "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
    )


async def _events(stream: AsyncStream[object]) -> AsyncIterator[object]:
    """Yield the events of a reply; a server that does not stream has sent one, and says so in its type."""
    if stream.response.headers.get("content-type", "").startswith("application/json"):
        yield json.loads(await stream.response.aread())
        return
    while (event := await anext(stream, _END)) is not _END:
        yield event
