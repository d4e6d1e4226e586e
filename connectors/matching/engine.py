"""Price-time priority matching of one instrument: the single truth about who trades with whom, at what price.

Owns open orders and their life; ``reading`` answers questions about them.  Does not own money (``ledger``), instrument
rules such as tick and lot (``rules``), time or ids (both are given), so the same calls make the same outcomes.  All
state is bounded by ``max_orders``.

A call returns what happened in order.  A fill is always at the resting order's price.  Before anything can trade (an
order is taken or resumed, a price fires stops) orders whose time is up are removed, so none of them does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal

from connectors.matching.book import BookSide, Level
from connectors.matching.orders import (
    MARKET_ACCOUNT,
    BookOrder,
    Closed,
    CloseReason,
    Filled,
    LiveOrder,
    Opened,
    Outcome,
    Refused,
    RefuseReason,
    SelfTrade,
    Triggered,
    bracket_stop_px,
    malformed,
)
from connectors.matching.reading import BookReading
from connectors.matching.stops import StopBook
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import Instrument

_ZERO = Decimal(0)


class MatchingEngine(BookReading):
    """The order book of one instrument.

    ``next_id`` gives match ids.  ``self_trade`` says what gives way between orders of one account; accounts in
    ``exempt`` may trade with themselves.  ``max_orders`` bounds open orders (resting and waiting); one more is refused.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        next_id: Callable[[], str],
        self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST,
        max_orders: int = 100_000,
        exempt: frozenset[str] = frozenset({MARKET_ACCOUNT}),
    ) -> None:
        super().__init__(instrument)
        self._next_id = next_id
        self._self_trade = self_trade
        self._max_orders = max_orders
        self._exempt = exempt
        self._seq = 0
        self._stops = StopBook()
        self._expiries: list[tuple[int, int, LiveOrder]] = []

    # --- writing ----------------------------------------------------------------------------------------------------

    def submit(self, order: BookOrder, ts_ns: int) -> list[Outcome]:
        """Take one order; outcomes in the order in which they happened, triggered stops included."""
        out: list[Outcome] = []
        if self._expiries and self._expiries[0][0] <= ts_ns:
            out.extend(self.expire(ts_ns))
        reason = self._refusal(order, ts_ns)
        if reason is not None:
            out.append(Refused(order.order_id, reason, order.account))
            return out
        self._seq += 1
        live = LiveOrder(order, self._seq)
        self._orders[order.order_id] = live
        mine = self._by_account.get(order.account)
        if mine is None:
            mine = self._by_account[order.account] = {}
        mine[order.order_id] = live
        if order.time_in_force is TimeInForce.GTD and order.expire_ns is not None:
            heapq.heappush(self._expiries, (order.expire_ns, live.seq, live))
        out.append(Opened(order.order_id, order.account))
        if order.trigger_px is not None:
            live.armed = True
            live.waiting = order.order_type is OrderType.STOP_LIMIT
            self._stops.add(live)
            if self.last_px is not None:
                self._fire(self.last_px, self.last_px, ts_ns, out)
            if live.waiting or not live.armed:
                return out
        start = len(out)
        self._execute(live, ts_ns, out)
        self._fire_after(start, ts_ns, out)
        return out

    def cancel(self, order_id: str, ts_ns: int) -> Closed | None:
        """Remove an open order; None when there is none with that id.  One whose time is up closes as expired."""
        live = self._orders.get(order_id)
        if live is None:
            return None
        order = live.order
        late = order.time_in_force is TimeInForce.GTD and order.expire_ns is not None and order.expire_ns <= ts_ns
        return self._remove(live, CloseReason.EXPIRED if late else CloseReason.CANCELLED)

    def reduce(self, order_id: str, by_qty: Decimal) -> Closed | None:
        """Lower a resting or waiting order where it stands (it keeps its place); ``Closed`` when nothing is left."""
        live = self._orders.get(order_id)
        if live is None or by_qty <= 0:
            return None
        if by_qty >= live.leaves_qty:
            return self._remove(live, CloseReason.REDUCED)
        if live.waiting:
            live.leaves_qty -= by_qty
            return None
        book = self._side(live.side)
        level = book.level_of(live)
        book.take(level, live, by_qty)
        self._changes.mark(live.side, level.px)
        return None

    def expire(self, ts_ns: int) -> list[Outcome]:
        """Remove orders whose ``expire_ns`` is at or before ``ts_ns``, earliest first."""
        out: list[Outcome] = []
        expiries = self._expiries
        while expiries and expiries[0][0] <= ts_ns:
            live = heapq.heappop(expiries)[2]
            if self._orders.get(live.order_id) is live:
                out.append(self._remove(live, CloseReason.EXPIRED))
        return out

    def trigger(self, up_px: Decimal, down_px: Decimal, ts_ns: int) -> list[Outcome]:
        """Tell of prices from outside the book: ``up_px`` fires stops that wait above, ``down_px`` those below.

        A trade elsewhere gives both the trade's price, which becomes ``last_px``; a venue that triggers on quotes gives
        the ask and the bid.
        """
        if up_px == down_px:
            self.last_px = up_px
        out = self.expire(ts_ns)
        self._fire(up_px, down_px, ts_ns, out)
        return out

    def withdraw(self, order_id: str) -> None:
        """An order that rests waits outside the book until ``resume``.  Nothing happens to one that does not rest."""
        live = self._orders.get(order_id)
        if live is not None and not live.waiting:
            left_qty = live.leaves_qty
            self._take_out(live)
            live.leaves_qty, live.waiting = left_qty, True

    def resume(self, order_id: str, ts_ns: int) -> list[Outcome]:
        """A withdrawn order comes back: it takes what crosses (a post-only one goes instead), what is left rests behind
        what is there."""
        out = self.expire(ts_ns)
        live = self._orders.get(order_id)
        if live is None or not live.waiting or (live.armed and live.order.order_type is OrderType.STOP_LIMIT):
            return out
        if live.armed:
            self._stops.remove(live)  # it is kept there under its number
        self._seq += 1
        live.waiting, live.seq = False, self._seq
        if live.armed:
            self._stops.add(live)
        if live.order.post_only and self._would_take(live.side, live.limit_px):
            out.append(self._remove(live, CloseReason.CANCELLED))
            return out
        self._execute(live, ts_ns, out)
        self._fire_after(0, ts_ns, out)
        return out

    # --- inside -----------------------------------------------------------------------------------------------------

    def _refusal(self, order: BookOrder, ts_ns: int) -> RefuseReason | None:
        if order.order_id in self._orders:
            return RefuseReason.DUPLICATE_ID
        if len(self._orders) >= self._max_orders:
            return RefuseReason.BOOK_FULL
        reason = malformed(order, self.instrument, ts_ns)
        if reason is not None:
            return reason
        if order.post_only and order.order_type is OrderType.LIMIT and self._would_take(order.side, order.limit_px):
            return RefuseReason.POST_ONLY_WOULD_CROSS
        return None

    def _would_take(self, side: Side, limit_px: Decimal | None) -> bool:
        other = self._side(side.opposite)
        px = other.best_px()
        return px is not None and other.reached_by(px, limit_px)

    def _execute(self, live: LiveOrder, ts_ns: int, out: list[Outcome]) -> None:
        """Match a new or just triggered order, then rest or close it."""
        order = live.order
        if order.time_in_force is TimeInForce.FOK and not self._fillable(live):
            out.append(self._remove(live, CloseReason.FOK))
            return
        if order.quote_qty is not None:
            self._spend(live, order.quote_qty, ts_ns, out)
            return
        if self._match(live, ts_ns, out):
            return
        if not live.leaves_qty:
            out.append(self._remove(live, CloseReason.FILLED))
        elif order.order_type is OrderType.MARKET:
            out.append(self._remove(live, CloseReason.NO_LIQUIDITY))
        elif order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            out.append(self._remove(live, CloseReason.IOC))
        else:
            self._side(live.side).add(live)
            assert live.limit_px is not None
            self._changes.mark(live.side, live.limit_px)

    def _match(self, live: LiveOrder, ts_ns: int, out: list[Outcome]) -> bool:
        """Trade against the other side while prices cross; True when self-trade prevention closed the order."""
        other = self._side(live.side.opposite)
        limit_px = live.limit_px if live.order.order_type is not OrderType.MARKET else None
        checks_self = live.account not in self._exempt
        while live.leaves_qty:
            level = other.best()
            if level is None or not other.reached_by(level.px, limit_px):
                return False
            maker = level.first()
            if checks_self and maker.account == live.account:
                if self._yield_to_self(live, maker, out):
                    return True
                continue
            qty = min(maker.leaves_qty, live.leaves_qty)
            out.append(self._trade(other, level, live, qty, ts_ns))
            self._close_if_filled(maker, out)
        return False

    def _spend(self, live: LiveOrder, budget: Decimal, ts_ns: int, out: list[Outcome]) -> None:
        """A market order with a budget in quote currency: whole lots, never above the budget."""
        other = self._side(live.side.opposite)
        checks_self = live.account not in self._exempt
        spent = False
        while not spent and (level := other.best()) is not None:
            can = self._affordable(budget, level.px)
            if can <= 0:
                spent = live.filled_qty > 0
                break
            maker = level.first()
            if checks_self and maker.account == live.account:
                if self._yield_to_self(live, maker, out):
                    return
                continue
            qty = min(maker.leaves_qty, can)
            spent = qty == can  # ends here: the rest of a sale could buy one more lot only because prices fall
            live.leaves_qty = qty  # so that _trade sees the order it fills; the real measure is the budget
            budget -= self.instrument.notional(qty, level.px)
            out.append(self._trade(other, level, live, qty, ts_ns))
            self._close_if_filled(maker, out)
        out.append(self._remove(live, CloseReason.FILLED if spent else CloseReason.NO_LIQUIDITY))

    def _trade(self, other: BookSide, level: Level, taker: LiveOrder, qty: Decimal, ts_ns: int) -> Filled:
        """The first order of a level trades ``qty`` with the taker, at the level's price."""
        px = level.px
        maker = level.first()
        other.take(level, maker, qty)
        maker.filled_qty += qty
        taker.leaves_qty -= qty
        taker.filled_qty += qty
        self.last_px = px
        self._changes.mark(other.side, px)
        return Filled(
            maker.order_id, taker.order_id, px, qty, taker.side, self._next_id(), ts_ns, maker.account, taker.account
        )

    def _close_if_filled(self, maker: LiveOrder, out: list[Outcome]) -> None:
        if not maker.leaves_qty:
            self._forget(maker)
            out.append(Closed(maker.order_id, CloseReason.FILLED, maker.account, maker.filled_qty))

    def _yield_to_self(self, taker: LiveOrder, maker: LiveOrder, out: list[Outcome]) -> bool:
        """An order met its own account; True when the newer one was closed."""
        if self._self_trade is not SelfTrade.CANCEL_NEWEST:
            out.append(self._remove(maker, CloseReason.STP))
        if self._self_trade is SelfTrade.CANCEL_OLDEST:
            return False
        out.append(self._remove(taker, CloseReason.STP))
        return True

    def _fillable(self, live: LiveOrder) -> bool:
        """Whether a fill-or-kill order can be filled whole, self-trade prevention included."""
        checks_self = live.account not in self._exempt
        skip_own = self._self_trade is SelfTrade.CANCEL_OLDEST
        other = self._side(live.side.opposite)
        limit_px = live.limit_px if live.order.order_type is not OrderType.MARKET else None
        budget = live.order.quote_qty
        need = live.leaves_qty
        for level in other.levels():
            if not other.reached_by(level.px, limit_px):
                return False
            for maker in level.queue.values():
                can = need if budget is None else self._affordable(budget, level.px)
                if can <= 0:
                    return budget is not live.order.quote_qty
                if checks_self and maker.account == live.account:
                    if skip_own:
                        continue
                    return False
                if maker.leaves_qty >= can:
                    return True
                if budget is None:
                    need -= maker.leaves_qty
                else:
                    budget -= self.instrument.notional(maker.leaves_qty, level.px)
        return False

    def _fire(self, up_px: Decimal, down_px: Decimal, ts_ns: int, out: list[Outcome]) -> None:
        """Trigger stops one by one; the trades they cause may fire more.  Ends: each stop fires once."""
        while (order_id := self._stops.pop_due(up_px, down_px)) is not None:
            live = self._orders[order_id]
            if live.order.order_type is OrderType.BRACKET:
                self._leave_target(live)
            live.waiting = live.armed = False
            self._seq += 1
            live.seq = self._seq  # its place in a queue counts from here
            out.append(Triggered(order_id, live.account))
            if live.order.post_only and self._would_take(live.side, live.limit_px):
                out.append(self._remove(live, CloseReason.CANCELLED))
                continue
            start = len(out)
            self._execute(live, ts_ns, out)
            for outcome in out[start:]:
                if type(outcome) is Filled:
                    up_px = max(up_px, outcome.px)
                    down_px = min(down_px, outcome.px)

    def _leave_target(self, live: LiveOrder) -> None:
        """A bracket's trigger was reached: what is left of it goes from its target to beyond the trigger."""
        self.withdraw(live.order_id)
        live.limit_px = bracket_stop_px(live.order, self.instrument)

    def _fire_after(self, start: int, ts_ns: int, out: list[Outcome]) -> None:
        """Trigger the stops that the fills in ``out[start:]`` reached: the highest and the lowest price count."""
        if not self._stops:
            return
        pxs = [outcome.px for outcome in out[start:] if type(outcome) is Filled]
        if pxs:
            self._fire(max(pxs), min(pxs), ts_ns, out)

    def _remove(self, live: LiveOrder, reason: CloseReason) -> Closed:
        """Take an open order out of wherever it is."""
        self._take_out(live)
        self._forget(live)
        return Closed(live.order_id, reason, live.account, live.filled_qty)

    def _take_out(self, live: LiveOrder) -> None:
        """From its level, where it rests on one."""
        if live.waiting or live.limit_px is None:
            return
        book = self._side(live.side)
        level = book.level(live.limit_px)
        if level is not None and live.order_id in level.queue:
            book.take(level, live, live.leaves_qty)
            self._changes.mark(live.side, live.limit_px)

    def _forget(self, live: LiveOrder) -> None:
        if live.armed:
            self._stops.remove(live)
        del self._orders[live.order_id]
        mine = self._by_account[live.account]
        del mine[live.order_id]
        if not mine:
            del self._by_account[live.account]
        # Expiries of closed orders stay in the heap until most of it is dead: amortised O(1), bounded by 2 x open + 64.
        if len(self._expiries) > 2 * len(self._orders) + 64:
            orders = self._orders
            self._expiries = [entry for entry in self._expiries if orders.get(entry[2].order_id) is entry[2]]
            heapq.heapify(self._expiries)
