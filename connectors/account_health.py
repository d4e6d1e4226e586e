"""Whether the account can be read, told as the user stream's state: up only while the stream is and all is readable.

Owns ``FeedUp`` and ``FeedDown`` of the stream ``user`` as the core sees them.  A fill or a listing that makes no sense
is no reason to guess: while it lasts the user stream counts as down, so no entry leaves (it fails closed).  Where the
stream has lost messages it was down for that moment: entries wait until the account is confirmed, and prices have lost
nothing.
"""

from __future__ import annotations

import logging

from engine.events import FeedDown, FeedUp, Gap, InputEvent
from engine.ports import Clock, Publish

_log = logging.getLogger(__name__)


class AccountHealth:
    """``on_stream`` is the user feed's ``publish``; ``open`` is called once the balances are told.

    Troubles have names; each ends with its own ``recovered``.
    """

    def __init__(self, venue: str, publish: Publish, clock: Clock) -> None:
        self._venue = venue
        self._publish = publish
        self._clock = clock
        self._troubles: dict[str, str] = {}
        self._is_open = False
        self._stream_up: FeedUp | None = None
        self._told_up = False

    def on_stream(self, event: InputEvent) -> None:
        """Every event of the user feed, in order."""
        if type(event) is FeedUp:
            self._stream_up = event
            self._tell(event)
            return
        if type(event) is FeedDown:
            self._stream_up = None
            self._told_up = False
        if type(event) is Gap:
            self._tell_gap(event)
            return
        self._publish(event)

    def open(self) -> None:
        """The account's opening balances are on record: from now on the stream may be told to be up."""
        self._is_open = True
        if self._stream_up is not None:
            self._tell(self._stream_up)

    def trouble(self, name: str, reason: str) -> None:
        """Something of the account cannot be read; logged when it begins, whatever its reason becomes."""
        began = name not in self._troubles
        self._troubles[name] = reason
        if not began:
            return
        _log.error("%s account cannot be read (%s): %s; no entries until it can", self._venue, name, reason)
        if self._told_up:
            self._tell_down(reason)

    def recovered(self, name: str) -> None:
        """The trouble of this name is over; without such a trouble nothing happens."""
        if self._troubles.pop(name, None) is None:
            return
        _log.warning("%s account can be read again (%s)", self._venue, name)
        if self._stream_up is not None:
            now_ns = self._clock.now_ns()
            self._tell(FeedUp(now_ns, now_ns, self._venue, "user"))

    def _tell_gap(self, gap: Gap) -> None:
        """To the core a gap is one of the market: books and features would begin anew."""
        _log.warning("%s: messages of the account were lost: %d came for %d", self._venue, gap.got, gap.expected)
        if self._told_up:
            now_ns = gap.ts_recv_ns
            why = f"message {gap.got} came for {gap.expected}"
            self._publish(FeedDown(now_ns, now_ns, self._venue, "user", why))
            self._publish(FeedUp(now_ns, now_ns, self._venue, "user"))

    def _tell(self, up: FeedUp) -> None:
        if not self._is_open or self._told_up:
            return
        if self._troubles:
            # The stream itself is back: what stands against orders now is something else.
            self._tell_down(next(iter(self._troubles.values())))
            return
        self._told_up = True
        self._publish(up)

    def _tell_down(self, reason: str) -> None:
        self._told_up = False
        now_ns = self._clock.now_ns()
        self._publish(FeedDown(now_ns, now_ns, self._venue, "user", f"account not readable: {reason}"))
