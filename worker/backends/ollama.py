"""Ollama as a model runtime, through its own client; imported only when a model is asked for.

The context size is fixed per role and sent with every call, because Ollama loads a model anew when it changes. Every wait
has a bound of its own: for the first piece (loading and reading a long prompt happen in it) and for silence between
pieces. The client's four kinds of exception become ours in `_ours`, and nowhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from tandem.config import OllamaConfig
from tandem.errors import BadReply, DeadlineExceeded, ResourceExhausted, TandemError, Unavailable, UnknownModel
from tandem.types import Chunk, CompleteRequest, Json, Message, ModelInfo, Reply, ToolCall
from worker.backends.base import clean
from worker.backends.toolprompt import in_words

if TYPE_CHECKING:
    from ollama import AsyncClient

_LIST_S = 5.0
_RESIDENT_S = 1.0  # a listing is worth more than what is in memory, so it does not wait for that
_CHARS_PER_TOKEN = 16  # beyond it a reply is taken for endless, whatever the server counts
_LINES_PER_TOKEN = 2  # the same for lines, which may hold no text at all


class OllamaBackend:
    """One Ollama server."""

    name = "ollama"
    rehearsal = False

    def __init__(self, config: OllamaConfig) -> None:
        self._config = config
        self._client: AsyncClient | None = None
        self._without_tools: set[str] = set()  # models whose template knows none

    def _connected(self) -> AsyncClient:
        if self._client is None:
            from ollama import AsyncClient

            # A proxy from the environment must never see what is meant for this machine.
            self._client = AsyncClient(host=self._config.url, timeout=self._config.first_token_s + 5, trust_env=False)
        return self._client

    async def models(self) -> list[ModelInfo]:
        """Return the models that were pulled, and which of them are in memory.

        Raises:
            Unavailable: Ollama does not answer.
        """
        try:
            async with asyncio.timeout(_LIST_S):
                found, resident = await asyncio.gather(self._connected().list(), self._resident())
        except Exception as error:
            raise self._ours(error, "") from error
        return [
            ModelInfo(
                name=model.model,
                backend=self.name,
                resident=None if resident is None else model.model in resident,
                size_bytes=int(model.size or 0),
            )
            for model in found.models
            if model.model
        ]

    async def _resident(self) -> set[str] | None:
        """Return the models in memory, None where the server does not say: it is old, or busy."""
        try:
            async with asyncio.timeout(_RESIDENT_S):
                found = await self._connected().ps()
        except Exception:  # whatever it is, the listing says it better
            return None
        return {model.model for model in found.models if model.model}

    def named(self) -> list[ModelInfo]:
        """Return none: it always lists what it has."""
        return []

    async def complete(self, request: CompleteRequest, model: str) -> AsyncGenerator[Chunk | Reply]:
        """Ask Ollama; closing the iterator closes the connection, which makes it stop.

        Raises:
            UnknownModel: The model was not pulled.
            Unavailable: Ollama does not answer, or the connection broke.
            DeadlineExceeded: It stayed silent longer than it may.
            BadReply: Its answer is not what its protocol says.
        """
        started, first_ms, text, lines = time.monotonic(), 0.0, "", 0
        calls: list[ToolCall] = []
        stream: Any = None
        try:
            async with asyncio.timeout(self._config.first_token_s):
                stream, part = await self._begun(request, model)
            while part is not None:
                first_ms = first_ms or (time.monotonic() - started) * 1000
                piece, lines = clean(part.message.content or ""), lines + 1
                if piece:
                    yield Chunk(offset=len(text), text=piece)
                    text += piece
                calls += _calls_in(part, len(calls))
                tokens = request.sampling.max_tokens
                endless = len(text) > tokens * _CHARS_PER_TOKEN or lines > (tokens + 32) * _LINES_PER_TOKEN
                if part.done or endless:
                    yield self._reply(request, text, calls, part, first_ms, started, cut=endless)
                    return
                async with asyncio.timeout(self._silence_s(request)):
                    part = await anext(stream, None)
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except Exception as error:
            raise self._ours(error, model) from error
        finally:
            if stream is not None:
                await stream.aclose()
        raise BadReply(f"Ollama ended the reply of {model!r} without its last line; ask again, or look at its log")

    def _silence_s(self, request: CompleteRequest) -> float:
        """Return how long it may be silent inside a reply: Ollama keeps a tool call back until it is whole."""
        return max(self._config.idle_s, self._config.first_token_s) if request.tools else self._config.idle_s

    async def _begun(self, request: CompleteRequest, model: str) -> tuple[Any, Any]:
        """Return the stream and its first part; a model without a template for tools is told of them in words."""
        from ollama import ResponseError

        client: Any = self._connected()  # its overloads are over untyped tools
        if model in self._without_tools:
            request = in_words(request)
        stream = await client.chat(**self._question(request, model), stream=True)
        try:
            return stream, await anext(stream, None)
        except ResponseError as error:
            await stream.aclose()
            if not request.tools or "does not support tools" not in error.error:
                raise
        self._without_tools.add(model)
        return await self._begun(request, model)

    def _question(self, request: CompleteRequest, model: str) -> dict[str, Any]:
        options: dict[str, Any] = {
            "num_ctx": request.context_tokens,
            "num_predict": request.sampling.max_tokens,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
        }
        if request.sampling.seed is not None:
            options["seed"] = request.sampling.seed
        tools = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
        return {
            "model": model,
            "messages": [_message_out(message) for message in request.messages],
            "options": options,
            "keep_alive": self._config.keep_alive,
            **({"tools": tools} if tools else {}),
            **({"format": dict(request.schema)} if request.schema is not None else {}),
        }

    def _reply(
        self,
        request: CompleteRequest,
        text: str,
        calls: list[ToolCall],
        last: Any,
        first_ms: float,
        started: float,
        *,
        cut: bool,
    ) -> Reply:
        finish = "length" if cut or last.done_reason == "length" else "tool_calls" if calls else "stop"
        return Reply(
            text=text,
            tool_calls=tuple(calls),
            finish=finish,
            model=request.model,
            backend=self.name,
            prompt_tokens=last.prompt_eval_count or 0,
            completion_tokens=last.eval_count or 0,
            first_token_ms=first_ms,
            total_ms=(time.monotonic() - started) * 1000,
        )

    def _ours(self, error: Exception, model: str) -> TandemError:
        """Return our error for whatever the client raised."""
        import httpx
        from ollama import ResponseError

        url = self._config.url
        if isinstance(error, TandemError):
            return error
        if isinstance(error, ResponseError):
            words = error.error
            if error.status_code == 404:
                return UnknownModel(f"Ollama does not have the model {model!r}; `ollama pull {model}` fetches it")
            if "memory" in words:
                return ResourceExhausted(f"Ollama cannot load {model!r}: {words}; use a smaller one, or close others")
            return Unavailable(
                f"Ollama failed with {model!r}: {words}; its log says more (`ollama ps` shows what runs)"
            )
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return DeadlineExceeded(
                f"Ollama at {url} stayed silent too long with {model or 'a list of models'!r}; raise ollama.first_token_s "
                f"({self._config.first_token_s:g} s) or ollama.idle_s ({self._config.idle_s:g} s), or use a smaller model"
            )
        if isinstance(error, ConnectionError | httpx.ConnectError):
            return Unavailable(f"Ollama does not answer at {url}; start it with `ollama serve`, or set ollama.url")
        if isinstance(error, httpx.HTTPError):
            return Unavailable(f"the connection to Ollama at {url} broke ({type(error).__name__}); ask again")
        if isinstance(error, ValueError | AttributeError | TypeError):  # the client takes every line for an object
            return BadReply(f"Ollama at {url} answered with something that is not its protocol: {str(error)[:200]}")
        return TandemError(f"Ollama's client failed unforeseen: {type(error).__name__}: {error}")

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None


def _message_out(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        out["images"] = list(message.images)
    if message.tool_calls:
        out["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.arguments)}} for call in message.tool_calls
        ]
    return out


def _calls_in(part: Any, known: int) -> list[ToolCall]:
    found: list[ToolCall] = []
    for call in part.message.tool_calls or ():
        arguments: dict[str, Json] = dict(call.function.arguments)
        found.append(ToolCall(id=f"call-{known + len(found) + 1}", name=call.function.name, arguments=arguments))
    return found
