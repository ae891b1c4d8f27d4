"""One try at pairing, seen from one of its two sides: what to say, and what the other's lines prove.

SPAKE2 (from the library `spake2`) makes one key on both sides where both used the same code, and two keys that tell
nothing about it where they did not. Then each proves its key with an HMAC over both certificates' fingerprints, both roles
and both hellos as they travelled. The side that enters proves first: the one that shows answers nothing that a guess could
be tried against. A proof names its side, and so does SPAKE2's element, so neither can be sent back to where it came from.

Knows no socket, clock or store. An exchange is good for one try.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Literal

from tandem.errors import Conflict, Refused
from tandem.identity import id_of
from tandem.pairing.code import Code
from tandem.pairing.messages import Card, Hello, Malformed, Proof, read

Side = Literal["shows", "enters"]
_LABEL = b"tandem pairing 1"


class WrongCode(Refused):
    """The other side used another code, or somebody stands between the two."""


class Exchange:
    """One side of one try: `hello`, then `meet` the other's, then `proof` and `check` in the order of the sides."""

    def __init__(self, side: Side, code: Code, card: Card) -> None:
        import spake2  # pyright: ignore[reportMissingTypeStubs] - it has none

        kind: Any = spake2.SPAKE2_A if side == "enters" else spake2.SPAKE2_B
        self._spake = kind(code.encode(), idA=_LABEL + b" enters", idB=_LABEL + b" shows")
        self._side: Side = side
        self._card = card
        element: bytes = self._spake.start()
        self.hello = Hello(element=element.hex(), card=card).line()
        self._key = b""
        self._told: tuple[bytes, ...] = ()

    def meet(self, line: bytes) -> Card:
        """Take the other side's hello, and return what it says of itself: a claim until `check`.

        Raises:
            Malformed: It is no hello, or its element is none.
            Conflict: It is this machine itself, or of the same role.
        """
        theirs = read(Hello, line)
        if id_of(theirs.card.certificate) == id_of(self._card.certificate):
            raise Conflict("that is this machine itself; enter the code on the other one")
        if theirs.card.role == self._card.role:
            raise Conflict(f"both machines say {self._card.role!r}; let one be the router with `--as router`")
        try:
            self._key = self._spake.finish(bytes.fromhex(theirs.element))
        except Exception as error:  # the library has several classes for it, and nothing of ours is inside
            raise Malformed(f"that is no half of a key exchange: {type(error).__name__}") from None
        mine = (self._card, self.hello)
        pairs = ((theirs.card, line), mine) if self._side == "shows" else (mine, (theirs.card, line))
        self._told = tuple(part for card, hello in pairs for part in _bound(card, hello))
        return theirs.card

    def proof(self) -> bytes:
        """Return this side's proof."""
        return Proof(tag=self._tag(self._side)).line()

    def check(self, line: bytes) -> None:
        """Take the other side's proof.

        Raises:
            WrongCode: It proves nothing.
            Malformed: It is no proof.
        """
        theirs = read(Proof, line)
        other: Side = "enters" if self._side == "shows" else "shows"
        if not hmac.compare_digest(theirs.tag, self._tag(other)):
            raise WrongCode("the code is wrong, or somebody stands between the two machines; nothing was stored")

    def _tag(self, side: Side) -> str:
        """Return a side's HMAC; every part has a length of its own before it, so that no two readings are alike."""
        assert self._key, "meet comes first"
        parts = (_LABEL, side.encode(), *self._told)
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()


def _bound(card: Card, hello: bytes) -> tuple[bytes, bytes, bytes]:
    return id_of(card.certificate).encode(), card.role.encode(), hello
