"""Amounts of money in whole cents."""


def to_cents(text: str) -> int:
    raise NotImplementedError


def split(cents: int, weights: list[int]) -> list[int]:
    raise NotImplementedError
