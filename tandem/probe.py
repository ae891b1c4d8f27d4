"""Look at a paired machine's port with plain TLS, to say why it cannot be used: gRPC has one word for every reason.

Sends no work: a handshake, and then it listens whether the other side goes on. Blocking; use a thread.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from dataclasses import dataclass, replace
from typing import Literal

from tandem import endpoints
from tandem.endpoints import Endpoint
from tandem.identity import Identity, NodeId, id_of_der

WAIT_S = 2.0
Kind = Literal["open", "silent", "refused", "no way", "denied", "not tls", "other machine", "not paired"]
_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an address showed, in a word for programs and in a line for people.

    Where there is no way, `number` is the system's error and `took_s` how long it took to say so.
    """

    kind: Kind
    words: str
    number: int | None = None
    took_s: float = 0.0


def look(me: Identity, other: NodeId, at: Endpoint, wait_s: float = WAIT_S) -> Finding:
    """Return whether the machine `other` answers this one at an address, or why not."""
    if endpoints.lacks_interface(at.host):
        return Finding(
            kind="no way", words=f"{at} was stored without the interface that leads there; pair the two anew"
        )
    began = time.monotonic()
    try:
        plain = socket.create_connection((at.host, at.port), wait_s)
    except UnicodeError:
        return Finding(kind="no way", words=f"{at.host!r} is no machine's name")
    except OSError as error:
        found = _unreached(at, error, wait_s)
        return replace(found, number=error.errno, took_s=time.monotonic() - began)
    with plain:
        plain.settimeout(wait_s)
        return _handshake(me, other, at, plain)


def _unreached(at: Endpoint, error: OSError, wait_s: float) -> Finding:
    why = error.strerror or str(error)
    if isinstance(error, TimeoutError):
        return Finding(
            kind="silent", words=f"{at} does not answer within {wait_s:g} s; is the machine on, and the cable in?"
        )
    if isinstance(error, ConnectionRefusedError):
        return Finding(
            kind="refused",
            words=f"nothing listens at {at}; start the worker there (`tandem up`), or, unpaired there, pair them anew",
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return Finding(
            kind="denied", words=f"this machine does not let the program reach {at} ({why}); see its firewall"
        )
    if isinstance(error, socket.gaierror) or error.errno in _NO_WAY:
        return Finding(kind="no way", words=f"there is no way to {at} ({why}); is the network or cable there?")
    return Finding(kind="silent", words=f"{at} cannot be reached ({why})")


def _handshake(me: Identity, other: NodeId, at: Endpoint, plain: socket.socket) -> Finding:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its bytes are compared instead
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(me.certificate_file, me.key_file)
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(plain) as wire:
            if id_of_der(wire.getpeercert(binary_form=True) or b"") != other:
                return Finding(
                    kind="other machine", words=f"another machine answers at {at} than the one that was paired"
                )
            welcome = wire.recv(1)  # whoever trusts us speaks first: HTTP/2 begins with the server's settings
    except TimeoutError:
        return Finding(kind="silent", words=f"{at} takes connections and then says nothing; is its worker stuck?")
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _not_paired(at)
        return Finding(kind="not tls", words=f"something else than a Tandem worker answers at {at}; is the port right?")
    except OSError as error:
        return Finding(
            kind="not tls", words=f"what answers at {at} broke the connection off ({error.strerror or error})"
        )
    return Finding(kind="open", words=f"{at} answers") if welcome else _not_paired(at)


def _not_paired(at: Endpoint) -> Finding:
    return Finding(
        kind="not paired",
        words=f"the machine at {at} does not know this one (any more); pair them anew: `tandem pair` on both",
    )
