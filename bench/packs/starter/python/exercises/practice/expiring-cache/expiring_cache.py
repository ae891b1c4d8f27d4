"""A few values, for a while."""

from collections.abc import Callable


class ExpiringCache:
    def __init__(self, capacity: int, lifetime_s: float, clock: Callable[[], float]) -> None:
        raise NotImplementedError

    def put(self, key: str, value: object) -> None:
        raise NotImplementedError

    def get(self, key: str, default: object = None) -> object:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __contains__(self, key: str) -> bool:
        raise NotImplementedError
