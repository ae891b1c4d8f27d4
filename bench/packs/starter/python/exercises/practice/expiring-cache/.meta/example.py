"""A few values, for a while."""

from collections.abc import Callable


class ExpiringCache:
    def __init__(self, capacity: int, lifetime_s: float, clock: Callable[[], float]) -> None:
        if capacity < 1 or lifetime_s <= 0:
            raise ValueError(f"a cache of {capacity} values for {lifetime_s} seconds keeps nothing")
        self._capacity = capacity
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._kept: dict[str, tuple[float, object]] = {}  # by use, the oldest first

    def put(self, key: str, value: object) -> None:
        self._kept.pop(key, None)
        self._forget()
        if len(self._kept) == self._capacity:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock() + self._lifetime_s, value)

    def get(self, key: str, default: object = None) -> object:
        self._forget()
        if key not in self._kept:
            return default
        self._kept[key] = self._kept.pop(key)
        return self._kept[key][1]

    def __len__(self) -> int:
        self._forget()
        return len(self._kept)

    def __contains__(self, key: str) -> bool:
        self._forget()
        return key in self._kept

    def _forget(self) -> None:
        now = self._clock()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
