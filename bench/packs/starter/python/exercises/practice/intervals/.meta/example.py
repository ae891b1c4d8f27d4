"""Bookings of a room: pairs of a start and an end, the end not included."""

Booking = tuple[int, int]


def merge(bookings: list[Booking]) -> list[Booking]:
    merged: list[Booking] = []
    for start, end in sorted(_checked(bookings)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def gaps(bookings: list[Booking], start: int, end: int) -> list[Booking]:
    if end < start:
        raise ValueError(f"{end} is before {start}")
    found: list[Booking] = []
    at = start
    for taken_from, taken_to in merge(bookings):
        if taken_from > at:
            found.append((at, min(taken_from, end)))
        at = max(at, taken_to)
        if at >= end or taken_from >= end:
            break
    if at < end and not (found and found[-1][1] == end):
        found.append((at, end))
    return [(first, last) for first, last in found if first < last]


def busiest(bookings: list[Booking]) -> int:
    changes = sorted(change for start, end in _checked(bookings) for change in ((start, 1), (end, -1)))
    worst = now = 0
    for _, change in changes:  # of one minute, what ends comes first
        now += change
        worst = max(worst, now)
    return worst


def _checked(bookings: list[Booking]) -> list[Booking]:
    for start, end in bookings:
        if end < start:
            raise ValueError(f"a booking from {start} to {end} ends before it starts")
    return [(start, end) for start, end in bookings if start < end]
