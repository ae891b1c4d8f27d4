"""Spans of time, as people note them."""


def parse(text: str) -> int:
    raise NotImplementedError


def write(seconds: int) -> str:
    raise NotImplementedError
