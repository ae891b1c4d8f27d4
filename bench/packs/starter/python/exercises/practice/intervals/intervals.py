"""Bookings of a room: pairs of a start and an end, the end not included."""

Booking = tuple[int, int]


def merge(bookings: list[Booking]) -> list[Booking]:
    raise NotImplementedError


def gaps(bookings: list[Booking], start: int, end: int) -> list[Booking]:
    raise NotImplementedError


def busiest(bookings: list[Booking]) -> int:
    raise NotImplementedError
