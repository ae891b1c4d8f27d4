"""A check with its environment, on whichever machine it is run: each builds its own, under its own key.

A run asks for an environment once and remembers its key. The machine that built it may be gone when tests are run, or may
have cleared it away, and neither is a fault of the run: the next machine builds it, too, if that is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from tandem.errors import NotFound
from tandem.ports import Checks, OnProgress
from tandem.types import CheckReport, CheckRequest, PrepareRequest, RequestId

R = TypeVar("R", CheckRequest, PrepareRequest)
TRIES = 3  # machines that come or go between the two calls


@dataclass(slots=True)
class Installed:
    """What a run's environments are called on the machine that was used last."""

    keys: dict[str, str] = field(default_factory=dict[str, str])

    async def check(
        self, checks: Checks, request: CheckRequest, wanted: PrepareRequest, on_progress: OnProgress
    ) -> CheckReport:
        """Return what the tests showed with the environment that `wanted` asks for.

        Raises:
            NotFound: It is gone, and may not be built again without asking.
        """
        number = 0
        while True:
            key = self.keys.get(request.environment)
            if key is None:
                key = await _built(checks, _asked_again(wanted, number), on_progress)
                self.keys[request.environment] = key
            try:
                return await checks.check(replace(_asked_again(request, number), environment=key), on_progress)
            except NotFound:  # it went to another machine than the one that was asked to build
                del self.keys[request.environment]
                number += 1
                if number == TRIES:
                    raise


def _asked_again(request: R, number: int) -> R:
    """Return a request as another one: a machine answers one it knows with what it said before."""
    return replace(request, request_id=RequestId(f"{request.request_id}/{number}")) if number else request


async def _built(checks: Checks, wanted: PrepareRequest, on_progress: OnProgress) -> str:
    found = await checks.prepare(wanted, on_progress)
    if not found.ready:
        raise NotFound(
            f"the packages that were installed for this run ({', '.join(found.files)}) are not on the machine that is to "
            "run the tests (any more), and installing them again was not allowed; set prepare.network to allow, then "
            "`tandem resume`"
        )
    return found.key
