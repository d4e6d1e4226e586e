"""Which strategy holds how much of which instrument, and what others have closed of that.

Owns those quantities, which each order asks for; what they cost and what they won is ``engine.stakes``'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal

ZERO = Decimal(0)

Taken = tuple[str, str, Decimal]
"""Strategy, instrument, signed quantity."""


class Owners:
    """Of one portfolio, which is their only writer, with its balances."""

    def __init__(self) -> None:
        self._qty: dict[tuple[str, str], Decimal] = {}
        self._held_by: dict[str, dict[str, None]] = {}
        """Instruments of which a strategy's quantity is not zero: each order asks for them."""
        self.taken: list[Taken] = []
        """What others than its strategy have closed of what it held, since the core looked last."""

    def share_out(self, instrument: str, shares: Sequence[tuple[str, Decimal]]) -> None:
        """Book signed quantities to the strategies that they are told with."""
        for owner, qty in shares:
            self._put(owner, instrument, self.qty(owner, instrument) + qty)

    def take_from(self, instrument: str, shares: Sequence[tuple[str, Decimal]], closer: str = "") -> None:
        """The same for what was closed; all but ``closer`` have not done that themselves."""
        self.share_out(instrument, shares)
        self.taken += [(owner, instrument, qty) for owner, qty in shares if owner != closer]

    def qty(self, strategy: str, instrument: str) -> Decimal:
        return self._qty.get((strategy, instrument), ZERO)

    def held_by(self, strategy: str) -> Collection[str]:
        return self._held_by.get(strategy, ())

    def holders(self) -> Iterator[tuple[str, str]]:
        """Strategies whose quantity is not zero, each with the instrument."""
        return ((owner, name) for owner, names in self._held_by.items() for name in names)

    def carried(self) -> tuple[tuple[str, str, Decimal], ...]:
        return tuple([(strategy, name, qty) for (strategy, name), qty in self._qty.items()])

    def restore(self, carried: Iterable[tuple[str, str, Decimal]]) -> None:
        self._qty, self._held_by = {}, {}
        for strategy, name, qty in carried:
            self._put(strategy, name, qty)

    def _put(self, owner: str, instrument: str, qty: Decimal) -> None:
        self._qty[owner, instrument] = qty
        names = self._held_by.setdefault(owner, {})
        if qty:
            names[instrument] = None
        else:
            names.pop(instrument, None)
