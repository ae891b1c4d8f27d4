"""The side that shows the code: a plain TCP listener that is open while the code counts, and answers nothing else.

The first machine that proves the code is paired, and the listener closes; so it does after the third wrong code and when
the time is up. Each side stores the other only after the other's proof, and this side only once the other says that it
stored this one: a connection that is cut anywhere before leaves neither. Lost can only be that word; then the other side
alone has an entry, is refused here, and is told to pair again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from tandem import endpoints, interfaces
from tandem.endpoints import Endpoint
from tandem.errors import BadInput, Conflict, DeadlineExceeded, Refused, TandemError, Unavailable
from tandem.identity import id_of
from tandem.pairing import messages
from tandem.pairing.code import Code
from tandem.pairing.exchange import Exchange, WrongCode
from tandem.pairing.lines import Lines, words
from tandem.pairing.messages import LINE_BYTES_MAX, Card, Malformed
from tandem.pairing.window import TRIES, VALID_S, Window, now
from tandem.peers import ADDRESSES_MAX, Peer, Peers

VISITORS_MAX = 4  # connections at the same time; one more is closed at once
VISIT_S = 25.0  # for a whole try
TROUBLES_MAX = 20  # beside wrong codes
Why = Literal["wrong", "late", "spent", "used", "busy", "malformed", "role", "self"]


class Showing:
    """One open window. Use `opened`, then `wait`."""

    def __init__(self, code: Code, card: Card, peers: Peers, *, valid_s: float = VALID_S) -> None:
        self._code, self._card, self._peers = code, card, peers
        self._valid_s = valid_s
        self._window = Window(now(), valid_s)
        self._visitors = 0
        self._last_word = asyncio.Lock()  # one pairing at a time comes to its end
        self._over = asyncio.Event()
        self._paired: Peer | None = None
        self.troubles: list[str] = []
        """What went wrong so far, in words for a person."""

    @asynccontextmanager
    async def opened(
        self, addresses: Sequence[Endpoint], *, every: bool = True
    ) -> AsyncGenerator[tuple[Endpoint, ...]]:
        """Listen inside the block; yields where. Unless `every` one was asked for, those that do not work are left out.

        Raises:
            BadInput: An address is not this machine's, or in use; none of them works.
        """
        async with contextlib.AsyncExitStack() as servers:
            bound, refused = list[Endpoint](), list[BadInput]()
            for address in addresses:
                try:
                    bound.append(await self._listen(servers, address))
                except BadInput as error:  # a moment after a cable came, its IPv6 address is not usable yet
                    refused.append(error)
            if refused and (every or not bound):
                raise refused[0]
            yield tuple(bound)

    async def _listen(self, servers: contextlib.AsyncExitStack, address: Endpoint) -> Endpoint:
        try:
            server = await asyncio.start_server(self._visit, address.host, address.port, limit=LINE_BYTES_MAX)
        except OSError as error:
            raise BadInput(f"cannot listen on {address} for the pairing ({words(error)}); {_remedy(error)}") from error
        servers.callback(server.close)
        return Endpoint(address.host, server.sockets[0].getsockname()[1])

    async def wait(self) -> Peer:
        """Return the machine that was paired.

        Raises:
            DeadlineExceeded: Nobody came in time.
            Refused: The code was wrong too often.
        """
        while not self._over.is_set() and (left_s := self._window.left_s(now())):
            with contextlib.suppress(TimeoutError):  # looked at each second: a sleep does not count in here
                async with asyncio.timeout(min(left_s, 1.0)):
                    await self._over.wait()
        async with self._last_word:  # one that is just being stored is not left half way
            if self._paired is not None:
                return self._paired
        if self._window.tries_left <= 0:
            raise Refused(
                f"the code was wrong {TRIES} times, and the pairing is closed; nothing was stored. Was it you? "
                "`tandem pair` shows a new code; if not, somebody else is in your network"
            )
        raise DeadlineExceeded(
            f"no machine was paired within {self._valid_s:g} s, and the code no longer counts; "
            "`tandem pair` shows a new one"
        )

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, and close it."""
        lines = Lines(reader, writer)
        self._visitors += 1
        try:
            async with asyncio.timeout(VISIT_S):
                if self._visitors > VISITORS_MAX:
                    await self._refuse(lines, "busy")
                else:
                    await self._try(lines)
        except TandemError as error:
            self._tell(lines, error.message)
        except TimeoutError:
            self._tell(lines, f"it took longer than {VISIT_S:g} s")
        finally:
            self._visitors -= 1
            await lines.close()

    async def _try(self, lines: Lines) -> None:
        exchange = Exchange("shows", self._code, self._card)
        await lines.send(exchange.hello)
        try:
            theirs = exchange.meet(await lines.read())
        except Conflict as error:
            await self._refuse(lines, "self" if "itself" in error.message else "role")
            raise
        except Malformed:
            await self._refuse(lines, "malformed")
            raise
        proof = await lines.read()
        async with self._last_word:
            if await self._right(lines, exchange, proof):
                await self._store(lines, exchange, _peer(theirs, lines.far))

    async def _right(self, lines: Lines, exchange: Exchange, proof: bytes) -> bool:
        """Return whether the code still counts and is right; refuses the visitor where not."""
        state = self._window.state(now())
        if state != "open":
            await self._refuse(lines, state)
            return False
        try:
            exchange.check(proof)
        except WrongCode:
            self._window.failed()
            left = self._window.tries_left
            self._tell(lines, f"a wrong code; {left} of {TRIES} tries left", always=True)
            if left <= 0:
                self._over.set()
            await self._refuse(lines, "wrong", left)
            return False
        except Malformed:
            await self._refuse(lines, "malformed")
            raise
        return True

    async def _store(self, lines: Lines, exchange: Exchange, peer: Peer) -> None:
        """Store the other machine once it says that it stored this one; killed before that, nothing is left here."""
        try:
            await lines.send(exchange.proof())
            messages.read(messages.Stored, await lines.read())
        except TandemError as error:
            raise Unavailable(
                f"{peer.name} had the right code but did not say that it stored this machine ({error.message}); "
                "nothing was stored here, so enter the code once more"
            ) from error
        self._paired = self._peers.add(peer)
        self._window.used()
        self._over.set()
        with contextlib.suppress(Unavailable):  # it knows already
            await lines.send(messages.Stored().line())

    async def _refuse(self, lines: Lines, why: Why, left: int = 0) -> None:
        with contextlib.suppress(Unavailable):
            await lines.send(messages.Refusal(why=why, left=left).line())

    def _tell(self, lines: Lines, words: str, *, always: bool = False) -> None:
        """Note what went wrong; what anybody can bring about without end a few times, a guess at the code always."""
        if always or len(self.troubles) < TROUBLES_MAX:
            self.troubles.append(f"{lines.far}: {words}")


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"it is no address of this machine, which has {', '.join(interfaces.nearby()) or 'none to show a code on'}"
        )
    return "is another pairing open? `--on HOST:PORT` names another address"


def _peer(card: Card, far: str) -> Peer:
    return Peer(
        id=id_of(card.certificate),
        name=card.name,
        role=card.role,
        certificate=card.certificate,
        addresses=reachable(card.addresses, far) if card.role == "worker" else (),
        paired_s=time.time(),
    )


def reachable(told: Sequence[str], far: str) -> tuple[str, ...]:
    """Return where a worker can be tried that told of these addresses and was met at the host `far`: there first.

    Where it was met at a link-local address, that one has this machine's own interface; what it tells with an interface
    of its own, or of a loopback, means something else here.
    """
    places = [endpoints.parse(text, endpoints.WORKER_PORT) for text in told]
    port = next((at.port for at in places), endpoints.WORKER_PORT)
    same = endpoints.is_loopback(far)  # two state folders on one machine
    met = [at for at in places if at.host == far] or ([] if same else [Endpoint(far, port)])
    others = [at for at in places if same or not ("%" in at.host or endpoints.is_loopback(at.host))]
    return tuple(str(at) for at in dict.fromkeys((*met, *others)))[:ADDRESSES_MAX]
