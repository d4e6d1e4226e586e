"""Which fundings are booked, so that each is booked once, also by the session that goes on from this one.

A funding is known by ``venue|funding_id``.  Where a venue numbers what it tells, its connector tells what is newer than
the newest of these (``connectors.oanda.interest``).
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.events import FundingSettled

KEPT = 4096
"""Remembered against duplicates; older ones are forgotten, oldest first."""
CARRIED = 512
"""How many of the newest a next session is told of."""


class Fundings:
    """Of one account.  ``duplicates`` counts what was told again."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self.duplicates = 0

    def take(self, event: FundingSettled) -> bool:
        """Whether it is new, and to be booked; from now on it is known."""
        key = f"{event.venue}|{event.funding_id}"
        if key in self._known:
            self.duplicates += 1
            return False
        self._known[key] = None
        if len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        return True

    def carried(self) -> tuple[str, ...]:
        """The newest, as ``venue|id``; oldest first."""
        return tuple([*self._known][-CARRIED:])

    def restore(self, keys: Iterable[str]) -> None:
        self._known.update(dict.fromkeys(keys))
