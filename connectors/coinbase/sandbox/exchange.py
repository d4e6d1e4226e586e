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
from connectors.coinbase.sandbox.attaching import Attaching
from connectors.coinbase.sandbox.editing import LateEdits
from connectors.coinbase.sandbox.executions import Executions
from connectors.coinbase.sandbox.futures import Futures
from connectors.coinbase.sandbox.records import (
    OPEN_STATES,
    Market,
    OrderRecord,
    OrderSpec,
    make_instrument,
)
from connectors.coinbase.sandbox.requests import (
    UNKNOWN_FAILURE,
    UNKNOWN_PREVIEW,
    OrderRefused,
    check_bracket_market,
    parse_order,
)
from connectors.coinbase.sandbox.settings import SandboxProduct, SandboxSettings
from connectors.coinbase.sandbox.slices import SLICE, Slices
from connectors.coinbase.sandbox.tape import PublicTrade, Tape
from connectors.coinbase.sandbox.translate import CLOSED, base_size, book_order, book_refusal, budget
from connectors.coinbase.sandbox.wallets import Wallets
from connectors.matching.changes import Change
from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import (
    BookOrder,
    Closed,
    CloseReason,
    Filled,
    Opened,
    Outcome,
    Refused,
    RefuseReason,
    Triggered,
    dearest_px,
)
from engine.commands import OrderType
from engine.events import Side

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
        self.executions = Executions(self, most=2 * settings.max_orders)
        self.fills = self.executions.fills
        self.fills_of = self.executions.of
        """Of orders that are kept, by their id."""
        self.new_id = new_id
        self._trade_number = first_trade_id - 1
        self._sequence = 0
        self._by_client_id: dict[str, OrderRecord] = {}
        self._closed: deque[str] = deque()
        self._touched: dict[str, OrderRecord] = {}
        self._order_updates: list[wire.Json] = []
        self._trades: dict[str, list[PublicTrade]] = {}
        self._best: dict[str, object] = {}
        self.attaching = Attaching(self)
        self.slices = Slices()
        self.futures = Futures(self)
        self.late_edits = LateEdits(self)
        for product in settings.products:
            self._list_product(product)
        currencies = [c for p in settings.products for c in ((p.quote, p.base) if p.future is None else (p.quote,))]
        self.wallets = Wallets(settings.balances, currencies, new_id=new_id, now_ns=now_ns)

    def _list_product(self, product: SandboxProduct) -> None:
        settings = self.settings
        instrument = make_instrument(product, settings.maker_fee_rate, settings.taker_fee_rate)
        self.products[product.product_id] = product
        shared = self.markets[product.alias] if product.alias else None
        if shared is not None:
            made = Market(product, instrument, shared.engine, shared.tape, shares=shared)
        else:
            engine = MatchingEngine(instrument, next_id=self._next_trade_id)
            made = Market(product, instrument, engine, Tape(max_trades=settings.max_trades))
        self.markets[product.product_id] = made

    def relist(self, product: SandboxProduct, now_ns: int) -> None:
        """Other rules or switches for a product; one that is not listed any more loses its open orders."""
        market = self.markets[product.product_id]
        market.product = product
        if product.listed:
            self.products[product.product_id] = product
            return
        self.products.pop(product.product_id, None)
        for record in list(self.open_orders.values()):
            if record.spec.product_id == product.product_id:
                self.cancel(record.order_id, now_ns)

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
            if body.get("retail_portfolio_id") not in {None, "", self.portfolio_id}:
                raise OrderRefused(UNKNOWN_FAILURE, UNKNOWN_PREVIEW, "account is not available")
            spec = parse_order(body, self.products, now_ns)
            record = self.open(spec, now_ns)
        except OrderRefused as refusal:
            return wire.refused(refusal.error, refusal.preview, refusal.message, configuration)
        return wire.accepted(record)

    def cancel(self, order_id: str, now_ns: int) -> wire.Json:
        """One result of POST /orders/batch_cancel."""
        record = self.orders.get(order_id)
        if record is None:
            return {"success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER", "order_id": order_id}
        if record.status not in OPEN_STATES:
            reason = "ORDER_IS_FULLY_FILLED" if record.status == "FILLED" else "DUPLICATE_CANCEL_REQUEST"
            return {"success": False, "failure_reason": reason, "order_id": order_id}
        if order_id not in self.open_orders:  # it waits for its entry
            return {"success": False, "failure_reason": "CANNOT_CANCEL_ACTIVE_ATTACHED_ORDER", "order_id": order_id}
        if record.is_being_replaced:
            return {"success": False, "failure_reason": "ORDER_IS_BEING_REPLACED", "order_id": order_id}
        market = self.markets[record.spec.product_id]
        closed = market.engine.cancel(order_id, now_ns)
        if closed is None:
            assert self.slices.drop(order_id), "an open order is in the book, unless it is cut into slices"
            closed = Closed(order_id, CloseReason.CANCELLED)
        self.absorb(market, [closed], now_ns)
        return {"success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON", "order_id": order_id}

    def open(self, spec: OrderSpec, now_ns: int) -> OrderRecord:
        """Hold the money, give the order to the book, take in what happened.  Raises ``OrderRefused``."""
        if len(self.open_orders) >= self.settings.max_open_orders:
            text = f"{len(self.open_orders)} orders are open, the most allowed"
            raise OrderRefused("COMMANDER_REJECTED_NEW_ORDER", UNKNOWN_PREVIEW, text)
        record = OrderRecord(
            order_id=self.new_id(),
            spec=spec,
            created_ns=now_ns,
            trigger_status="STOP_PENDING" if spec.stop_px is not None else "INVALID_ORDER_TYPE",
            attached_order_id=self.new_id() if spec.attached is not None else "",
            names_exit=self.settings.attached_names != "exit",
        )
        self.enter(record, now_ns)
        return record

    def add(self, record: OrderRecord) -> None:
        """It is known from now on, whether it is in the book or not."""
        if record.order_id not in self.orders:
            self._sequence += 1
            record.sequence = self._sequence
        self.orders[record.order_id] = record
        if record.spec.client_order_id:
            self._by_client_id[record.spec.client_order_id] = record
        self._tell(record)

    def enter(self, record: OrderRecord, now_ns: int) -> None:
        """Hold the money of an order and give it to the book.  Raises ``OrderRefused``."""
        market, spec = self.markets[record.spec.product_id], record.spec
        order = self.reserve(record, market)
        if not record.sequence:
            self._sequence += 1
            record.sequence = self._sequence
        self.orders[record.order_id] = self.open_orders[record.order_id] = record
        if spec.client_order_id:
            self._by_client_id[spec.client_order_id] = record
        if spec.slicing is not None:
            self.slices.add(record, order)
            self.absorb(market, [Opened(record.order_id)], now_ns)
            return
        outcomes = market.submit(order, now_ns)
        refusal = next((x for x in outcomes if isinstance(x, Refused)), None)
        if refusal is None:
            self.attaching.opened(record, now_ns)
            self.absorb(market, outcomes, now_ns)
            return
        why = book_refusal(refusal.reason)
        late = self.settings.post_only_mode == "fail" and refusal.reason is RefuseReason.POST_ONLY_WOULD_CROSS
        if late:
            self.fail(record, why)
        else:
            self._forget(record)
        self.absorb(market, outcomes, now_ns)
        if not late:
            raise why

    def end(self, record: OrderRecord, status: str, message: str, now_ns: int) -> None:
        """One that is not in the book ends."""
        self._end(record, status, message)
        self.absorb(self.markets[record.spec.product_id], (), now_ns)

    def fail(self, record: OrderRecord, why: OrderRefused) -> None:
        """An order that was accepted turns out to be impossible.  Told with the next ``absorb``."""
        record.reject_reason, record.reject_message = why.error, why.message
        self._tell(record)
        self._end(record, "FAILED", "")
        self._touched[record.order_id] = record

    def _forget(self, record: OrderRecord) -> None:
        """The book refused it: the order never existed."""
        self.wallets.ledger.release(record.order_id)
        del self.orders[record.order_id], self.open_orders[record.order_id]
        self._by_client_id.pop(record.spec.client_order_id, None)

    def expected(self, spec: OrderSpec, market: Market) -> tuple[Decimal, Decimal]:
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

    def reserve(self, record: OrderRecord, market: Market, *, asked: bool = True) -> BookOrder:
        """Hold what is left of the order can cost at worst.  Raises ``OrderRefused``: too little money, a stop out of
        place (looked at only for an order that somebody asks for).
        """
        spec = record.spec
        last_px = market.tape.last_px
        if not asked or record.trigger_status == "STOP_TRIGGERED":
            pass
        elif spec.kind is OrderType.BRACKET:
            check_bracket_market(spec, last_px)
        elif spec.stop_px is not None and last_px is not None:
            if spec.stop_up and spec.stop_px <= last_px:
                text = f"stop price {spec.stop_px} is not above the last trade {last_px}"
                raise OrderRefused(UNKNOWN_FAILURE, "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE", text)
            if not spec.stop_up and spec.stop_px >= last_px:
                text = f"stop price {spec.stop_px} is not below the last trade {last_px}"
                raise OrderRefused(UNKNOWN_FAILURE, "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE", text)
        order = book_order(record, market, self.settings.taker_fee_rate)
        instrument = market.instrument
        worst_px = dearest_px(order, instrument) or self.expected(spec, market)[1]
        if self.wallets.ledger.reserve(order, instrument, worst_px):
            buys = spec.side is Side.BUY or market.product.future is not None
            currency = instrument.settlement if buys else instrument.base
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
            self.wallets.touch(market.currencies, now_ns)
            self._touched.clear()
        self.attaching.pump(now_ns)

    def expire(self, now_ns: int) -> None:
        """What comes with time: good-till-date orders end, slices are due, funding is paid, contracts expire, changes
        that were taken are carried out."""
        for market in self.markets.values():
            outcomes = market.engine.expire(now_ns)
            if outcomes:
                self.absorb(market, outcomes, now_ns)
        if self.slices:
            for market, outcomes in self.slices.due(self.markets, now_ns):
                self.absorb(market, outcomes, now_ns)
        self.futures.pass_time(now_ns)
        self.attaching.expire(now_ns)
        self.late_edits.expire(now_ns)

    def drain(self) -> Updates:
        """Everything that streams have to tell since the last call."""
        updates = Updates(self._trades, {}, set(), self._order_updates)
        self._trades = {}
        self._order_updates = []
        for product_id, market in self.markets.items():
            changes = market.engine.drain_changes() if market.shares is None else ()
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
        self._trades.setdefault(market.product.label, []).append(trade)

    def _on_fill(self, market: Market, filled: Filled, *, printed: bool) -> None:
        if not printed:
            maker_side = filled.aggressor.opposite.name
            self._publish(market, PublicTrade(filled.match_id, filled.px, filled.qty, maker_side, filled.ts_ns))
        for order_id, is_maker in ((filled.maker_id, True), (filled.taker_id, False)):
            record = self.orders.get(order_id)
            if record is None and self.slices:
                record = self.orders.get(order_id.partition(SLICE)[0])
            if record is not None:
                own = self.markets[record.spec.product_id]  # which may be another that shares the book
                self.executions.settle(record, own, filled, is_maker=is_maker)
                self.attaching.filled(record)

    def touch(self, record: OrderRecord) -> None:
        """It has changed: told with the next ``absorb``."""
        self._touched[record.order_id] = record

    def _on_closed(self, record: OrderRecord, reason: CloseReason) -> None:
        self._end(record, *CLOSED[reason])
        self.attaching.closed(record)

    def _end(self, record: OrderRecord, status: str, message: str) -> None:
        record.status, record.cancel_message = status, message
        self.wallets.ledger.release(record.order_id)
        self.open_orders.pop(record.order_id, None)
        self._touched[record.order_id] = record
        self._closed.append(record.order_id)
        if len(self._closed) > self.settings.max_orders:
            oldest = self.orders.pop(self._closed.popleft())
            self.executions.forget(oldest.order_id)
            self._by_client_id.pop(oldest.spec.client_order_id, None)
