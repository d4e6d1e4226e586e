"""A venue in this process: paper orders are matched against the mirrored real market.

Owns what a venue takes and when: rules, funds, latency, arrivals.  What becomes of an order is told by ``account``;
matching is ``connectors.matching.engine``, the outside market ``connectors.matching.mirror``.

Time is the feed's: it moves with ``advance`` only.  An order takes ``latency_ns`` to arrive and meets the market as it
is then; answers are published when it arrives.  ``submit`` and ``cancel`` only queue, so nothing is published inside
them.  Call order of a feed, for each market event::

    exchange.advance(event.ts_recv_ns)   # what was under way arrives, at the market before the event
    publish(event)                       # the core sees it and may send orders
    exchange.on_market(event)            # the book moves; resting orders fill

and ``advance(now_ns)`` from a timer, for the time between events.  Ids count up, so equal input gives equal output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.ledger import IN_ONE_CURRENCY, Balance, LedgerPosition
from connectors.matching.mirror import ASSUMED_NOTIONAL, REFILL_NS, MarketMirror
from connectors.matching.orders import BookOrder, dearest_px
from connectors.matching.rules import Violation, violation
from connectors.paper.account import ACCOUNT, PaperAccount
from connectors.paper.intents import odd_field
from connectors.paper.levels import Levels
from connectors.paper.states import MarketStates
from engine.commands import CancelOrder, NewOrder, OrderType
from engine.events import (
    BookDelta,
    BookSnapshot,
    CancelRejected,
    FeedDown,
    FeedUp,
    Gap,
    InputEvent,
    InstrumentDefined,
    Quote,
    RateReported,
    Side,
    Trade,
)
from engine.instruments import Instrument
from engine.ports import Publish
from engine.quality.gate import DEFAULT, QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import SUSPECT, is_shown

_ZERO = Decimal(0)

DEFAULT_BALANCE: Final = Decimal(100_000)
"""Of each settlement currency, for an account that nobody gave a balance."""
LATENCY_NS: Final = 20_000_000


class PaperExchange:
    """Implements ``engine.ports.VenueGateway`` for one venue.

    ``balances`` is what the account starts with, by currency; None gives ``default_balance`` of every settlement
    currency.  ``id_prefix`` goes into venue and trade ids: give the session's id where sessions share records.
    ``assumed_notional`` and ``refill_ns``: see ``MarketMirror``.  Quotes and trades are judged by ``tolerances`` as the
    core judges them: a bad tick fills nobody, and nothing is offered while the price is in doubt.  ``home``: the one
    currency of an account of currencies and CFDs, as at their brokers, and ``rates``: what others are worth in it until
    the feed tells; empty: each settlement currency stands alone.  Raises ``ValueError`` for another venue's instrument.
    """

    def __init__(
        self,
        publish: Publish,
        instruments: Iterable[Instrument],
        *,
        venue: str,
        balances: Mapping[str, Decimal] | None = None,
        default_balance: Decimal = DEFAULT_BALANCE,
        latency_ns: int = LATENCY_NS,
        id_prefix: str = "paper",
        assumed_notional: Decimal = ASSUMED_NOTIONAL,
        refill_ns: int = REFILL_NS,
        tolerances: Tolerances = DEFAULT,
        home: str = "",
        rates: Mapping[str, Decimal] | None = None,
    ) -> None:
        self._publish = publish
        self._venue = venue
        self._account = PaperAccount(publish, venue, id_prefix)
        self._home = home
        if home:
            self._account.ledger.rates.update({**(rates or {}), home: Decimal(1)})
        self._latency_ns = latency_ns
        self._prefix = id_prefix
        self._assumed_notional = assumed_notional
        self._refill_ns = refill_ns
        self._tolerances = tolerances
        self._mirrors: dict[str, MarketMirror] = {}
        self._gates: dict[str, QualityGate] = {}
        self._levels: dict[str, Levels] = {}
        self._refused = 0
        self._instruments: dict[str, Instrument] = {}
        self._states = MarketStates(venue, lambda: self._now_ns)
        self._arrivals: deque[tuple[int, NewOrder | CancelOrder]] = deque()
        self._trade_count = 0
        self._now_ns = 0
        self.duplicates = 0
        """Orders that came with an id that was used before; they are dropped."""
        self._started = False
        # A live feed tells its instruments later: without given balances each new settlement currency gets the default.
        self._default_balance = default_balance if balances is None else None
        for currency, amount in (balances or {}).items():
            self._account.ledger.deposit(ACCOUNT, currency, amount)
        for instrument in instruments:
            self.define(instrument)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def venue(self) -> str:
        return self._venue

    @property
    def now_ns(self) -> int:
        """Feed time of the last ``advance``."""
        return self._now_ns

    @property
    def pending(self) -> int:
        """Orders and cancels on their way."""
        return len(self._arrivals)

    @property
    def last_due_ns(self) -> int:
        """When the last of them arrives; ``now_ns`` when nothing is on its way."""
        return self._arrivals[-1][0] if self._arrivals else self._now_ns

    @property
    def open_orders(self) -> int:
        return len(self._account.orders)

    def instruments(self) -> Sequence[Instrument]:
        return list(self._instruments.values())

    def balances(self) -> dict[str, Balance]:
        return self._account.ledger.balances(ACCOUNT)

    def position(self, instrument: str) -> LedgerPosition:
        """Raises ``KeyError`` for an unknown instrument."""
        return self._account.ledger.position(ACCOUNT, self._instruments[instrument])

    def ignored(self) -> int:
        """Quotes and trades that could not be matched against: refused by the quality gate, or locked."""
        return self._refused + sum(mirror.ignored_quotes + mirror.ignored_trades for mirror in self._mirrors.values())

    # --- gateway ----------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        """Queue an order; every answer is an event of a later ``advance`` or ``on_market``."""
        self._arrivals.append((max(self._now_ns, order.ts_ns) + self._latency_ns, order))

    def cancel(self, cancel: CancelOrder) -> None:
        """Queue a cancel; it arrives after every order that was sent before it."""
        self._arrivals.append((max(self._now_ns, cancel.ts_ns) + self._latency_ns, cancel))

    # --- feed -------------------------------------------------------------------------------------------------------

    def define(self, instrument: Instrument) -> None:
        """Add an instrument.  New rules for a known one apply from now on; its book stays.

        Publishes nothing but, after ``start``, the balance of a currency that is new to the account.
        """
        if instrument.venue != self._venue:
            raise ValueError(f"instrument {instrument.id} is of venue {instrument.venue}; expected {self._venue}")
        known = self._mirrors.get(instrument.id)
        self._instruments[instrument.id] = instrument
        if known is not None:
            known.define(instrument)
            self._gates[instrument.id].redefine(instrument)
            return
        engine = MatchingEngine(instrument, next_id=self._next_trade_id)
        self._mirrors[instrument.id] = MarketMirror(
            engine, assumed_notional=self._assumed_notional, refill_ns=self._refill_ns
        )
        self._gates[instrument.id] = gate = QualityGate(instrument, self._tolerances)
        self._levels[instrument.id] = Levels(instrument.id, gate)
        currency = self._home if self._home and instrument.asset_class in IN_ONE_CURRENCY else instrument.settlement
        if self._default_balance is not None and currency not in self._account.ledger.balances(ACCOUNT):
            self._account.ledger.deposit(ACCOUNT, currency, self._default_balance)
            if self._started:
                self._account.report_balance(currency, self._now_ns)

    def start(self, ts_ns: int, *, define: bool = True, streams: Sequence[str] = ("market", "user")) -> None:
        """Publish what a session needs to know first: instruments (if ``define``), balances, streams that are up.

        On a live feed the feed itself defines instruments and reports the market stream: then ``define=False`` and
        ``streams=("user",)``.
        """
        self._now_ns = max(self._now_ns, ts_ns)
        self._started = True
        if define:
            for instrument in self._instruments.values():
                self._publish(InstrumentDefined(ts_ns, ts_ns, instrument))
        for currency in self._account.ledger.balances(ACCOUNT):
            self._account.report_balance(currency, ts_ns)
        for stream in streams:
            self._publish(FeedUp(ts_ns, ts_ns, self._venue, stream))

    def advance(self, now_ns: int) -> None:
        """Feed time is ``now_ns`` (a step back is ignored): what arrives by then arrives, orders whose time is up go.

        What is sent while this publishes arrives with a later call, so one call always ends.
        """
        self._now_ns = max(self._now_ns, now_ns)
        if self._account.orders:
            self._expire(self._now_ns)
        arrivals = self._arrivals
        for _ in range(len(arrivals)):
            due_ns, command = arrivals[0]
            if due_ns > self._now_ns:
                return
            arrivals.popleft()
            if isinstance(command, NewOrder):
                self._arrive(command, due_ns)
            else:
                self._arrive_cancel(command, due_ns)

    def on_market(self, event: InputEvent) -> None:
        """The outside market moved.  Events of other kinds, venues or unknown instruments are not this venue's.

        Best prices are those of quotes; where none come, those of the book."""
        kind = type(event)
        if kind is Quote:
            assert isinstance(event, Quote)
            mirror = self._mirrors.get(event.instrument)
            if mirror is not None:
                self._levels[event.instrument].overruled = True
                if self._judge(mirror, self._gates[event.instrument].quote(event)):
                    self._on_best(mirror, event)
        elif kind is Trade:
            assert isinstance(event, Trade)
            mirror = self._mirrors.get(event.instrument)
            if (
                mirror is not None
                and self._judge(mirror, self._gates[event.instrument].trade(event))
                and not self._states.is_shut(event.instrument)
            ):
                outcomes = mirror.on_trade(event)
                if outcomes:
                    self._account.report(mirror, outcomes, event.ts_recv_ns)
        elif isinstance(event, BookDelta | BookSnapshot):
            mirror = self._mirrors.get(event.instrument)
            if mirror is not None:
                best, code = self._levels[event.instrument].take(event)
                if self._judge(mirror, code) and best is not None:
                    self._on_best(mirror, best)
        elif isinstance(event, Gap | FeedDown) and event.venue == self._venue:
            if kind is Gap or getattr(event, "stream", "") == "market":
                self._lose(getattr(event, "instrument", ""))
        elif isinstance(event, InstrumentDefined) and event.definition.venue == self._venue:
            self.define(event.definition)
        elif isinstance(event, RateReported) and self._home:
            self._account.ledger.rates[event.currency] = event.rate
        else:
            self._states.take(event)

    def _on_best(self, mirror: MarketMirror, quote: Quote) -> None:
        if self._states.is_shut(quote.instrument):
            mirror.withhold()  # shown, and nobody deals at it
            return
        outcomes = mirror.on_quote(quote)
        if outcomes:
            self._account.report(mirror, outcomes, quote.ts_recv_ns)

    def _lose(self, instrument: str) -> None:
        """Changes of a book were lost, of every one where none is named: nothing is offered until it is told anew."""
        for name in (instrument,) if instrument else self._levels:
            levels = self._levels.get(name)
            if levels is not None and levels.forget():
                self._mirrors[name].withhold()

    def _judge(self, mirror: MarketMirror, code: int) -> bool:
        """Whether the market is what the event says.  Prices that only exits are shown are good enough to leave at."""
        if not code & 3 or is_shown(code):
            return True
        self._refused += 1
        if code & 3 == SUSPECT:
            mirror.withhold()
            self._levels[mirror.engine.instrument.id].doubt()
        return False

    # --- arrivals ---------------------------------------------------------------------------------------------------

    def _arrive(self, new: NewOrder, ts_ns: int) -> None:
        intent = new.intent
        order_id = new.client_order_id
        if order_id in self._account.orders or order_id in self._account.recent:
            # The first order of that id keeps its state: an answer under the id would be taken for its own.
            self.duplicates += 1
            return
        odd = odd_field(intent)
        if odd:
            self._account.reject(order_id, ts_ns, "unsupported", odd)
            return
        mirror = self._mirrors.get(intent.instrument)
        if mirror is None:
            self._account.reject(order_id, ts_ns, "unknown_instrument", f"{intent.instrument} is not traded here")
            return
        instrument = self._instruments[intent.instrument]
        refusal = self._refusal(new, instrument, mirror)
        if refusal is not None:
            self._account.reject(order_id, ts_ns, refusal.reason, refusal.text)
            return
        qty = intent.qty
        if intent.reduce_only:
            # As venues do: the order closes what is there and the rest of it is cancelled.
            qty = min(qty, self._account.ledger.closable_qty(ACCOUNT, instrument, intent.side))
            qty -= qty % instrument.lot_qty
            if qty <= _ZERO:
                self._account.reject(
                    order_id, ts_ns, "nothing_to_close", f"no position in {instrument.id} that it would reduce"
                )
                return
        book_order = BookOrder(
            order_id, ACCOUNT, intent.side, intent.order_type, qty, intent.limit_px, intent.time_in_force,
            intent.post_only, None, intent.trigger_px, None, intent.expire_ns, intent.reduce_only,
        )  # fmt: skip
        prepared = mirror.prepare(ts_ns)
        if prepared:
            self._account.report(mirror, prepared, ts_ns)
        reason = self._reserve(book_order, instrument, mirror)
        if reason:
            funds = self._account.ledger.margin_available(ACCOUNT, instrument)
            self._account.reject(order_id, ts_ns, reason, f"{instrument.id}: available {funds} {instrument.settlement}")
            return
        self._account.open(new, instrument, qty)
        self._account.report(mirror, mirror.submit(book_order, ts_ns), ts_ns)

    def _refusal(self, new: NewOrder, instrument: Instrument, mirror: MarketMirror) -> Violation | None:
        intent = new.intent
        if self._states.is_shut(instrument.id):
            return Violation("halted", f"{instrument.id} does not trade now")
        if not mirror.has_market:
            return Violation("no_market", f"no quote of {instrument.id} was received yet")
        if intent.trailing_px is not None:
            return Violation("unsupported", "trailing stops are not matched on paper; expected a stop-limit order")
        return violation(
            instrument,
            qty=intent.qty,
            limit_px=None if intent.order_type is OrderType.MARKET else intent.limit_px,
            trigger_px=intent.trigger_px,
            reference_px=mirror.mid_px(),
            reduce_only=intent.reduce_only,
        )

    def _reserve(self, order: BookOrder, instrument: Instrument, mirror: MarketMirror) -> str:
        """Hold the worst case: a limit order's own price (a buying bracket's price once it has fired), for a market
        order the worst price it meets now."""
        worst = dearest_px(order, instrument)
        if worst is not None:
            worst_px = worst
            if order.side is Side.SELL and order.order_type is not OrderType.STOP_LIMIT:
                # A margined sell may fill at the higher bid: that notional is what needs margin.
                best_px = mirror.engine.best_px(Side.BUY)
                worst_px = worst_px if best_px is None else max(worst_px, best_px)
            return self._account.ledger.reserve(order, instrument, worst_px)
        got_qty, worst_px = mirror.engine.sweep(order.side, qty=order.qty)
        if not got_qty:
            return ""  # nothing to trade with: the book will say so, and nothing can be spent
        if order.side is Side.SELL:
            worst_px = mirror.engine.best_px(Side.BUY) or worst_px
        # Only what is there can trade: the rest of a market order costs nothing.
        return self._account.ledger.reserve(msgspec.structs.replace(order, qty=got_qty), instrument, worst_px)

    def _arrive_cancel(self, cancel: CancelOrder, ts_ns: int) -> None:
        order_id = cancel.client_order_id
        paper = self._account.orders.get(order_id)
        if paper is None:
            reason = "already_closed" if order_id in self._account.recent else "unknown_order"
            self._publish(CancelRejected(ts_ns, ts_ns, self._venue, order_id, reason))
            return
        mirror = self._mirrors[paper.instrument.id]
        closed = mirror.engine.cancel(order_id, ts_ns)
        if closed is not None:
            self._account.report(mirror, [closed], ts_ns)

    def _expire(self, now_ns: int) -> None:
        for mirror in self._mirrors.values():
            if mirror.engine.has_clients():
                outcomes = mirror.engine.expire(now_ns)
                if outcomes:
                    self._account.report(mirror, outcomes, now_ns)

    def _next_trade_id(self) -> str:
        self._trade_count += 1
        return f"{self._prefix}-t{self._trade_count}"
