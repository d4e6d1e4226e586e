"""Which executions are known, so that each is booked once, and what stands of those that a venue has corrected.

An execution is known by ``venue|trade_id``; the first values told of it stand until a correction that names them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.carried import CarriedCorrection
from engine.events import FillCorrected, OrderFilled

_CARRIED = -1
"""In place of a trade's values, where an earlier session has booked it."""
CORRECTED_KEPT = 4096
"""Corrected executions remembered; older ones are forgotten, oldest first."""
TRADES_CARRIED = 512
"""How many of the newest a next session is told of; open orders bring all of theirs."""
TRADES_KEPT = 8192
"""Trade ids remembered against duplicates, at least; from twice as many on the older half is forgotten."""


class Correction(enum.Enum):
    """What a correction finds."""

    BOOKED = "the execution as it was told"
    UNTOLD = "no such execution"
    FORGOTTEN = "none that is remembered: it may have been booked"
    KNOWN = "what it says"
    CONFLICT = "the execution otherwise than it was told"


class Executions:
    """Of anybody's orders.  ``duplicates`` and ``conflicts`` count what was told again, with the same values and with
    others."""

    def __init__(self) -> None:
        # Two tables of hashes instead of one of values: tens of thousands of fills a day must not cost memory.
        self._trades: dict[str, int] = {}
        self._older_trades: dict[str, int] = {}
        self._corrected: dict[str, tuple[Decimal, Decimal, Decimal]] = {}  # quantity, price and fee that stand
        self.duplicates = 0
        self.conflicts = 0
        self.forgets = False
        """Some have been forgotten: what is not known here may be known to its order."""

    def take(self, fill: OrderFilled) -> bool:
        """Whether it is new, and to be booked; from now on it is known."""
        key = f"{fill.venue}|{fill.trade_id}"
        values = hash((fill.qty, fill.px, int(fill.side)))
        seen = self._seen(key)
        if seen is not None:
            if seen in (values, _CARRIED):
                self.duplicates += 1
            else:
                self.conflicts += 1
            return False
        if len(self._trades) >= TRADES_KEPT:
            self.forgets = self.forgets or bool(self._older_trades)
            self._older_trades, self._trades = self._trades, {}
        corrected = self._corrected.get(key)
        self._trades[key] = values if corrected is None else _CARRIED
        return True

    def correct(self, event: FillCorrected, *, booked: bool | None) -> Correction:
        """What a correction finds; what it says stands from now on, unless it is about other values.

        ``booked``: what its order says of an execution that is not remembered here; None where no order can.
        """
        key = f"{event.venue}|{event.trade_id}"
        told = (event.qty, event.px, event.fee)
        becomes = (event.new_qty, event.new_px, event.new_fee)
        stands = self._corrected.get(key)
        if stands is not None:
            if stands == becomes:
                self.duplicates += 1
                return Correction.KNOWN
            if stands != told:
                self.conflicts += 1
                return Correction.CONFLICT
        else:
            seen = self._seen(key)
            if seen is None and not booked:
                self._stand(key, becomes)
                return Correction.FORGOTTEN if booked is None else Correction.UNTOLD
            if seen is not None and seen not in (hash((event.qty, event.px, int(event.side))), _CARRIED):
                self.conflicts += 1
                return Correction.CONFLICT
        self._stand(key, becomes)
        self._trades[key] = _CARRIED
        return Correction.BOOKED

    def know(self, keys: Iterable[str]) -> None:
        """Executions (``venue|trade_id``) that are not to be booked when they are told."""
        self._trades.update(dict.fromkeys(keys, _CARRIED))

    def carried(self) -> tuple[str, ...]:
        """The newest, as ``venue|id``; oldest first."""
        return tuple([*self._older_trades, *self._trades][-TRADES_CARRIED:])

    def carried_corrections(self) -> tuple[CarriedCorrection, ...]:
        """Of the newest corrected ones what stands; oldest first."""
        newest = list(self._corrected.items())[-TRADES_CARRIED:]
        return tuple([CarriedCorrection(trade, *stands) for trade, stands in newest])

    def restore_corrections(self, corrections: Sequence[CarriedCorrection]) -> None:
        self._corrected.update({one.trade: (one.qty, one.px, one.fee) for one in corrections})

    def _stand(self, key: str, values: tuple[Decimal, Decimal, Decimal]) -> None:
        self._corrected[key] = values
        if len(self._corrected) > CORRECTED_KEPT:
            del self._corrected[next(iter(self._corrected))]

    def _seen(self, key: str) -> int | None:
        seen = self._trades.get(key)
        return self._older_trades.get(key) if seen is None else seen
