"""What is said while two machines are paired: lines of JSON, each of a fixed form and of a bounded size.

None of it is secret. What a machine says of itself before the code is proven is a claim, and is bound by the proof.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tandem import identity
from tandem.errors import BadInput, BadReply
from tandem.peers import ADDRESSES_MAX, Address, Role, named

VERSION = 1
LINE_BYTES_MAX = 8192


class Malformed(BadReply):
    """Whatever that was, it is no line of a pairing; it is never a try."""


def _name(text: str) -> str:
    try:
        return named(text)
    except BadInput as error:
        raise ValueError(error.message) from None


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def line(self) -> bytes:
        """Return the message as it travels."""
        return self.model_dump_json().encode() + b"\n"


class Card(_Message):
    """What a machine says of itself."""

    name: Annotated[str, Field(max_length=256), AfterValidator(_name)]
    role: Role
    certificate: Annotated[str, Field(max_length=2048), AfterValidator(identity.checked)]
    addresses: Annotated[tuple[Address, ...], Field(max_length=ADDRESSES_MAX)] = ()
    """Where its worker listens, `HOST:PORT`; none for a router."""


class Hello(_Message):
    """Who speaks, and its half of the key exchange, in hexadecimal."""

    kind: Literal["hello"] = "hello"
    version: Literal[1] = VERSION
    element: Annotated[str, Field(pattern=re.compile(r"^[0-9a-f]{66}$"))]
    card: Card


class Proof(_Message):
    """The sender's proof that it holds the same key and saw the same two hellos."""

    kind: Literal["proof"] = "proof"
    tag: Annotated[str, Field(pattern=re.compile(r"^[0-9a-f]{64}$"))]


class Stored(_Message):
    """The sender has stored the other machine."""

    kind: Literal["stored"] = "stored"


class Refusal(_Message):
    """Why the showing side ends this, and how many tries are left."""

    kind: Literal["refusal"] = "refusal"
    why: Literal["wrong", "late", "spent", "used", "busy", "malformed", "role", "self"]
    left: Annotated[int, Field(ge=0, le=9)] = 0


M = TypeVar("M", bound=_Message)
_REFUSAL = TypeAdapter(Refusal)


def read(kind: type[M], line: bytes) -> M:
    """Return the message of that kind a line is.

    Raises:
        Malformed: It is none.
    """
    try:
        return kind.model_validate_json(_bounded(line))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]  # whose name they chose
        where = ".".join(str(part) for part in place) or "the whole"
        raise Malformed(f"that is no {kind.__name__.lower()} of a pairing: {where}: {first['msg']}") from None


def refusal(line: bytes) -> Refusal | None:
    """Return the refusal a line is, or None."""
    try:
        return _REFUSAL.validate_json(_bounded(line))
    except (ValidationError, Malformed):
        return None


def _bounded(line: bytes) -> bytes:
    if len(line) > LINE_BYTES_MAX or not line.endswith(b"\n"):
        raise Malformed(
            f"a line of a pairing ends within {LINE_BYTES_MAX} bytes; this one has {len(line)} or broke off"
        )
    return line
