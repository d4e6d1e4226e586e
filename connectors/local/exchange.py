"""The state of a local spot venue: a book a product shared by the client and the background market, orders, money.

Owns every change of that state.  Pure but for the seeded market: time is given, nothing is sent.  What streams have to
tell is collected until ``drain`` (the caller pumps after each call).  Words and shapes are each venue's own.

Money is the matching model's ledger: an order holds the worst it can cost (its limit price or, for a market order, the
worst price of the levels that it reaches now), each fill moves both currencies and its fee, and what is still held when
the order closes is released.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from connectors.local.records import (
    Act,
    FillRecord,
    Market,
    OrderEvent,
    OrderRecord,
    OrderSpec,
    Refused,
    Updates,
    make_instrument,
)
from connectors.local.settings import ZERO, LocalSettings, SpotProduct
from connectors.local.tape import PublicTrade, Tape
from connectors.matching import orders as book
from connectors.matching.engine import MatchingEngine
from connectors.matching.ledger import Ledger, rounded_fee
from connectors.matching.orders import BookOrder, CloseReason, RefuseReason
from connectors.matching.rules import violation
from connectors.matching.synthetic import FlowSettings, SyntheticFlow
from engine.commands import OrderType, TimeInForce
from engine.events import Liquidity, Side
from engine.instruments import Instrument

ACCOUNT = "client"
"""The one account of the matching engine that belongs to API keys."""
_STOP_BEYOND = Decimal("0.10")
"""A stop at market may trade so far beyond its trigger: the book knows stops with a limit only."""
_REFUSED = {
    RefuseReason.POST_ONLY_WOULD_CROSS: "post_only",
    RefuseReason.BOOK_FULL: "too_many",
    RefuseReason.BAD_EXPIRY: "expired",
    RefuseReason.BAD_PX: "bad_px",
    RefuseReason.BAD_TRIGGER: "bad_px",
}


class Exchange:
    """State of one venue with one account.  Orders and public trades are numbered from the time of the start on, so
    that a restarted venue does not repeat the numbers of its last life."""

    def __init__(self, settings: LocalSettings, venue: str, now_ns: int) -> None:
        self.settings = settings
        self.created_ns = now_ns
        self.markets: dict[str, Market] = {}
        self.ledger = Ledger(settings.fee_step)
        self.orders: dict[int, OrderRecord] = {}
        self.open_orders: dict[int, OrderRecord] = {}
        self.fills: deque[FillRecord] = deque(maxlen=2 * settings.max_orders)
        self.fills_of: dict[int, list[FillRecord]] = {}
        self._trade_number = self._order_number = now_ns // 1_000_000
        self._by_client_id: dict[str, OrderRecord] = {}
        self._closed: deque[int] = deque()
        self._events: list[OrderEvent] = []
        self._trades: dict[str, list[PublicTrade]] = {}
        self._assets: dict[str, None] = {}
        self._best: dict[str, object] = {}
        for product in settings.products:
            self.markets[product.symbol] = self._market(product, venue, now_ns)
        for currency, amount in settings.balances:
            self.ledger.deposit(ACCOUNT, currency, amount)
        for product in settings.products:
            for currency in (product.base, product.quote):
                self.ledger.deposit(ACCOUNT, currency, ZERO)

    def _market(self, product: SpotProduct, venue: str, now_ns: int) -> Market:
        settings, defaults = self.settings, FlowSettings()
        instrument = make_instrument(product, venue, settings)
        tape = Tape(max_trades=settings.max_trades, max_minutes=settings.max_minutes)
        volatility_bps = product.volatility_bps or defaults.volatility_bps
        tape.fabricate(
            now_ns,
            settings.history_minutes,
            product.start_px,
            product.tick_px,
            bps=volatility_bps * 60**0.5,
            seed=f"{settings.seed}/{product.symbol}/past",
        )
        flow = SyntheticFlow(
            instrument,
            settings.seed,
            product.start_px,
            rate_per_s=(settings.rate_per_s or defaults.rate_per_s) * settings.speed,
            volatility_bps=volatility_bps * math.sqrt(settings.speed),
        )
        return Market(product, instrument, MatchingEngine(instrument, next_id=self._next_trade), tape, flow)

    def _next_trade(self) -> str:
        self._trade_number += 1
        return str(self._trade_number)

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> None:
        """The background market lives until ``now_ns``."""
        for market in self.markets.values():
            if not market.halted:
                outcomes = market.flow.step(market.engine, now_ns)
                if outcomes:
                    self.absorb(market, outcomes, now_ns)

    def expire(self, now_ns: int) -> None:
        """Orders whose time is up end, also where the market stands still."""
        for market in self.markets.values():
            outcomes = market.engine.expire(now_ns)
            if outcomes:
                self.absorb(market, outcomes, now_ns)

    # --- requests -----------------------------------------------------------------------------------------------------

    def find(self, client_id: str) -> OrderRecord | None:
        """The youngest order of that client id."""
        return self._by_client_id.get(client_id)

    def check(self, spec: OrderSpec, now_ns: int) -> None:
        """What placing it would say.  Raises ``Refused``; nothing changes."""
        market, _, order = self._prepare(spec, now_ns)
        self._reserve(order, market)
        self.ledger.release(order.order_id)

    def place(self, spec: OrderSpec, now_ns: int) -> OrderRecord:
        """Hold the money, give the order to the book, take in what happened.  Raises ``Refused``."""
        market, record, order = self._prepare(spec, now_ns)
        self._reserve(order, market)
        self._order_number = record.number
        self.orders[record.number] = self.open_orders[record.number] = record
        before = self._by_client_id.get(spec.client_id)
        if spec.client_id:
            self._by_client_id[spec.client_id] = record
        outcomes = market.engine.submit(order, now_ns)
        refusal = next((one for one in outcomes if isinstance(one, book.Refused)), None)
        if refusal is not None:
            self.ledger.release(order.order_id)
            del self.orders[record.number], self.open_orders[record.number]
            if spec.client_id and before is not None:
                self._by_client_id[spec.client_id] = before
            elif spec.client_id:
                del self._by_client_id[spec.client_id]
        self.absorb(market, outcomes, now_ns)
        if refusal is not None:
            raise _refused(refusal.reason)
        return record

    def cancel(self, record: OrderRecord, now_ns: int) -> bool:
        """False when it is not open any more."""
        if not record.is_open:
            return False
        market = self.markets[record.spec.symbol]
        closed = market.engine.cancel(str(record.number), now_ns)
        assert closed is not None, "an open order is in the book"
        self.absorb(market, [closed], now_ns)
        return closed.reason is CloseReason.CANCELLED

    def amend(self, record: OrderRecord, qty: Decimal, limit_px: Decimal | None, now_ns: int) -> None:
        """Another size or limit for an open order, which keeps its number: it goes to the back of the queue unless only
        its size shrinks.  Raises ``Refused`` and leaves it as it was."""
        market, before, key = self.markets[record.spec.symbol], record.spec, str(record.number)
        after = msgspec.structs.replace(before, qty=qty, limit_px=limit_px)
        self._check_rules(market, after)
        if qty <= record.filled_qty:
            raise Refused("bad_qty", f"{record.filled_qty} is filled already")
        self.ledger.release(key)
        record.spec = after
        order = self._book_order(record, market.instrument)
        try:
            self._check_post_only(market, after)
            self._reserve(order, market)
        except Refused:
            record.spec = before
            self._reserve(self._book_order(record, market.instrument), market)
            raise
        record.updated_ns = now_ns
        self._tell(Act.AMEND, record, now_ns)
        if limit_px == before.limit_px and qty < before.qty:
            market.engine.reduce(key, before.qty - qty)
            self.absorb(market, (), now_ns)
            return
        market.engine.cancel(key, now_ns)
        outcomes = market.engine.submit(order, now_ns)
        self.absorb(market, [one for one in outcomes if not isinstance(one, book.Opened)], now_ns)
        if any(isinstance(one, book.Refused) for one in outcomes):
            self._end(record, CloseReason.CANCELLED, now_ns)  # the book is full: its place is gone

    def trade(self, market: Market, side: Side, px: Decimal, qty: Decimal, now_ns: int, *, rest: bool) -> None:
        """Somebody else takes what there is up to a price; ``rest``: what is left stays in the book."""
        self._order_number += 1
        name = f"~o{self._order_number}"
        in_force = TimeInForce.GTC if rest else TimeInForce.IOC
        order = BookOrder(name, name, side, OrderType.LIMIT, qty, px, in_force)
        self.absorb(market, market.engine.submit(order, now_ns), now_ns)

    # --- what an order is and costs -----------------------------------------------------------------------------------

    def _prepare(self, spec: OrderSpec, now_ns: int) -> tuple[Market, OrderRecord, BookOrder]:
        """Everything but the money.  Raises ``Refused``."""
        market = self.markets[spec.symbol]
        if market.halted:
            raise Refused("halted", f"{spec.symbol} does not trade")
        if len(self.open_orders) >= self.settings.max_open_orders:
            raise Refused("too_many", f"{len(self.open_orders)} orders are open, the most allowed")
        self._check_rules(market, spec)
        last_px = market.engine.last_px or market.tape.last_px
        if spec.trigger_px is not None and last_px is not None:
            reached = spec.trigger_px <= last_px if spec.stop_up else spec.trigger_px >= last_px
            if reached:
                raise Refused("stop_side", f"trigger {spec.trigger_px} is reached by the last trade {last_px}")
        self._check_post_only(market, spec)
        record = OrderRecord(self._order_number + 1, spec, now_ns, now_ns)
        order = self._book_order(record, market.instrument)
        problem = book.malformed(order, market.instrument, now_ns)
        if problem is not None:
            raise _refused(problem)
        return market, record, order

    @staticmethod
    def _check_post_only(market: Market, spec: OrderSpec) -> None:
        best_px = market.engine.best_px(spec.side.opposite)
        if not spec.post_only or spec.limit_px is None or best_px is None:
            return
        if (spec.limit_px - best_px) * spec.side >= 0:
            raise Refused("post_only", f"{spec.limit_px} would take at {best_px}")

    def _check_rules(self, market: Market, spec: OrderSpec) -> None:
        reference_px = spec.trigger_px or market.engine.last_px or market.tape.last_px
        if spec.quote_qty is not None:
            if not spec.quote_qty >= market.product.min_notional:
                raise Refused("min_notional", f"{spec.quote_qty} is below {market.product.min_notional}")
            return
        broken = violation(
            market.instrument,
            qty=spec.qty,
            limit_px=spec.limit_px,
            trigger_px=spec.trigger_px,
            reference_px=reference_px,
        )
        if broken is not None:
            raise Refused(broken.reason, broken.text)

    @staticmethod
    def _book_order(record: OrderRecord, instrument: Instrument) -> BookOrder:
        """What is left of it; a stop that has fired is a limit order."""
        spec, kind, limit_px, in_force = record.spec, record.spec.kind, record.spec.limit_px, record.spec.time_in_force
        if kind is OrderType.STOP and spec.trigger_px is not None:
            far_px = spec.trigger_px * (1 + spec.side * _STOP_BEYOND)
            rounding = ROUND_CEILING if spec.side is Side.BUY else ROUND_FLOOR
            limit_px = (far_px / instrument.tick_px).to_integral_value(rounding) * instrument.tick_px
            kind, in_force = OrderType.STOP_LIMIT, TimeInForce.IOC
        if record.triggered:
            kind = OrderType.LIMIT
        return BookOrder(
            str(record.number),
            ACCOUNT,
            spec.side,
            kind,
            ZERO if spec.quote_qty is not None else spec.qty - record.filled_qty,
            limit_px,
            in_force,
            post_only=spec.post_only,
            quote_qty=spec.quote_qty,
            trigger_px=None if record.triggered else spec.trigger_px,
            stop_up=None if record.triggered else spec.stop_up,
            expire_ns=spec.expire_ns,
        )

    def _reserve(self, order: BookOrder, market: Market) -> None:
        worst_px = book.dearest_px(order, market.instrument)
        if worst_px is None:
            got, worst_px = market.engine.sweep(order.side, qty=order.qty or None, quote_qty=order.quote_qty)
            if not got:
                worst_px = market.engine.last_px or market.product.start_px
        if self.ledger.reserve(order, market.instrument, worst_px):
            currency = market.product.quote if order.side is Side.BUY else market.product.base
            available = self.ledger.balance(ACCOUNT, currency).available
            raise Refused("funds", f"not enough {currency}: {available} available")

    # --- what the book did --------------------------------------------------------------------------------------------

    def absorb(self, market: Market, outcomes: Iterable[book.Outcome], now_ns: int) -> None:
        """Take in outcomes of a product's book, from the client or from the background market."""
        for outcome in outcomes:
            if isinstance(outcome, book.Filled):
                self._on_fill(market, outcome)
                continue
            if isinstance(outcome, book.Refused):
                continue
            record = self.orders.get(int(outcome.order_id)) if outcome.account == ACCOUNT else None
            if record is None:
                continue
            record.updated_ns = now_ns
            if isinstance(outcome, book.Opened):
                self._tell(Act.NEW, record, now_ns)
            elif isinstance(outcome, book.Triggered):
                record.triggered = True
                self._tell(Act.TRIGGER, record, now_ns)
            else:
                self._end(record, outcome.reason, now_ns)

    def _on_fill(self, market: Market, filled: book.Filled) -> None:
        trade = PublicTrade(int(filled.match_id), filled.px, filled.qty, filled.aggressor is Side.SELL, filled.ts_ns)
        market.tape.add(trade)
        self._trades.setdefault(market.product.symbol, []).append(trade)
        for order_id, account, maker in (
            (filled.maker_id, filled.maker_account, True),
            (filled.taker_id, filled.taker_account, False),
        ):
            record = self.orders.get(int(order_id)) if account == ACCOUNT else None
            if record is not None:
                self._settle(record, market, filled, maker=maker)

    def _settle(self, record: OrderRecord, market: Market, filled: book.Filled, *, maker: bool) -> None:
        """Move money for one side of a match and write its fill."""
        settings, side = self.settings, record.spec.side
        value = market.instrument.notional(filled.qty, filled.px)
        fee = self.ledger.apply_fill(
            ACCOUNT,
            market.instrument,
            order_id=str(record.number),
            side=side,
            qty=filled.qty,
            px=filled.px,
            liquidity=Liquidity.MAKER if maker else Liquidity.TAKER,
        )
        asset = market.product.quote
        if settings.fees_in == "received":
            rate = settings.maker_fee_rate if maker else settings.taker_fee_rate
            asset, got = (market.product.base, filled.qty) if side is Side.BUY else (asset, value)
            step = market.product.lot_qty if side is Side.BUY else settings.fee_step
            fee = rounded_fee(got * rate, step if settings.fee_step else ZERO)
            self.ledger.deposit(ACCOUNT, asset, -fee)
            collected = self.ledger.fees_collected
            collected[asset] = collected.get(asset, ZERO) + fee
        record.filled_qty += filled.qty
        record.filled_value += value
        record.fees = {**record.fees, asset: record.fees.get(asset, ZERO) + fee}
        record.fills += 1
        record.updated_ns = filled.ts_ns
        fill = FillRecord(int(filled.match_id), record, filled.px, filled.qty, fee, asset, maker, filled.ts_ns)
        self.fills.append(fill)
        self.fills_of.setdefault(record.number, []).append(fill)
        self._tell(Act.FILL, record, filled.ts_ns, fill)

    def _end(self, record: OrderRecord, reason: CloseReason, now_ns: int) -> None:
        record.reason, record.closed_ns = reason, now_ns
        self.ledger.release(str(record.number))
        self.open_orders.pop(record.number, None)
        self._tell(Act.END, record, now_ns)
        self._closed.append(record.number)
        if len(self._closed) > self.settings.max_orders:
            oldest = self.orders.pop(self._closed.popleft())
            self.fills_of.pop(oldest.number, None)
            if self._by_client_id.get(oldest.spec.client_id) is oldest:
                del self._by_client_id[oldest.spec.client_id]

    def _tell(self, act: Act, record: OrderRecord, ts_ns: int, fill: FillRecord | None = None) -> None:
        product = self.markets[record.spec.symbol].product
        for asset in (product.base, product.quote):
            self._assets[asset] = None
        self._events.append(OrderEvent(act, msgspec.structs.replace(record), ts_ns, fill))

    # --- what streams tell --------------------------------------------------------------------------------------------

    def drain(self) -> Updates:
        """Everything that streams have to tell since the last call."""
        updates = Updates(self._trades, {}, [], self._events, list(self._assets))
        self._trades, self._events = {}, []
        self._assets.clear()
        for symbol, market in self.markets.items():
            changes = market.engine.drain_changes()
            if changes:
                updates.changes[symbol] = changes
                best = market.engine.best()
                if best != self._best.get(symbol):
                    self._best[symbol] = best
                    updates.quotes.append(symbol)
        return updates


def _refused(reason: RefuseReason) -> Refused:
    return Refused(_REFUSED.get(reason, "bad_qty"), f"the book refuses it: {reason.value}")
