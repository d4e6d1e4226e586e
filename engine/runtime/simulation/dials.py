"""How often a session dials its venue: never in a tight loop, however often its connections break (C3).

Owns the count of a minute, by process and port.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

MINUTE_S = 60.0


class DialChecks:
    """``fail(invariant, text)``; ``now_s()`` is virtual time; ``most``: by port, of a minute."""

    def __init__(self, fail: Callable[[str, str], None], now_s: Callable[[], float], most: Mapping[int, int]) -> None:
        self._fail = fail
        self._now_s = now_s
        self._most = most
        self._owner: object = None
        self._dialled_s: dict[int, deque[float]] = {}

    def dialled(self, owner: object, port: int) -> None:
        """A process opens a connection; another one than the last has a budget of its own."""
        if owner is not self._owner:
            self._owner = owner
            self._dialled_s.clear()
        dialled_s = self._dialled_s.setdefault(port, deque())
        now_s = self._now_s()
        dialled_s.append(now_s)
        while now_s - dialled_s[0] > MINUTE_S:
            dialled_s.popleft()
        if len(dialled_s) > self._most[port]:
            self._fail("C3", f"port {port} was dialled {len(dialled_s)} times within a minute")
