"""Translate between our values and their protobuf messages; nothing else knows both. A file for each kind of message.

Each pair is named `x_out` (ours to the wire) and `x_in` (the wire to ours).
"""

from __future__ import annotations

PROTOCOL = 4
DATA_BYTES = 256 << 10  # one piece of a Git stream, or of a file; measured best between 256 KiB and 1 MiB
