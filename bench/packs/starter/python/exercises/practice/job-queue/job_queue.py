"""Jobs by urgency, and in the order they came."""

from collections.abc import Iterator


class JobQueue:
    def add(self, job: str, urgency: int = 0) -> None:
        raise NotImplementedError

    def take(self) -> str:
        raise NotImplementedError

    def peek(self) -> str:
        raise NotImplementedError

    def change(self, job: str, urgency: int) -> None:
        raise NotImplementedError

    def drop(self, job: str) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError
