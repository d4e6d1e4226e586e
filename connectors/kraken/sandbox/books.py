"""A book of a fixed depth as one channel tells it: a snapshot, then what changed, with the checksum of the result.

Owns what was told.  Source: Kraken WebSocket v2, "book" and "Calculate book checksum".  The venue tells no removal of a
level that is only pushed out of the depth: that is the reader's to do, and one that comes back in is told again.
"""

from __future__ import annotations

from decimal import Decimal
from zlib import crc32

import msgspec

from connectors.kraken.sandbox.naming import PairNames
from connectors.kraken.sandbox.views import at, number
from connectors.kraken.sandbox.wire import Json, plain
from connectors.local.records import Market
from engine.events import Side

DEPTHS = (10, 25, 100, 500, 1_000)
_CHECKED = 10
Levels = dict[Decimal, Decimal]


class ToldBook:
    """One market at one depth."""

    def __init__(self, market: Market, names: PairNames, depth: int) -> None:
        self._market = market
        self._names = names
        self._depth = depth
        self._told: dict[Side, Levels] = {Side.BUY: {}, Side.SELL: {}}
        self.bring_up()

    def bring_up(self) -> dict[Side, Levels]:
        """What has changed since the last call; 0 is a level that is gone."""
        changes: dict[Side, Levels] = {}
        for side, told in self._told.items():
            now = dict(self._market.engine.levels(side, self._depth))
            gone = {px: Decimal(0) for px in told if px not in now and not self._market.engine.qty_at(side, px)}
            changes[side] = gone | {px: qty for px, qty in now.items() if told.get(px) != qty}
            self._told[side] = now
        return changes

    def snapshot(self, ts_ns: int) -> Json:
        return self._message(self._told, ts_ns)

    def update(self, ts_ns: int) -> Json | None:
        """None when nothing within the depth has changed."""
        changes = self.bring_up()
        return self._message(changes, ts_ns) if any(changes.values()) else None

    def _message(self, sides: dict[Side, Levels], ts_ns: int) -> Json:
        return {
            "symbol": self._names.symbol,
            "bids": self._rows(sides[Side.BUY]),
            "asks": self._rows(sides[Side.SELL]),
            "checksum": self.checksum(),
            "timestamp": at(ts_ns),
        }

    def _rows(self, levels: Levels) -> list[dict[str, msgspec.Raw]]:
        px_places, qty_places = self._names.px_decimals, self._names.qty_decimals
        return [{"price": number(px, px_places), "qty": number(qty, qty_places)} for px, qty in levels.items()]

    def checksum(self) -> int:
        """CRC-32 of the best ten asks and the best ten bids: prices and sizes without point and leading zeros."""
        parts: list[str] = []
        for side in (Side.SELL, Side.BUY):
            for px, qty in list(self._told[side].items())[:_CHECKED]:
                for value, places in ((px, self._names.px_decimals), (qty, self._names.qty_decimals)):
                    parts.append(plain(value, places).replace(".", "").lstrip("0"))
        return crc32("".join(parts).encode())
