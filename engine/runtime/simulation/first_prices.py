"""The first prices that a session hears, which nothing can be compared with: what is wished at them is not judged."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.commands import GroupOpened, NewOrder

JUDGED_AFTER = 3
"""Prices of an instrument that a session must have heard before it can know which of them is odd, where no session
before it has left one: its first is believed, and the second that says otherwise waits for a third."""


class FirstPrices:
    """Of one account, over all of its sessions."""

    def __init__(self) -> None:
        self._awaited: dict[str, int] = {}
        """By instrument: how many prices are to come until an odd one can be told."""
        self._wished: set[tuple[str, Decimal]] = set()
        """Instruments and limit prices that were decided before; a way out may be sent at its own much later."""

    def begin(self, instruments: Iterable[str]) -> None:
        """A session starts, and knows no price."""
        self._awaited = dict.fromkeys(instruments, JUDGED_AFTER)

    def carry(self, instrument: str) -> None:
        """A session before it has left it a price."""
        self._awaited.pop(instrument, None)

    def hear(self, instrument: str) -> None:
        """A price of it came."""
        left = self._awaited.get(instrument, 0) - 1
        if left > 0:
            self._awaited[instrument] = left
        else:
            self._awaited.pop(instrument, None)

    def on_decided(self, decided: NewOrder | GroupOpened) -> None:
        """An order, or orders that belong together, are wished for."""
        if not self._awaited:
            return
        wishes = (decided.intent,) if isinstance(decided, NewOrder) else (decided.intent.entry, *decided.intent.exits)
        for wish in wishes:
            if wish is not None and wish.limit_px is not None and wish.instrument in self._awaited:
                self._wished.add((wish.instrument, wish.limit_px))

    def can_judge(self, instrument: str, px: Decimal) -> bool:
        """Whether an order that leaves at ``px`` was decided when an odd price could be told."""
        return instrument not in self._awaited and (instrument, px) not in self._wished
