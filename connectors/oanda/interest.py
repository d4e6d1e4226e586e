"""A day's interest of OANDA (``DAILY_FINANCING``) as facts, one for each position: pure.

Owns which of them an earlier session was told of.  They are told in the order of their transactions, so everything
before the newest that is known was told; what is not told here reaches the books as a balance, neither profit nor loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connectors.oanda import wire
from engine.events import FundingSettled


class Interest:
    """Of one account in ``currency``."""

    def __init__(self, venue: str, currency: str) -> None:
        self._venue = venue
        self._currency = currency
        self._newest = 0
        self._known: frozenset[str] = frozenset()
        self._since_ns = 0

    def restore(self, fundings: Iterable[str], last_ns: int) -> None:
        """Ids (``venue|id``) that an earlier session has booked.  Where there are none it may have been of a release
        that booked them as balances: what is older than its last record, ``last_ns``, is not told."""
        mine = [key.partition("|")[2] for key in fundings if key.startswith(f"{self._venue}|")]
        self._known = frozenset(mine)
        self._newest = max((_number(key) for key in mine), default=0)
        self._since_ns = 0 if mine else last_ns

    def events(
        self, transaction: wire.Transaction, instruments: Mapping[str, str], ts_ns: int, recv_ns: int
    ) -> list[FundingSettled]:
        """What a transaction says of positions in ``instruments`` (the venue's names to canonical ids)."""
        number = int(transaction.id)
        if number < self._newest or ts_ns <= self._since_ns:
            return []
        found = []
        for one in transaction.positionFinancings:
            instrument, funding_id = instruments.get(one.instrument), f"{number}-{one.instrument}"
            if instrument is not None and one.financing and funding_id not in self._known:
                found.append(
                    FundingSettled(ts_ns, recv_ns, self._venue, instrument, funding_id, self._currency, one.financing)
                )
        return found


def _number(funding_id: str) -> int:
    text = funding_id.partition("-")[0]
    return int(text) if text.isascii() and text.isdecimal() else 0
