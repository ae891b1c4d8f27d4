"""Connect a Git process to the Unix socket named by the only argument.

Git starts this as its transport (`ext::`), so it must be quick: the standard library alone, and little of it. It knows
nothing of gRPC; the router listens at the other end.
"""

import os
import socket
import sys
import threading

_PIECE = 1 << 18


def main() -> None:
    """Pump both ways until the socket ends."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(sys.argv[1])

    def send() -> None:
        while piece := os.read(0, _PIECE):
            link.sendall(piece)
        link.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    while piece := link.recv(_PIECE):
        view = memoryview(piece)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
