"""The venue's state: a book for each pair shared by clients and the background market, orders, money.

Owns every change of that state.  Pure: time and ids are given, answers are returned, nothing is sent.  Listings are
``queries``.

Money is the matching model's ledger with one fee rate.  An order of v2 is told the price of the book and its fee; one
of v1 is told a price that includes the fee as the spread, and no fee.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.ledger import Ledger
from connectors.matching.orders import (
    MARKET_ACCOUNT,
    BookOrder,
    Closed,
    CloseReason,
    Filled,
    Outcome,
    Refused,
    dearest_px,
)
from connectors.matching.synthetic import FlowSettings, SyntheticFlow
from connectors.robinhood.sandbox.errors import NON_FIELD, ApiError, invalid
from connectors.robinhood.sandbox.records import (
    ACCOUNT,
    OPEN_STATES,
    ZERO,
    Execution,
    Market,
    OrderRecord,
    book_order,
    make_instrument,
)
from connectors.robinhood.sandbox.requests import parse_order
from connectors.robinhood.sandbox.settings import SandboxPair, SandboxSettings
from connectors.robinhood.sandbox.times import NS
from engine.commands import OrderType, TimeInForce
from engine.events import Liquidity, Side


class Exchange:
    """One account's venue.  ``new_id`` makes order ids."""

    def __init__(self, settings: SandboxSettings, now_ns: int, *, new_id: Callable[[], str]) -> None:
        self.settings = settings
        self.created_ns = now_ns
        self.account_status = "active"
        self.is_api_tradable = True
        self.ledger = Ledger()
        self.markets: dict[str, Market] = {}
        self.orders: dict[str, OrderRecord] = {}
        """By the venue's id, oldest first."""
        self.open_orders: dict[str, OrderRecord] = {}
        self.traded_value = ZERO
        self._new_id = new_id
        self._number = 0
        self._trade_number = 0
        self._by_client: dict[str, OrderRecord] = {}
        self._ended: deque[str] = deque()
        self._cancels: deque[tuple[int, str]] = deque()
        self._pending: deque[tuple[int, OrderRecord, BookOrder]] = deque()
        for pair in settings.pairs:
            self.markets[pair.symbol] = self._market(pair)
        for currency, amount in settings.balances:
            self.ledger.deposit(ACCOUNT, currency, amount)

    def _market(self, pair: SandboxPair) -> Market:
        """``speed`` N makes N times as many events and sqrt(N) times the volatility a second."""
        settings, defaults = self.settings, FlowSettings()
        instrument = make_instrument(pair, settings.fee_ratio)
        flow = SyntheticFlow(
            instrument,
            settings.seed,
            pair.start_px,
            rate_per_s=(settings.rate_per_s or defaults.rate_per_s) * settings.speed,
            volatility_bps=defaults.volatility_bps * math.sqrt(settings.speed),
        )
        return Market(pair, instrument, MatchingEngine(instrument, next_id=self._next_trade_id), flow)

    def _next_trade_id(self) -> str:
        self._trade_number += 1
        return str(self._trade_number)

    def relist(self, pair: SandboxPair) -> None:
        """Other rules or another state for a pair."""
        self.markets[pair.symbol].pair = pair

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, body: Mapping[str, Any], api: str, now_ns: int) -> tuple[OrderRecord, bool]:
        """The order and whether it is new.  Raises ``ApiError``."""
        pairs = {symbol: market.pair for symbol, market in self.markets.items()}
        spec = parse_order(body, api, pairs, self.account_status, self.settings.switches)
        known = self._by_client.get(spec.client_order_id)
        if known is not None:
            if self.settings.switches.duplicate_mode == "reject":
                raise invalid("client_order_id", "An order with this client_order_id already exists.")
            return known, False
        if not self.is_api_tradable:
            raise ApiError(403, "This account may not trade through the API.")
        if len(self.open_orders) >= self.settings.max_open_orders:
            raise invalid(NON_FIELD, f"At most {self.settings.max_open_orders} orders may be open.")
        self._number += 1
        market = self.markets[spec.symbol]
        record = OrderRecord(self._new_id(), self._number, spec, now_ns, now_ns)
        order = book_order(record, market, self.settings.fee_ratio, now_ns)
        self._reserve(order, market)
        self.orders[record.order_id] = self.open_orders[record.order_id] = record
        self._by_client[spec.client_order_id] = record
        if self.settings.pending_s and api == "v2":
            record.state = "pending"
            self._pending.append((now_ns + int(self.settings.pending_s * NS), record, order))
        else:
            self._enter(record, market, order, now_ns)
        return record, True

    def _reserve(self, order: BookOrder, market: Market) -> None:
        """Hold what it can cost at worst.  Raises ``ApiError`` 400."""
        worst_px = dearest_px(order, market.instrument)
        if worst_px is None:
            got, worst_px = market.engine.sweep(order.side, qty=order.qty)
            if not got:
                raise invalid(NON_FIELD, "There is no market for this order.")
        if self.ledger.reserve(order, market.instrument, worst_px):
            buys = order.side is Side.BUY
            raise invalid(NON_FIELD, "Insufficient buying power." if buys else "Insufficient holdings.")

    def _enter(self, record: OrderRecord, market: Market, order: BookOrder, now_ns: int) -> None:
        record.state, record.updated_ns = "open", now_ns
        outcomes = market.engine.submit(order, now_ns)
        if any(isinstance(one, Refused) and one.order_id == record.order_id for one in outcomes):
            self._end(record, "failed", now_ns)
        self.absorb(market, outcomes, now_ns)

    def cancel(self, order_id: str, now_ns: int) -> None:
        """Have an order cancelled in a moment.  Raises ``ApiError`` 404, or for one that is done."""
        record = self.orders.get(order_id)
        if record is None:
            raise ApiError(404, "Not found.")
        if record.state not in OPEN_STATES:
            raise ApiError(self.settings.switches.closed_cancel_status, f"Order is {record.state}.", NON_FIELD)
        self._cancels.append((now_ns + int(self.settings.cancel_delay_s * NS), order_id))
        self._cancel_due(now_ns)

    # --- time -------------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Let the market live until ``now_ns``; what is due has happened."""
        for market in self.markets.values():
            if not market.pinned:
                self.absorb(market, market.flow.step(market.engine, now_ns), now_ns)
        self.settle(now_ns)

    def settle(self, now_ns: int) -> None:
        """What comes with time and not with the market: pending orders, cancels, orders that end with their day."""
        while self._pending and self._pending[0][0] <= now_ns:
            _, record, order = self._pending.popleft()
            if record.state == "pending":
                self._enter(record, self.markets[record.spec.symbol], order, now_ns)
        self._cancel_due(now_ns)
        for market in self.markets.values():
            self.absorb(market, market.engine.expire(now_ns), now_ns)

    def _cancel_due(self, now_ns: int) -> None:
        while self._cancels and self._cancels[0][0] <= now_ns:
            record = self.orders.get(self._cancels.popleft()[1])
            if record is None or record.state not in OPEN_STATES:
                continue  # it was filled meanwhile: an acknowledged cancel may lose
            market = self.markets[record.spec.symbol]
            closed = market.engine.cancel(record.order_id, now_ns)
            self.absorb(market, [closed or Closed(record.order_id, CloseReason.CANCELLED)], now_ns)

    # --- what the book did ------------------------------------------------------------------------------------------

    def absorb(self, market: Market, outcomes: Iterable[Outcome], now_ns: int) -> None:
        """Take in outcomes of a pair's book, from clients or from the background market."""
        for outcome in outcomes:
            if isinstance(outcome, Filled):
                for order_id, liquidity in (
                    (outcome.maker_id, Liquidity.MAKER),
                    (outcome.taker_id, Liquidity.TAKER),
                ):
                    record = self.orders.get(order_id)
                    if record is not None:
                        self._fill(record, market, outcome, liquidity)
            elif isinstance(outcome, Closed):
                record = self.orders.get(outcome.order_id)
                if record is not None and record.state in OPEN_STATES:
                    self._end(record, "filled" if outcome.reason is CloseReason.FILLED else "canceled", now_ns)

    def _fill(self, record: OrderRecord, market: Market, filled: Filled, liquidity: Liquidity) -> None:
        spec = record.spec
        fee = self.ledger.apply_fill(
            ACCOUNT,
            market.instrument,
            order_id=record.order_id,
            side=spec.side,
            qty=filled.qty,
            px=filled.px,
            liquidity=liquidity,
        )
        px = filled.px
        if spec.api == "v1":
            px *= 1 + spec.side * self.settings.fee_ratio
        else:
            record.fees += fee
        record.executions.append(Execution(px, filled.qty, filled.ts_ns))
        record.filled_qty += filled.qty
        record.filled_value += px * filled.qty
        record.updated_ns = filled.ts_ns
        self.traded_value += filled.px * filled.qty

    def _end(self, record: OrderRecord, state: str, now_ns: int) -> None:
        record.state, record.updated_ns = state, now_ns
        self.ledger.release(record.order_id)
        self.open_orders.pop(record.order_id, None)
        self._ended.append(record.order_id)
        while len(self._ended) > self.settings.max_orders:
            oldest = self.orders.pop(self._ended.popleft())
            self._by_client.pop(oldest.spec.client_order_id, None)

    # --- the operator's ---------------------------------------------------------------------------------------------

    def trade(self, symbol: str, side: Side, qty: Decimal, px: Decimal, now_ns: int) -> None:
        """Somebody else takes what there is up to a price."""
        market = self.markets[symbol]
        self._trade_number += 1
        name = f"~o{self._trade_number}"
        order = BookOrder(name, MARKET_ACCOUNT, side, OrderType.LIMIT, qty, px, TimeInForce.IOC)
        self.absorb(market, market.engine.submit(order, now_ns), now_ns)

    def pin(self, symbol: str, levels: Sequence[tuple[Side, Decimal, Decimal]], now_ns: int) -> None:
        """These levels and no others, until ``unpin``: the background market stands still."""
        market = self.markets[symbol]
        market.pinned = True
        for name in [name for name, live in market.engine.orders_of(MARKET_ACCOUNT).items() if not live.armed]:
            market.engine.cancel(name, now_ns)
        for side, px, qty in levels:
            self._trade_number += 1
            name = f"~p{self._trade_number}"
            order = BookOrder(name, MARKET_ACCOUNT, side, OrderType.LIMIT, qty, px)
            self.absorb(market, market.engine.submit(order, now_ns), now_ns)

    def unpin(self, symbol: str) -> None:
        self.markets[symbol].pinned = False

    def replace_pair(self, symbol: str, changes: Mapping[str, Any]) -> None:
        self.relist(msgspec.structs.replace(self.markets[symbol].pair, **changes))

    def fund(self, currency: str, amount: Decimal) -> None:
        """Money or coins come, or go where ``amount`` is below zero."""
        self.ledger.deposit(ACCOUNT, currency, amount)
