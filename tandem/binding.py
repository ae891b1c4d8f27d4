"""Whether a TCP port of this machine can be listened on, found by taking it for a moment.

Because gRPC has one word for every reason why it cannot, and writes lines of its own each time.
"""

from __future__ import annotations

import errno
import socket
from typing import Literal

from tandem.endpoints import Endpoint

Obstacle = Literal["", "taken", "not here", "refused"]


def obstacle(at: Endpoint) -> tuple[Obstacle, str]:
    """Return why nobody could begin to listen there now, in a word and in a line; ("", "") where somebody could.

    Blocking, but not for long: a number is no name. Nothing is listened to, so nobody can connect meanwhile.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(at.host, at.port, flags=socket.AI_NUMERICHOST)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
            probe.bind(address)
    except OSError as error:
        return _named(at, error)
    return "", ""


def _named(at: Endpoint, error: OSError) -> tuple[Obstacle, str]:
    if error.errno == errno.EADDRINUSE:
        return "taken", f"{at} is taken by another program"
    # an address with an interface that is not there (`%en9`) is no address to the resolver, or one without a device
    if isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO):
        return "not here", f"{at} is no address of this machine now"
    return "refused", f"{at} cannot be listened on ({error.strerror or error})"
