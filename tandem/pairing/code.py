"""The code a person reads on one machine and types at the other: eight digits, made for one window."""

from __future__ import annotations

import secrets
from typing import NewType

from tandem.errors import BadInput

Code = NewType("Code", str)
DIGITS = 8  # with three tries, one guess in 33 million succeeds


def new() -> Code:
    """Return a code nobody has seen."""
    return Code(f"{secrets.randbelow(10**DIGITS):0{DIGITS}}")


def shown(code: Code) -> str:
    """Return a code as a person reads it."""
    return f"{code[: DIGITS // 2]}-{code[DIGITS // 2 :]}"


def read(text: str) -> Code:
    """Return the code a person typed, with or without spaces and dashes.

    Raises:
        BadInput: It is none.
    """
    digits = text.replace("-", "").replace(" ", "")
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        raise BadInput(f"a code has {DIGITS} digits, such as 1234-5678; what was typed has another form")
    return Code(digits)
