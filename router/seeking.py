"""Finding paired workers again that answer at no known address: by what the network announces, while any is away.

A hint is an address to try. Who answers there shows its certificate, as at every other address.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection

from tandem import finding, interfaces
from tandem.identity import NodeId

log = logging.getLogger(__name__)
LOOK_S = 1.0  # between two looks at who is away, and at what was heard
_PATIENCE = 5  # looks at which somebody was away, one after the other: a start or a moment's cut is no reason
_ROUND_S = 60.0  # then it listens anew: this machine's own addresses may have changed
HINTS_MAX = (
    8  # tried of one worker at a time; drawn anew each time, so that no crowd of lies hides the right one for good
)


class Seeker:
    """Listens while `away` names anybody, and tells `found` of addresses. `run` until cancelled."""

    def __init__(
        self, away: Callable[[], Collection[NodeId]], found: Callable[[NodeId, tuple[str, ...]], None]
    ) -> None:
        self._away = away
        self._found = found

    async def run(self) -> None:
        """Listen, again and again, as long as it is needed and no longer."""
        looks = 0
        while True:
            looks = looks + 1 if self._away() else 0
            if looks >= _PATIENCE:
                try:
                    async with asyncio.timeout(_ROUND_S):
                        await self._listen()
                except TimeoutError:
                    pass
                except Exception as error:  # zeroconf has errors of its own, and nobody is to be found by it then
                    log.info("the network cannot be listened to", extra={"why": str(error)})
                    await asyncio.sleep(_ROUND_S)
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> None:
        async with finding.Finder(interfaces.nearby(), finding.WORKER, self._away) as finder:
            while away := self._away():
                for node in away:
                    heard = [str(at) for seen in finder.seen if seen.node == node for at in seen.at]
                    if heard:
                        self._found(node, tuple(random.sample(heard, min(len(heard), HINTS_MAX))))
                await asyncio.sleep(LOOK_S)
