"""A cable between two machines in namespaces that can be cut, swallow all it carries, flap, and be slow and lossy.

Its ends are TAP devices, one on each machine, and a process of its own carries each frame from one to the other. They
offload nothing: every packet is whole and has its real checksum. What is lost is drawn from a seed. "up" is from the left
machine to the right one, "down" the other way.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.namespaces import ROOT, Net

Direction = Literal["up", "down"]
WAYS: tuple[Direction, Direction] = ("up", "down")
QUEUE_S = 0.2  # of frames that wait at a slow cable; one more is dropped, as a switch does
_FRAME_BYTES_MAX = 1 << 16
_BURST = 64  # frames that are read before the clock is looked at
_TUNSETIFF, _TUNSETCARRIER = 0x400454CA, 0x400454E2
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000


class Cable:
    """A cable inside a `with` block, whole at first. `at` has the address of either end.

    Faults stay until they are set otherwise; `heal` ends them all.
    """

    def __init__(self, net: Net, left: str, right: str, number: int, seed: int = 0) -> None:
        self._net, self._ends, self._number, self._seed = net, (left, right), number, seed
        self.whole = True  # it has its carrier
        self.at = {left: f"10.77.{number}.1", right: f"10.77.{number}.2"}

    def __enter__(self) -> Cable:
        devices = [f"cable{self._number}{side}" for side in "ab"]
        self._carrier = subprocess.Popen(
            self._net.inside(None, sys.executable, "-m", __name__, *devices, "--seed", str(self._seed)),
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self._answer()
            for device, machine in zip(devices, self._ends, strict=True):
                self._net.take(machine, device, self.at[machine])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._carrier.kill()
        self._carrier.communicate()

    def cut(self) -> None:
        """Take the carrier away at both ends, as a plug that is pulled does; what is under way is lost."""
        self._tell(carrier=False)
        self.whole = False

    def black_hole(self, way: Direction | None = None) -> None:
        """Swallow every frame, in one direction or in both; both ends have their carrier."""
        self._tell(**{one: {"black": True} for one in WAYS if way in (None, one)})

    def spoil(self, *, delay_s: float = 0.0, loss: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Let each frame take `delay_s` longer, lose a share `loss` of them, and pass `bytes_per_s` each way (0: all)."""
        lane = {"delay_s": delay_s, "loss": loss, "bytes_per_s": bytes_per_s}
        self._tell(**dict.fromkeys(WAYS, lane))

    def heal(self) -> None:
        """End all of that."""
        lane = {"black": False, "delay_s": 0.0, "loss": 0.0, "bytes_per_s": 0.0}
        self._tell(carrier=True, **dict.fromkeys(WAYS, lane))
        self.whole = True

    def counts(self, way: Direction) -> Counts:
        """Return what became of the frames of one direction so far."""
        return Counts(**self._tell()[way])

    def _tell(self, **what: Any) -> Any:
        assert self._carrier.stdin is not None
        self._carrier.stdin.write(json.dumps(what) + "\n")
        self._carrier.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._carrier.stdout is not None
        line = self._carrier.stdout.readline()
        assert line, f"the cable's process left with {self._carrier.wait()}; its words are above"
        return json.loads(line)


# --- the process that carries frames --------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """What became of frames: passed on (with their bytes), lost by chance, swallowed, dropped where too many waited."""

    passed: int = 0
    passed_bytes: int = 0
    lost: int = 0
    swallowed: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Lane:
    """One direction: what is wrong with it, and when what was sent last is through."""

    dice: random.Random
    black: bool = False
    delay_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float = 0.0
    counts: Counts = field(default_factory=Counts)
    free_s: float = 0.0

    def due(self, size_bytes: int, now_s: float) -> float | None:
        """Return when a frame that comes now is at the other end, None where it never is."""
        if self.black:
            self.counts.swallowed += 1
            return None
        if self.loss and self.dice.random() < self.loss:
            self.counts.lost += 1
            return None
        if self.bytes_per_s:
            begins_s = max(now_s, self.free_s)
            if begins_s - now_s > QUEUE_S:
                self.counts.dropped += 1
                return None
            self.free_s = now_s = begins_s + size_bytes / self.bytes_per_s
        self.counts.passed += 1
        self.counts.passed_bytes += size_bytes
        return now_s + self.delay_s


class Carrier:
    """Carries frames between two TAP devices; each line on standard input changes how, and is answered with the counts."""

    def __init__(self, devices: tuple[str, str], seed: int) -> None:
        self._ends = [_tap(device) for device in devices]
        self._lanes = {way: Lane(random.Random(f"{seed}{way}")) for way in WAYS}
        self._whole = True
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, int, bytes]] = []  # due, in order, to which end, the frame

    def run(self) -> None:
        """Carry until standard input ends."""
        told = sys.stdin.fileno()
        polled = select.poll()
        for descriptor in (told, *self._ends):
            polled.register(descriptor, select.POLLIN)
        self._say()
        while True:
            ready = {descriptor for descriptor, _ in polled.poll(self._wait_ms())}
            if told in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self._change(json.loads(line))
                self._say()
            for end, way in zip(self._ends, WAYS, strict=True):
                if end in ready:
                    self._read(end, self._ends[way == "up"], self._lanes[way])
            self._deliver()

    def _wait_ms(self) -> float | None:
        return max(self._under_way[0][0] - time.monotonic(), 0.0) * 1000 if self._under_way else None

    def _read(self, end: int, other: int, lane: Lane) -> None:
        for _ in range(_BURST):
            try:
                frame = os.read(end, _FRAME_BYTES_MAX)
            except OSError:  # no more of them, or the device is down
                return
            due_s = lane.due(len(frame), time.monotonic())
            if due_s is not None:
                heapq.heappush(self._under_way, (due_s, next(self._order), other, frame))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now_s:
            *_, other, frame = heapq.heappop(self._under_way)
            try:
                os.write(other, frame)
            except OSError:  # nobody is at the other end yet, or any more
                continue

    def _change(self, what: Mapping[str, Any]) -> None:
        if "carrier" in what and what["carrier"] != self._whole:
            self._whole = what["carrier"]
            self._under_way.clear()
            for end in self._ends:
                fcntl.ioctl(end, _TUNSETCARRIER, struct.pack("i", self._whole))
        for way, lane in self._lanes.items():
            for key, value in what.get(way, {}).items():
                setattr(lane, key, value)

    def _say(self) -> None:
        counts = {
            way: {key: getattr(lane.counts, key) for key in Counts.__slots__} for way, lane in self._lanes.items()
        }
        print(json.dumps(counts), flush=True)


def _tap(device: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TAP_WITHOUT_HEADER))
    return descriptor


def main() -> None:
    """Make two devices and carry frames between them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    Carrier(tuple(options.devices), options.seed).run()


if __name__ == "__main__":
    main()
