"""What messages of several kinds have in common: the header of a call, and what fields are held against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, cast, get_args

from tandem import errors, types
from tandem.v1 import worker_pb2 as pb


def header_out(
    request: types.CompleteRequest | types.CheckRequest | types.PrepareRequest, deadline_s: float
) -> pb.CallHeader:
    """Return the header every call carries."""
    return pb.CallHeader(
        request_id=request.request_id,
        attempt=request.attempt,
        priority=getattr(request, "priority", 1),
        deadline_s=deadline_s,
        run_id=request.run_id,
    )


def deadline_in(header: pb.CallHeader) -> float:
    """Return how many seconds a call may take.

    Raises:
        BadInput: That is no such number, or the call has no id.
    """
    if not (math.isfinite(header.deadline_s) and header.deadline_s > 0):
        raise errors.BadInput(f"deadline_s is {header.deadline_s}; it must be a positive number of seconds")
    if not header.request_id:
        raise errors.BadInput("request_id is empty; every call needs one")
    return header.deadline_s


_members = cache(get_args)


def one_of(value: str, allowed: Any, what: str) -> Any:
    """Return a value of a fixed set; `what` names it where it is none.

    Raises:
        BadInput: It is not in the set.
    """
    if value not in _members(allowed):
        raise errors.BadInput(f"{what} is {value!r}; it must be one of {', '.join(_members(allowed))}")
    return value


def object_in(text: str, what: str) -> Mapping[str, types.Json]:
    """Return the JSON object that a text is.

    Raises:
        BadInput: It is none; `what` names it.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise errors.BadInput(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise errors.BadInput(f"{what} is not a JSON object")
    return cast("Mapping[str, types.Json]", value)
