"""The machines this one is paired with: a file for each in `peers/` of the state folder, named by its id.

A file is the trust: whoever is in the folder may connect, and removing the file ends that. So a file that cannot be read,
or that does not fit its own name, counts for nobody and is named in `Book.damaged`; nothing here repairs or skips one
silently. Who may do what with a peer is the caller's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tandem import disk, endpoints, held
from tandem.errors import BadInput, Conflict, NotFound
from tandem.identity import NodeId, id_of
from tandem.paths import private_dir

Role = Literal["router", "worker"]
NAME_CHARS_MAX = 64
ADDRESSES_MAX = 16


def _address(text: str) -> str:
    try:
        return str(endpoints.parse(text, endpoints.WORKER_PORT))
    except BadInput as error:
        raise ValueError(error.message) from None


Address = Annotated[str, Field(max_length=128, pattern=r":[0-9]{1,5}$"), AfterValidator(_address)]
"""`HOST:PORT`; an IPv6 address stands in brackets."""
FILE_BYTES_MAX = 32 << 10
_LOCK_S = 5.0
_NAME = re.compile(r"[\w][\w .()'-]*")  # `\w` knows letters of every language; no control or direction marks
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A machine this one is paired with, and what it is to this one."""

    id: NodeId
    name: str
    role: Role
    certificate: str = field(repr=False)
    addresses: tuple[str, ...]
    """`HOST:PORT` where it listened last, the one that worked last first; a hint, never a proof."""
    paired_s: float
    """When, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What the folder holds at one moment. `damaged` has a line for each file that counts for nobody."""

    peers: tuple[Peer, ...] = ()
    damaged: tuple[str, ...] = ()

    def of(self, role: Role) -> tuple[Peer, ...]:
        """Return the peers that are a `role`."""
        return tuple(peer for peer in self.peers if peer.role == role)

    def get(self, node: NodeId) -> Peer | None:
        """Return the peer with that id, if it is one."""
        return next((peer for peer in self.peers if peer.id == node), None)

    def find(self, text: str) -> Peer:
        """Return the peer that a name, an id or a beginning of one (from four characters on) means.

        Raises:
            NotFound: None, or more than one.
        """
        wanted = text.strip().replace("-", "").upper()
        found = [peer for peer in self.peers if peer.name == text.strip()] or [
            peer for peer in self.peers if len(wanted) >= 4 and peer.id.startswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        there = ", ".join(peer.name for peer in self.peers) or "none"
        many = "no paired machine is" if not found else "more than one paired machine is"
        raise NotFound(f"{many} called {text!r}; there are: {there} (`tandem nodes`)")


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    name: str
    role: Role
    certificate: str
    addresses: Annotated[tuple[Address, ...], Field(max_length=ADDRESSES_MAX)]
    paired_s: Annotated[float, Field(allow_inf_nan=False)]


class Peers:
    """The folder. `read` is cheap when nothing changed; every change is one atomic rename.

    `own` is what this machine calls itself: no other gets that name here.
    """

    def __init__(self, state: Path, own: str = "") -> None:
        self._folder = state / "peers"
        self._own = own
        self._seen: Signature | None = None
        self._book = Book()

    def read(self) -> Book:
        """Return who is paired now."""
        seen = self._signature()
        if seen != self._seen:
            self._book = self._load([name for name, _, _ in seen])
            self._seen = seen
        return self._book

    def add(self, peer: Peer) -> Peer:
        """Store a peer, in the place of an earlier one with its certificate; returns it under the name it got.

        One that was paired before keeps the name it has here: a person may have given it.

        Raises:
            BadInput: Its name cannot be used.
            DiskFull, BadConfig: It could not be written.
        """
        named(peer.name)
        with self._locked():
            book = self.read()
            taken = {other.name for other in book.peers if other.id != peer.id} | {self._own}
            before = book.get(peer.id)
            peer = replace(peer, name=_free_name(before.name if before else peer.name, taken))
            self._write(peer)
        return peer

    def remove(self, node: NodeId) -> bool:
        """Forget a peer; returns whether there was one. From this moment nobody answers it."""
        with self._locked():
            try:
                self._file(node).unlink()
            except FileNotFoundError:
                return False
            disk.sync_folder(self._folder)
            return True

    def rename(self, node: NodeId, name: str) -> Peer:
        """Call a peer something else here.

        Raises:
            BadInput: The name cannot be used.
            Conflict: Another peer has it, or this machine itself.
            NotFound: There is no such peer.
        """
        wanted = named(name)
        if wanted == self._own:
            raise Conflict(f"this machine itself is called {wanted!r}; choose another name")
        with self._locked():
            book = self.read()
            if any(peer.name == wanted and peer.id != node for peer in book.peers):
                raise Conflict(f"another paired machine is called {wanted!r} already; choose another name")
            return self._change(book, node, name=wanted)

    def reached(self, node: NodeId, address: str, others: tuple[str, ...] = ()) -> None:
        """Remember the address that worked last, and `others` where it says it is; nothing where the peer is gone."""
        with self._locked(), contextlib.suppress(NotFound):
            book = self.read()
            peer = book.get(node)
            if peer is not None:
                known = tuple(dict.fromkeys((address, *others, *peer.addresses)))[:ADDRESSES_MAX]
                if known != peer.addresses:
                    self._change(book, node, addresses=known)

    def _change(self, book: Book, node: NodeId, **changes: Any) -> Peer:
        peer = book.get(node)
        if peer is None:
            raise NotFound(f"no paired machine has the id {node}; `tandem nodes` lists them")
        changed = replace(peer, **changes)
        self._write(changed)
        return changed

    def _write(self, peer: Peer) -> None:
        text = json.dumps(asdict(peer), ensure_ascii=False, indent=1)
        with disk.watched("a paired machine could not be stored", self._folder):
            disk.replace_file(self._file(peer.id), text.encode())

    def _file(self, node: NodeId) -> Path:
        return self._folder / f"{node}.json"

    def _signature(self) -> Signature:
        """Return what tells one state of the folder from another: each change is another file at a name."""
        found: list[tuple[str, int, int]] = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        with contextlib.suppress(FileNotFoundError):  # removed this moment
                            status = entry.stat(follow_symlinks=False)
                            found.append((entry.name, status.st_ino, status.st_mtime_ns))
        except FileNotFoundError:
            return ()
        return tuple(sorted(found))

    def _load(self, names: list[str]) -> Book:
        peers, damaged = list[Peer](), list[str]()
        for name in names:
            try:
                peers.append(_peer_in(self._folder / name))
            except FileNotFoundError:
                continue  # removed this moment; the next signature differs, too
            except (OSError, ValueError) as error:
                damaged.append(
                    f"{self._folder / name} cannot be used ({error}) and counts for nobody; remove it and pair anew"
                )
        return Book(peers=tuple(sorted(peers, key=lambda peer: (peer.paired_s, peer.id))), damaged=tuple(damaged))

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        """Keep two programs' changes apart; readers need no lock."""
        private_dir(self._folder)
        busy = Conflict(f"another program has been changing {self._folder} for {_LOCK_S:g} s")
        with held.in_turn(self._folder / "lock", _LOCK_S, busy):
            yield


def named(name: str) -> str:
    """Return a machine's name as it is kept.

    Raises:
        BadInput: It is empty, too long, or has characters that could pass for something else.
    """
    name = name.strip()
    if len(name) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} is no machine's name; letters, digits, spaces and . ( ) ' _ - make one, "
            f"{NAME_CHARS_MAX} characters at most"
        )
    return name


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free = f"{name[: NAME_CHARS_MAX - 4]}-{number}"
        number += 1
    return free


def _peer_in(file: Path) -> Peer:
    """Return the peer a file describes.

    Raises:
        ValueError: It does not parse, or does not fit its name.
        OSError: It cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as source:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise ValueError("others could have written it")
        raw = source.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError(f"it is larger than {FILE_BYTES_MAX} bytes")
    try:
        stored = _Stored.model_validate_json(raw)
        peer = Peer(
            id=NodeId(stored.id),
            name=named(stored.name),
            role=stored.role,
            certificate=stored.certificate,
            addresses=stored.addresses,
            paired_s=stored.paired_s,
        )
    except (ValidationError, BadInput) as error:
        first = error.message if isinstance(error, BadInput) else error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"its fields are not those of a paired machine: {first}") from None
    if file.stem != peer.id or id_of(peer.certificate) != peer.id:
        raise ValueError("its certificate is not the one of its name")
    return peer
