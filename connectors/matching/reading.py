"""The questions that may be asked of a book: prices, depth, queues, who rests where, what an order would take.

Owns the state that they read and changes none of it but the mark of ``drain_changes``.  Who may trade with whom is
``engine``, which alone writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal

from connectors.matching.book import BookSide
from connectors.matching.changes import Change, LevelChanges
from connectors.matching.orders import MARKET_ACCOUNT, LiveOrder
from engine.events import Side
from engine.instruments import Instrument

_ZERO = Decimal(0)
_NO_ORDERS: Mapping[str, LiveOrder] = {}


class BookReading:
    """Both sides of one instrument's book and the open orders by id and by account."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.last_px: Decimal | None = None
        self._bids = BookSide(Side.BUY)
        self._asks = BookSide(Side.SELL)
        self._orders: dict[str, LiveOrder] = {}
        self._by_account: dict[str, dict[str, LiveOrder]] = {}
        self._changes = LevelChanges(self._bids, self._asks)

    def best(self) -> tuple[Decimal, Decimal, Decimal, Decimal] | None:
        """``(bid_px, bid_qty, ask_px, ask_qty)``, None when a side is empty."""
        bid = self._bids.best()
        ask = self._asks.best()
        if bid is None or ask is None:
            return None
        return bid.px, bid.qty, ask.px, ask.qty

    def best_px(self, side: Side) -> Decimal | None:
        return self._side(side).best_px()

    def qty_at(self, side: Side, px: Decimal) -> Decimal:
        return self._side(side).qty_at(px)

    def level_count(self, side: Side) -> int:
        return len(self._side(side))

    def levels(self, side: Side, depth: int) -> list[tuple[Decimal, Decimal]]:
        """Up to ``depth`` levels ``(px, total qty)``, best first."""
        out: list[tuple[Decimal, Decimal]] = []
        for level in self._side(side).levels():
            if len(out) >= depth:
                break
            out.append((level.px, level.qty))
        return out

    def order(self, order_id: str) -> LiveOrder | None:
        """An open order (resting or waiting for its trigger)."""
        return self._orders.get(order_id)

    def orders_of(self, account: str) -> Mapping[str, LiveOrder]:
        """Open orders of an account by id, oldest first; a live view, copy before changing the book."""
        return self._by_account.get(account, _NO_ORDERS)

    def has_clients(self) -> bool:
        """Whether any open order belongs to somebody else than the account ``market``."""
        return len(self._orders) > len(self._by_account.get(MARKET_ACCOUNT, _NO_ORDERS))

    def client_orders(self) -> list[LiveOrder]:
        """Open orders of everybody but the account ``market``."""
        return [o for name, mine in self._by_account.items() if name != MARKET_ACCOUNT for o in mine.values()]

    def queue(self, side: Side, px: Decimal) -> list[LiveOrder]:
        """Orders resting at a price, first to fill first."""
        level = self._side(side).level(px)
        return [] if level is None else list(level.queue.values())

    def ahead_qty(self, order_id: str) -> Decimal | None:
        """Quantity at the order's price that fills before it; None when it does not rest."""
        live = self._orders.get(order_id)
        if live is None or live.waiting or live.limit_px is None:
            return None
        total = _ZERO
        for other in self.queue(live.side, live.limit_px):
            if other is live:
                return total
            total += other.leaves_qty
        return None

    def sweep(
        self,
        side: Side,
        *,
        qty: Decimal | None = None,
        quote_qty: Decimal | None = None,
        limit_px: Decimal | None = None,
    ) -> tuple[Decimal, Decimal]:
        """What an order of ``side`` would take now, as ``(filled qty, worst price)``; zeros when nothing.

        Give ``qty`` or ``quote_qty``.  Own orders are not left out: an upper bound for funds checks.
        """
        left = qty
        budget = quote_qty
        got, worst = _ZERO, _ZERO
        other = self._side(side.opposite)
        for level in other.levels():
            if not other.reached_by(level.px, limit_px):
                break
            can = level.qty
            if budget is not None:
                can = min(can, self._affordable(budget, level.px))
            if left is not None:
                can = min(can, left)
                left -= can
            if can <= 0:
                break
            if budget is not None:
                budget -= self.instrument.notional(can, level.px)
            got += can
            worst = level.px
            if left is not None and left <= 0:
                break
        return got, worst

    def cost(self, side: Side, qty: Decimal) -> Decimal:
        """Quantity times price of the levels that an order of ``side`` would take now; of all there is when too big."""
        total, left = _ZERO, qty
        for level in self._side(side.opposite).levels():
            if left <= 0:
                break
            total += min(left, level.qty) * level.px
            left -= level.qty
        return total

    def drain_changes(self) -> list[Change]:
        """Levels ``(side, px, new total qty)`` that differ from what the last call left; 0 means the level is gone."""
        return self._changes.drain()

    def _side(self, side: Side) -> BookSide:
        return self._bids if side is Side.BUY else self._asks

    def _affordable(self, budget: Decimal, px: Decimal) -> Decimal:
        """Whole lots that ``budget`` of quote currency buys at ``px``."""
        if px <= 0:
            return _ZERO
        lot = self.instrument.lot_qty
        return (budget / (px * self.instrument.multiplier * lot)).to_integral_value(ROUND_FLOOR) * lot
