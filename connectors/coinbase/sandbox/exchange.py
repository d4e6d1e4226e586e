"""The sandbox's venue state: a book per product shared by clients and the background market, orders, money, history.

Owns every change of that state.  Pure: time and ids are given, answers are returned, nothing is sent.  What streams
have to tell is collected until ``drain`` (the caller pumps after each call).  Reading for REST lists is in ``queries``.

Money is the matching model's ledger: an order holds the worst it can cost (its limit price or, for a market order, the
worst price of the levels it reaches now, with the higher fee), each fill moves both currencies and its fee, and what is
still held when the order closes is released.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.records import (
    OPEN_STATES,
    FillRecord,
    Market,
    OrderRecord,
    OrderSpec,
    make_instrument,
)
from connectors.coinbase.sandbox.requests import UNKNOWN_FAILURE, UNKNOWN_PREVIEW, OrderRefused, parse_order
from connectors.coinbase.sandbox.settings import SandboxProduct, SandboxSettings
from connectors.coinbase.sandbox.tape import PublicTrade, Tape
from connectors.coinbase.sandbox.translate import ACCOUNT, CLOSED, base_size, book_order, book_refusal, budget
from connectors.coinbase.sandbox.wallets import Wallets
from connectors.matching.changes import Change
from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import BookOrder, Closed, CloseReason, Filled, Opened, Outcome, Refused, Triggered
from engine.events import Liquidity, Side

ZERO = Decimal(0)


class Updates(msgspec.Struct):
    """What streams have to tell since the last ``drain``, by product where it is public."""

    trades: dict[str, list[PublicTrade]]
    changes: dict[str, list[Change]]
    quotes: set[str]
    orders: list[wire.Json]


class Exchange:
    """State of the venue for one portfolio.

    ``new_id`` makes order and entry ids; ``first_trade_id`` starts the public numbering, so that a restarted sandbox
    does not repeat the numbers of its last life.
    """

    def __init__(
        self, settings: SandboxSettings, *, now_ns: int, new_id: Callable[[], str], first_trade_id: int = 1
    ) -> None:
        self.settings = settings
        self.created_ns = now_ns
        self.user_id = new_id()
        self.portfolio_id = new_id()
        self.markets: dict[str, Market] = {}
        self.products: dict[str, SandboxProduct] = {}
        self.orders: dict[str, OrderRecord] = {}
        self.open_orders: dict[str, OrderRecord] = {}
        self.fills: deque[FillRecord] = deque(maxlen=2 * settings.max_orders)
        self.fills_of: dict[str, list[FillRecord]] = {}
        self.traded_value = ZERO
        self.fees_paid = ZERO
        self._new_id = new_id
        self._trade_number = first_trade_id - 1
        self._sequence = 0
        self._by_client_id: dict[str, OrderRecord] = {}
        self._closed: deque[str] = deque()
        self._touched: dict[str, OrderRecord] = {}
        self._order_updates: list[wire.Json] = []
        self._trades: dict[str, list[PublicTrade]] = {}
        self._best: dict[str, object] = {}
        for product in settings.products:
            self._list_product(product)
        currencies = [c for p in settings.products for c in (p.quote, p.base)]
        self.wallets = Wallets(settings.balances, currencies, new_id=new_id, now_ns=now_ns)

    def _list_product(self, product: SandboxProduct) -> None:
        settings = self.settings
        instrument = make_instrument(product, settings.maker_fee_rate, settings.taker_fee_rate)
        engine = MatchingEngine(instrument, next_id=self._next_trade_id)
        self.products[product.product_id] = product
        self.markets[product.product_id] = Market(product, instrument, engine, Tape(max_trades=settings.max_trades))

    def _next_trade_id(self) -> str:
        self._trade_number += 1
        return str(self._trade_number)

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, body: Mapping[str, Any], now_ns: int) -> wire.Json:
        """Answer of POST /orders.  Raises ``BadRequest`` for what is not an order at all."""
        known = self._by_client_id.get(str(body.get("client_order_id", "")))
        configuration = body.get("order_configuration")
        if known is not None:
            if self.settings.duplicate_mode == "reject":
                text = f"client_order_id {known.spec.client_order_id} was used before"
                return wire.refused("DUPLICATE_CLIENT_ORDER_ID", UNKNOWN_PREVIEW, text, configuration)
            return wire.accepted(known)
        try:
            spec = parse_order(body, self.products, now_ns)
            record = self._open(spec, now_ns)
        except OrderRefused as refusal:
            return wire.refused(refusal.error, refusal.preview, refusal.message, configuration)
        return wire.accepted(record)

    def preview(self, body: Mapping[str, Any], now_ns: int) -> wire.Json:
        """Answer of POST /orders/preview: what the order would cost now; refusals are listed in ``errs``."""
        errors: list[str] = []
        total = commission = base = quote = ZERO
        best = slippage = None
        try:
            spec = parse_order(body, self.products, now_ns, needs_client_id=False)
            market = self.markets[spec.product_id]
            best = market.engine.best()
            base, worst = self._expected(spec, market)
            px = spec.limit_px if spec.limit_px is not None else worst
            quote = base * px
            commission = quote * self.settings.taker_fee_rate
            total = quote + commission if spec.side is Side.BUY else quote - commission
            if best is not None and worst:
                touch = best[2] if spec.side is Side.BUY else best[0]
                slippage = abs(worst - touch) / touch
            record = OrderRecord(order_id="preview", spec=spec, created_ns=now_ns)
            self._reserve(record, market)
            self.wallets.ledger.release(record.order_id)
        except OrderRefused as refusal:
            errors.append(refusal.preview)
        return {
            "order_total": wire.number(total),
            "commission_total": wire.number(commission),
            "errs": errors,
            "warning": [],
            "quote_size": wire.number(quote),
            "base_size": wire.number(base),
            "best_bid": "" if best is None else wire.number(best[0]),
            "best_ask": "" if best is None else wire.number(best[2]),
            "is_max": False,
            "slippage": "0" if slippage is None else wire.number(slippage.quantize(Decimal("0.00000001"))),
            "leverage": "",
            "long_leverage": "",
            "short_leverage": "",
            "preview_id": self._new_id(),
        }

    def cancel(self, order_id: str, now_ns: int) -> wire.Json:
        """One result of POST /orders/batch_cancel."""
        record = self.orders.get(order_id)
        if record is None:
            return {"success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER", "order_id": order_id}
        if record.status not in OPEN_STATES:
            reason = "ORDER_IS_FULLY_FILLED" if record.status == "FILLED" else "DUPLICATE_CANCEL_REQUEST"
            return {"success": False, "failure_reason": reason, "order_id": order_id}
        market = self.markets[record.spec.product_id]
        closed = market.engine.cancel(order_id, now_ns)
        assert closed is not None, "an open order is in the book"
        self.absorb(market, [closed], now_ns)
        return {"success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON", "order_id": order_id}

    def _open(self, spec: OrderSpec, now_ns: int) -> OrderRecord:
        """Hold the money, give the order to the book, take in what happened.  Raises ``OrderRefused``."""
        if len(self.open_orders) >= self.settings.max_open_orders:
            text = f"{len(self.open_orders)} orders are open, the most allowed"
            raise OrderRefused("COMMANDER_REJECTED_NEW_ORDER", UNKNOWN_PREVIEW, text)
        market = self.markets[spec.product_id]
        record = OrderRecord(
            order_id=self._new_id(),
            spec=spec,
            created_ns=now_ns,
            trigger_status="STOP_PENDING" if spec.stop_px is not None else "INVALID_ORDER_TYPE",
            sequence=self._sequence + 1,
        )
        order = self._reserve(record, market)
        self._sequence = record.sequence
        self.orders[record.order_id] = self.open_orders[record.order_id] = record
        self._by_client_id[spec.client_order_id] = record
        outcomes = market.submit(order, now_ns)
        refusal = next((x for x in outcomes if isinstance(x, Refused)), None)
        if refusal is not None:
            self._forget(record)
        self.absorb(market, outcomes, now_ns)
        if refusal is not None:
            raise book_refusal(refusal.reason)
        return record

    def _forget(self, record: OrderRecord) -> None:
        """The book refused it: the order never existed."""
        self.wallets.ledger.release(record.order_id)
        del self.orders[record.order_id], self.open_orders[record.order_id]
        del self._by_client_id[record.spec.client_order_id]

    def _expected(self, spec: OrderSpec, market: Market) -> tuple[Decimal, Decimal]:
        """``(base units, worst price)``: a limit order whole at its limit, a market order as the book is now."""
        if spec.limit_px is not None:
            return base_size(spec, market, self.settings.taker_fee_rate), spec.limit_px
        got, worst = market.engine.sweep(
            spec.side, qty=spec.base_size, quote_qty=budget(spec, self.settings.taker_fee_rate)
        )
        if not got:
            text = f"nobody offers {spec.product_id} on the other side"
            raise OrderRefused("INVALID_NO_LIQUIDITY", "PREVIEW_INVALID_NO_LIQUIDITY", text)
        return got, worst

    def _reserve(self, record: OrderRecord, market: Market) -> BookOrder:
        """Hold what the order can cost at worst.  Raises ``OrderRefused``: too little money, a stop out of place."""
        spec = record.spec
        last_px = market.tape.last_px
        if spec.stop_px is not None and last_px is not None:
            if spec.stop_up and spec.stop_px <= last_px:
                text = f"stop price {spec.stop_px} is not above the last trade {last_px}"
                raise OrderRefused(UNKNOWN_FAILURE, "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE", text)
            if not spec.stop_up and spec.stop_px >= last_px:
                text = f"stop price {spec.stop_px} is not below the last trade {last_px}"
                raise OrderRefused(UNKNOWN_FAILURE, "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE", text)
        worst_px = self._expected(spec, market)[1]
        order = book_order(record, market, self.settings.taker_fee_rate)
        instrument = market.instrument
        if self.wallets.ledger.reserve(order, instrument, worst_px):
            currency = instrument.quote if spec.side is Side.BUY else instrument.base
            available = wire.number(self.wallets.amounts(currency)[0])
            text = f"not enough {currency} for this {spec.side.name}: available {available}"
            raise OrderRefused("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND", text)
        return order

    # --- what the book did ------------------------------------------------------------------------------------------

    def absorb(self, market: Market, outcomes: Iterable[Outcome], now_ns: int, *, printed: bool = False) -> None:
        """Take in outcomes of a product's book, from clients or from the background market.

        ``printed`` says that a recorded trade caused them, which is on the tape already (``print_trade``).
        """
        orders = self.orders
        for outcome in outcomes:
            if isinstance(outcome, Filled):
                self._on_fill(market, outcome, printed=printed)
            elif isinstance(outcome, Closed):
                record = orders.get(outcome.order_id)
                if record is not None:
                    self._on_closed(record, outcome.reason)
            elif isinstance(outcome, Opened):
                record = orders.get(outcome.order_id)
                if record is not None:
                    self._tell(record)
                    record.status = "OPEN"
                    self._touched[record.order_id] = record
            elif isinstance(outcome, Triggered):
                record = orders.get(outcome.order_id)
                if record is not None:
                    record.trigger_status = "STOP_TRIGGERED"
                    self._touched[record.order_id] = record
        if self._touched:
            for record in self._touched.values():
                self._tell(record)
            self.wallets.touch((market.instrument.base, market.instrument.quote), now_ns)
            self._touched.clear()

    def expire(self, now_ns: int) -> None:
        """Close good-till-date orders whose time has come."""
        for market in self.markets.values():
            outcomes = market.engine.expire(now_ns)
            if outcomes:
                self.absorb(market, outcomes, now_ns)

    def drain(self) -> Updates:
        """Everything that streams have to tell since the last call."""
        updates = Updates(self._trades, {}, set(), self._order_updates)
        self._trades = {}
        self._order_updates = []
        for product_id, market in self.markets.items():
            changes = market.engine.drain_changes()
            if changes:
                updates.changes[product_id] = changes
                best = market.engine.best()
                if best != self._best.get(product_id):
                    self._best[product_id] = best
                    updates.quotes.add(product_id)
        return updates

    def _tell(self, record: OrderRecord) -> None:
        record.hold_left = self.wallets.ledger.held(record.order_id)
        self._order_updates.append(wire.user_order(record, portfolio_id=self.portfolio_id))

    def print_trade(self, market: Market, px: Decimal, qty: Decimal, aggressor: Side, ts_ns: int) -> None:
        """A trade of a recorded market goes on the tape."""
        self._publish(market, PublicTrade(self._next_trade_id(), px, qty, aggressor.opposite.name, ts_ns))

    def _publish(self, market: Market, trade: PublicTrade) -> None:
        market.tape.add(trade)
        self._trades.setdefault(market.product.product_id, []).append(trade)

    def _on_fill(self, market: Market, filled: Filled, *, printed: bool) -> None:
        if not printed:
            maker_side = filled.aggressor.opposite.name
            self._publish(market, PublicTrade(filled.match_id, filled.px, filled.qty, maker_side, filled.ts_ns))
        for order_id, is_maker in ((filled.maker_id, True), (filled.taker_id, False)):
            record = self.orders.get(order_id)
            if record is not None:
                self._settle(record, market, filled, is_maker)

    def _settle(self, record: OrderRecord, market: Market, filled: Filled, is_maker: bool) -> None:
        """Move money for one side of a match and write its fill."""
        spec = record.spec
        value = filled.px * filled.qty
        fee = self.wallets.ledger.apply_fill(
            ACCOUNT,
            market.instrument,
            order_id=record.order_id,
            side=spec.side,
            qty=filled.qty,
            px=filled.px,
            liquidity=Liquidity.MAKER if is_maker else Liquidity.TAKER,
        )
        record.filled_qty += filled.qty
        record.filled_value += value
        record.fees += fee
        record.fill_count += 1
        record.last_fill_ns = filled.ts_ns
        self.traded_value += value
        self.fees_paid += fee
        fill = FillRecord(
            entry_id=self._new_id(),
            trade_id=filled.match_id,
            order_id=record.order_id,
            product_id=spec.product_id,
            side=spec.side,
            px=filled.px,
            qty=filled.qty,
            commission=fee,
            maker=is_maker,
            ts_ns=filled.ts_ns,
        )
        self.fills.append(fill)
        self.fills_of.setdefault(record.order_id, []).append(fill)
        self._touched[record.order_id] = record

    def _on_closed(self, record: OrderRecord, reason: CloseReason) -> None:
        record.status, record.cancel_message = CLOSED[reason]
        self.wallets.ledger.release(record.order_id)
        self.open_orders.pop(record.order_id, None)
        self._touched[record.order_id] = record
        self._closed.append(record.order_id)
        if len(self._closed) > self.settings.max_orders:
            oldest = self.orders.pop(self._closed.popleft())
            self.fills_of.pop(oldest.order_id, None)
            self._by_client_id.pop(oldest.spec.client_order_id, None)
