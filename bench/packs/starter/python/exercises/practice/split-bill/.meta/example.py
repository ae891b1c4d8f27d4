"""Amounts of money in whole cents."""

import re

_AMOUNT = re.compile(r"(-?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.([0-9]{1,2}))?")


def to_cents(text: str) -> int:
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount")
    sign, whole, rest = found.groups()
    cents = int(whole.replace(",", "")) * 100 + int((rest or "").ljust(2, "0"))
    return -cents if sign else cents


def split(cents: int, weights: list[int]) -> list[int]:
    if any(weight < 0 for weight in weights) or sum(weights) == 0:
        raise ValueError(f"nothing can be split by the weights {weights}")
    if cents < 0:
        return [-share for share in split(-cents, weights)]
    exact = [divmod(cents * weight, sum(weights)) for weight in weights]
    shares = [whole for whole, _ in exact]
    lost = sorted(range(len(weights)), key=lambda at: (-exact[at][1], at))
    for at in lost[: cents - sum(shares)]:
        shares[at] += 1
    return shares
