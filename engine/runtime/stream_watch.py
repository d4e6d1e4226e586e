"""Says in the log that a stream of a venue is down: while it is, no order leaves there, and nothing else is said of it.

Owns how long a stream has to be down for that; what is down the core knows.  An interruption of a moment is usual.
"""

from __future__ import annotations

from typing import Any

from engine.venues import VenueStates

DOWN_LOOKS = 5
"""Looks in a row, of which there is about one a second."""


class StreamWatch:
    """Of one session."""

    def __init__(self) -> None:
        self._looks: dict[tuple[str, str], int] = {}

    def look(self, venues: VenueStates, log: Any) -> None:
        """About once a second; told once when it has lasted, and when it is over."""
        down = venues.streams_down
        for key in self._looks.keys() - down.keys():
            if self._looks.pop(key) >= DOWN_LOOKS:
                venue, stream = key
                log.warning("a stream is up again", venue=venue, stream=stream)
        for key, why in down.items():
            self._looks[key] = looks = self._looks.get(key, 0) + 1
            if looks == DOWN_LOOKS:
                venue, stream = key
                log.error("a stream is down: no order of a strategy leaves", venue=venue, stream=stream, why=why)
