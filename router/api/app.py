"""The router's local API as a web application: paths to calls, bodies to values, answers to JSON.

Decides nothing about runs. Calls wait for a router that is still starting; only `status` and `shutdown` do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router.api import faults, sse
from router.api.models import BODY_BYTES_MAX, Answer, Clearing, Export, Import, Submission, Verification, parse
from router.api.service import Gate, Service
from tandem.errors import BadInput, DeadlineExceeded, NotFound, TandemError
from tandem.types import Json, RunId

BODY_S = 30.0  # to send a body
CALL_S = 45.0  # to answer a call; replays and undos have `LONG_S`
LONG_S = 600.0
STATUS_S = 1.0  # for the nodes to say what they are; a command that starts must not wait for one that is gone
DRAIN_BYTES = 4 * BODY_BYTES_MAX  # read and thrown away, so that a caller who sends too much still hears so
Status = Callable[[], dict[str, Json]]
_T = TypeVar("_T")


class Api:
    """The calls of docs/api.md over a service that may still be on its way."""

    def __init__(self, gate: Gate, status: Status, shut_down: Callable[[], None]) -> None:
        self._gate = gate
        self._status = status
        self._shut_down = shut_down
        self.closing = asyncio.Event()
        self.open_calls = 0
        """Requests being answered now, streams among them."""
        self._called = False

    def called(self) -> bool:
        """Return whether anybody called since this was last asked."""
        called, self._called = self._called, False
        return called

    def app(self) -> ASGIApp:
        """Return the application."""
        run = "/v1/runs/{run}"
        routes = [
            Route("/v1/status", self._get_status),
            Route("/v1/runs", self._submit, methods=["POST"]),
            Route("/v1/runs", self._list),
            Route(run, self._get),
            Route(f"{run}/diff", self._diff),
            Route(f"{run}/calls", self._calls),
            Route(f"{run}/artefacts/{{kind:str}}", self._artefacts),
            Route(f"{run}/placements", self._placements),
            Route(f"{run}/events", self._events),
            Route(f"{run}/decision", self._decide, methods=["POST"]),
            Route(f"{run}/export", self._export, methods=["POST"]),
            Route("/v1/import", self._import, methods=["POST"]),
            Route("/v1/clear", self._clear, methods=["POST"]),
            Route(f"{run}/{{act:str}}", self._act, methods=["POST"]),
            Route("/v1/verify", self._verify, methods=["POST"]),
            Route("/v1/shutdown", self._shutdown, methods=["POST"]),
        ]
        handlers = {TandemError: faults.on_foreseen, Exception: faults.on_unforeseen, 404: _no_path, 405: _no_method}
        return self._counting(Starlette(routes=routes, exception_handlers=handlers))

    def _counting(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self.open_calls += 1
            self._called = True
            try:
                await app(scope, receive, send)
            finally:
                self.open_calls -= 1

        return counted

    # --- calls ------------------------------------------------------------------------------------------------

    async def _get_status(self, request: Request) -> Response:
        if self._gate.error is not None:
            raise self._gate.error  # it never will be ready; the caller should learn why
        answer = self._status()
        service = self._gate.now()
        if service is not None:
            standing = service.standing()
            answer |= standing | {"trouble": [*_texts(answer.get("trouble")), *_texts(standing.get("trouble"))]}
            try:
                async with asyncio.timeout(STATUS_S):
                    answer |= await service.status()
            except TimeoutError:
                answer["trouble"] = [*_texts(answer.get("trouble")), f"no node answered within {STATUS_S:g} s"]
            except TandemError as error:  # a node's trouble is not the router's
                answer["trouble"] = [*_texts(answer.get("trouble")), error.message]
        return JSONResponse(answer)

    async def _submit(self, request: Request) -> Response:
        submission = parse(Submission, await _body(request))
        service = await self._gate.service()
        return JSONResponse(await _within(CALL_S, service.submit(submission.model_dump())), status_code=201)

    async def _list(self, request: Request) -> Response:
        service = await self._gate.service()
        return JSONResponse({"runs": await _within(CALL_S, service.list_runs())})

    async def _get(self, request: Request) -> Response:
        service, run = await self._named(request)
        return JSONResponse(await _within(CALL_S, service.get(run)))

    async def _diff(self, request: Request) -> Response:
        service, run = await self._named(request)
        return Response(await _within(CALL_S, service.diff(run)), media_type="text/x-diff")

    async def _calls(self, request: Request) -> Response:
        service, run = await self._named(request)
        return Response(await _within(CALL_S, service.calls(run)), media_type="application/x-ndjson")

    async def _artefacts(self, request: Request) -> Response:
        service, run = await self._named(request)
        packed = await _within(CALL_S, service.artefacts(run, request.path_params["kind"]))
        return Response(packed, media_type="application/zip")

    async def _placements(self, request: Request) -> Response:
        service, run = await self._named(request)
        return JSONResponse({"run": run, "placements": await _within(CALL_S, service.placements(run))})

    async def _decide(self, request: Request) -> Response:
        answer = parse(Answer, await _body(request))
        service, run = await self._named(request)
        return JSONResponse(await _within(CALL_S, service.decide(run, answer.decision())))

    async def _act(self, request: Request) -> Response:
        act = request.path_params["act"]
        await _body(request)
        if act not in ("cancel", "resume", "replay", "undo"):
            return await _no_path(request, NotFound(""))
        service, run = await self._named(request)
        acts = {"cancel": service.cancel, "resume": service.resume, "replay": service.replay, "undo": service.undo}
        return JSONResponse(await _within(LONG_S if act in ("replay", "undo") else CALL_S, acts[act](run)))

    async def _events(self, request: Request) -> Response:
        after = _number(request.query_params.get("after") or request.headers.get("last-event-id") or "0", "after")
        follow = request.query_params.get("follow", "0") not in ("0", "", "false")
        service, run = await self._named(request)

        async def still_open(question: str) -> bool:
            opened = (await service.get(run)).get("question")
            return isinstance(opened, dict) and (not question or opened.get("id") == question)

        paused = None if follow else still_open
        return _streaming(sse.stream(_run_events(service, run, after), closing=self.closing, paused=paused))

    async def _export(self, request: Request) -> Response:
        wish = parse(Export, await _body(request))
        service, run = await self._named(request)
        return JSONResponse(await _within(LONG_S, service.export(run, wish.file, move=wish.move)))

    async def _import(self, request: Request) -> Response:
        wish = parse(Import, await _body(request))
        service = await self._gate.service()
        return JSONResponse(await _within(LONG_S, service.take_in(wish.file, wish.repo)), status_code=201)

    async def _clear(self, request: Request) -> Response:
        wish = parse(Clearing, await _body(request))
        service = await self._gate.service()
        return JSONResponse(await _within(LONG_S, service.clear(run=wish.run, days=wish.days, dry_run=wish.dry_run)))

    async def _verify(self, request: Request) -> Response:
        wish = parse(Verification, await _body(request))
        service = await self._gate.service()
        return _streaming(sse.stream(_verification(service, wish), closing=self.closing))

    async def _shutdown(self, request: Request) -> Response:
        await _body(request)
        self._shut_down()
        return JSONResponse({"stopping": True}, status_code=202)

    async def _named(self, request: Request) -> tuple[Service, RunId]:
        service = await self._gate.service()
        return service, await _within(CALL_S, service.resolve(request.path_params["run"]))


async def _run_events(service: Service, run: RunId, after: int) -> AsyncIterator[sse.Sent]:
    async with sse.owned(service.subscribe(run, after)) as events:
        async for event in events:
            data = {"run": event.run_id, "at_s": event.at_s, **event.data}
            asked = event.data.get("question")
            pause = str(asked.get("id", "")) if event.kind == "question" and isinstance(asked, dict) else ""
            yield sse.Sent(kind=event.kind, data=data, seq=event.seq, pause=pause)


async def _verification(service: Service, wish: Verification) -> AsyncIterator[sse.Sent]:
    """Yield what verifying tells; a stream that has begun can only tell an error as an event."""
    try:
        async with sse.owned(
            service.verify(wish.repo, wish.commit, prepare=wish.prepare, unsandboxed=wish.unsandboxed)
        ) as told:
            async for kind, data in told:
                yield sse.Sent(kind=kind, data=data)
    except TandemError as error:
        yield sse.Sent(kind="error", data=faults.error_body(error))
    except Exception as error:
        yield sse.Sent(kind="error", data=faults.error_body(faults.unforeseen(error)))


def _streaming(content: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(content, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _within(wait_s: float, call: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(wait_s):
            return await call
    except TimeoutError:
        raise DeadlineExceeded(
            f"the router did not finish this within {wait_s:g} s; `tandem status` says what it does"
        ) from None


async def _body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        BadInput: It is larger than `BODY_BYTES_MAX`.
        DeadlineExceeded: It did not come within `BODY_S`.
    """
    size, pieces = 0, list[bytes]()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                size += len(piece)
                if size <= BODY_BYTES_MAX:
                    pieces.append(piece)
                elif size > DRAIN_BYTES:
                    break
    except TimeoutError:
        raise DeadlineExceeded(f"the request's body did not come within {BODY_S:g} s; send it again") from None
    if size > BODY_BYTES_MAX:
        raise BadInput(f"the request's body is larger than {BODY_BYTES_MAX >> 20} MiB; put material in the repository")
    return b"".join(pieces)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadInput(f"{name} is {text[:40]!r}; it must be a whole number from 0 on")
    return int(text)


def _texts(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


async def _no_path(request: Request, error: Exception) -> Response:
    return faults.foreseen(NotFound(f"there is no call {request.method} {request.url.path}; docs/api.md lists them"))


async def _no_method(request: Request, error: Exception) -> Response:
    return await _no_path(request, error)
