"""What came to the account or left it without an execution, of which nobody could say yet what it was worth.

Owns those amounts until there is a price, or a rate.  What is measured by them is ``engine.portfolio``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.carried import CarriedUnvalued

ZERO = Decimal(0)


class Unvalued:
    """Of one portfolio."""

    def __init__(self) -> None:
        self._qty: dict[tuple[str, Decimal | None], Decimal] = {}

    def __bool__(self) -> bool:
        return bool(self._qty)

    def add(self, name: str, qty: Decimal, avg_px: Decimal | None = None) -> None:
        """Of a currency, or of the coins of an instrument; with ``avg_px`` of a margined position that cost so much."""
        key = name, avg_px
        total_qty = self._qty.pop(key, ZERO) + qty
        if total_qty:
            self._qty[key] = total_qty

    def take(self, worth: Callable[[str, Decimal, Decimal | None], Decimal | None]) -> Decimal | None:
        """What those are worth together that ``worth`` can tell of; it is told once.  None where it can of none."""
        found = {key: known for key, qty in self._qty.items() if (known := worth(key[0], qty, key[1])) is not None}
        for key in found:
            del self._qty[key]
        return sum(found.values(), ZERO) if found else None

    def carried(self) -> tuple[CarriedUnvalued, ...]:
        return tuple([CarriedUnvalued(name, qty, avg_px) for (name, avg_px), qty in self._qty.items()])

    def restore(self, carried: Iterable[CarriedUnvalued]) -> None:
        self._qty = {(one.name, one.avg_px): one.qty for one in carried}
