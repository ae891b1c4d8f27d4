"""Who may call over the network: a paired router, looked up anew at each call, and cut off when it is unpaired.

TLS has checked that the caller holds the key of a certificate that was paired when it connected. Here its certificate, not
its address, says who it is now: a connection outlives its pairing, the answer to it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import grpc
from grpc import aio

from tandem import channel
from tandem.errors import NotPaired
from tandem.identity import NodeId, id_of
from tandem.peers import Peers
from worker.callers import caller
from worker.connections import Peer, peer_of

log = logging.getLogger(__name__)
T = TypeVar("T")
_END: Any = object()
_CAME_MAX = 4096  # connections that are remembered; one that is forgotten is closed with the next router that goes


class Gate(aio.ServerInterceptor):
    """Stands before every call of the port for paired routers."""

    def __init__(self, peers: Peers, stop_work: Callable[[NodeId], None]) -> None:
        self._peers = peers
        self._stop_work = stop_work  # what a router began goes on without its calls
        # of everybody who called while paired; each is set once its router is unpaired
        self._calls = defaultdict[NodeId, set[asyncio.Future[None]]](set)
        self._came: OrderedDict[str, NodeId] = OrderedDict()  # over which connection who called last
        self._refused = set[NodeId | None]()  # told of once; whoever was unpaired may go on asking

    def trusts(self, node: NodeId | None) -> bool:
        """Return whether that is a paired router at this moment."""
        peer = self._peers.read().get(node) if node else None
        return peer is not None and peer.role == "router"

    @property
    def wanted(self) -> set[Peer]:
        """Return the far ends of the connections over which routers called that are paired now."""
        trusted = {node for node in set(self._came.values()) if self.trusts(node)}
        return {peer_of(text) for text, node in self._came.items() if node in trusted}

    def cut(self) -> None:
        """End the calls and the work of everybody who is not paired any more."""
        for node in [node for node in self._calls if not self.trusts(node)]:
            calls = self._calls.pop(node)
            log.warning("an unpaired router was cut off", extra={"peer": node, "calls": len(calls)})
            for gone in tuple(calls):
                if not gone.done():
                    gone.set_result(None)
            self._stop_work(node)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Put the gate before a method, whichever it is."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.request_streaming != handler.response_streaming:
            kind, behaviour = grpc.unary_stream_rpc_method_handler, self._streaming(handler.unary_stream)
        elif handler.response_streaming:
            kind, behaviour = grpc.stream_stream_rpc_method_handler, self._streaming(handler.stream_stream)
        else:
            kind, behaviour = grpc.unary_unary_rpc_method_handler, self._single(handler.unary_unary)
        return kind(
            behaviour,  # pyright: ignore[reportArgumentType] - typed for the blocking API alone
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _single(self, behaviour: Any) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            async with self._watched(context) as gone:
                return await _unless(gone, behaviour(request, context))

        return guarded

    def _streaming(self, behaviour: Any) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            async with self._watched(context) as gone, aclosing(behaviour(request, context)) as answers:
                while (response := await _unless(gone, _next(answers))) is not _END:
                    yield response

        return guarded

    @asynccontextmanager
    async def _watched(self, context: Any) -> AsyncGenerator[asyncio.Future[None]]:
        """Let a paired router's call through; what is yielded is set by `cut`, and the call refused from there on.

        Not by cancelling: a task of gRPC's that is cancelled while it sends leaves its caller without an end.
        """
        node = _caller(context)
        if node is None or not self.trusts(node):
            self._came.pop(context.peer(), None)
            await self._refuse(node, context)
        assert node is not None
        self._refused.discard(node)
        self._remember(context.peer(), node)
        caller.set(node)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calls = self._calls[node]
        calls.add(gone)
        try:
            yield gone
        except _Cut:
            await self._refuse(node, context)
        finally:
            calls.discard(gone)

    def _remember(self, peer: str, node: NodeId) -> None:
        self._came[peer] = node
        self._came.move_to_end(peer)
        if len(self._came) > _CAME_MAX:
            self._came.popitem(last=False)

    async def _refuse(self, node: NodeId | None, context: Any) -> None:
        if node not in self._refused:
            self._refused.add(node)
            log.warning("calls of an unpaired router refused", extra={"peer": node, "address": context.peer()})
        await channel.abort(context, NotPaired("this router is not paired with that worker any more; pair them anew"))


class _Cut(Exception):
    """The caller is not paired any more."""


async def _next(answers: AsyncIterator[Any]) -> Any:
    return await anext(answers, _END)


async def _unless(gone: asyncio.Future[None], work: Awaitable[T]) -> T:
    """Return what `work` comes to.

    Raises:
        _Cut: `gone` was set first, or meanwhile; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise _Cut
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _caller(context: Any) -> NodeId | None:
    """Return who calls, by the certificate of the connection."""
    shown: list[bytes] = list(context.auth_context().get("x509_pem_cert") or ())
    try:
        return id_of(shown[0]) if len(shown) == 1 else None
    except ValueError:
        return None
