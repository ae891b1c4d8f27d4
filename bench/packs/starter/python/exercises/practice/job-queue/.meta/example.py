"""Jobs by urgency, and in the order they came."""

import heapq
from collections.abc import Iterator

_Place = tuple[int, int, str]  # urgency turned round, number of its coming, job


class JobQueue:
    def __init__(self) -> None:
        self._heap: list[_Place] = []
        self._places: dict[str, _Place] = {}
        self._came = 0

    def add(self, job: str, urgency: int = 0) -> None:
        if job in self._places:
            raise ValueError(f"{job!r} is in the queue already")
        self._came += 1
        self._places[job] = (-urgency, self._came, job)
        heapq.heappush(self._heap, self._places[job])

    def take(self) -> str:
        job = self.peek()
        del self._places[job]
        heapq.heappop(self._heap)
        return job

    def peek(self) -> str:
        while self._heap and self._places.get(self._heap[0][2]) != self._heap[0]:
            heapq.heappop(self._heap)  # it was changed or dropped
        if not self._heap:
            raise LookupError("there is no job in the queue")
        return self._heap[0][2]

    def change(self, job: str, urgency: int) -> None:
        if -self._place(job)[0] != urgency:
            self.drop(job)
            self.add(job, urgency)

    def drop(self, job: str) -> None:
        self._place(job)
        del self._places[job]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter([job for _, _, job in sorted(self._places.values())])

    def _place(self, job: str) -> _Place:
        if job not in self._places:
            raise LookupError(f"there is no job {job!r} in the queue")
        return self._places[job]
