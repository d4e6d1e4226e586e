"""Daemons of elsewhere that trade on an account of ours: refused at a start, named once while trading.

Whose order it is tells the connector's ``rival(client_order_id)``; which orders are open, its listings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from engine.errors import WrongAccount

_log = logging.getLogger(__name__)


class Rivals:
    """Of one account; remembers which sessions were named."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._named: set[str] = set()

    def refuse(self, sessions: Sequence[str]) -> None:
        """Raises ``WrongAccount`` where there are any."""
        if sessions:
            raise WrongAccount(
                f"the {self._venue} account has open orders of another Kestrel daemon: session {', '.join(sessions)}, "
                "which is of no session on this machine",
                expected="one daemon on an account",
                do="stop that daemon, wherever it runs, or cancel its orders; if it is gone: --venue-truth",
            )

    def name(self, sessions: Sequence[str]) -> None:
        for session in sessions:
            if session not in self._named:
                self._named.add(session)
                _log.error("%s: another Kestrel daemon trades on this account: session %s", self._venue, session)
