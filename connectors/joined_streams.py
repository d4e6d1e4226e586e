"""Several connections that together are one stream of a venue: up when all are, down when one is not.

Owns that rule.  Every other event passes as it is.  No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.events import FeedDown, FeedUp, InputEvent
from engine.ports import Publish


class JoinedStreams:
    """``count`` connections, numbered from 0; ``publish_of(number)`` is what each one publishes through.

    ``lost(number)`` is called after the whole went down because of that one: to whoever keeps books, those of the
    other connections are void then, too.
    """

    def __init__(self, publish: Publish, count: int, lost: Callable[[int], None]) -> None:
        self._publish = publish
        self._count = count
        self._lost = lost
        self._up: set[int] = set()
        self._told_down = False

    @property
    def is_up(self) -> bool:
        return len(self._up) == self._count

    def publish_of(self, number: int) -> Publish:
        def publish(event: InputEvent) -> None:
            kind = type(event)
            if kind is FeedUp:
                self._on_up(number, event)
            elif kind is FeedDown:
                self._on_down(number, event)
            else:
                self._publish(event)

        return publish

    def _on_up(self, number: int, event: InputEvent) -> None:
        self._up.add(number)
        if self.is_up:
            self._told_down = False
            self._publish(event)

    def _on_down(self, number: int, event: InputEvent) -> None:
        was_up = self.is_up
        self._up.discard(number)
        # The first is told even if nothing was ever up: it says why.  A second one would void what came since.
        if was_up or not self._told_down:
            self._told_down = True
            self._publish(event)
            self._lost(number)
