"""The invariants, judged by what was recorded, what was written to the network and what the venue knows.

Owns its own books, made from records alone: it asks the core what it believes and never how it came to believe it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.bus import EventBus
from engine.carried import decode_carried
from engine.codec import Record, encode
from engine.commands import (
    BalanceAdjusted,
    CancelOrder,
    GroupOpened,
    NewOrder,
    ReplaceOrder,
    RiskState,
    RiskStateChanged,
)
from engine.core import TradingCore
from engine.events import (
    MARKET_TYPES,
    AccountSettled,
    BalanceReported,
    Event,
    FundingSettled,
    InstrumentDefined,
    InstrumentStatus,
    ModelAssigned,
    OrderAttached,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    Quote,
    ReplaceRejected,
    SessionStarted,
    Side,
    StateCarried,
    Timer,
    Trade,
)
from engine.order_states import FINAL, OrderState
from engine.runtime.order_steps import Seen, find_backward_step, see
from engine.runtime.simulation.books import RecordedBooks
from engine.runtime.simulation.changes import ChangeChecks
from engine.runtime.simulation.grouped import GroupChecks
from engine.runtime.simulation.known import Known
from engine.runtime.simulation.rules import RulesChecks
from engine.runtime.simulation.sent import SentChecks
from engine.runtime.simulation.served import ServedChecks
from engine.runtime.simulation.truth import Durability, Truth
from engine.runtime.simulation.versions import VersionChecks
from engine.runtime.simulation.witness import Witness
from engine.stakes import EVERYONE, GUARDIAN, OPERATOR

ZERO = Decimal(0)
WAITING_MAX = 64
DEPTH_MAX = 200
"""Longest queue of a connector that is no sign of something that grows for ever."""
GIVEN_UP = "never_arrived"
_TOLD_ALONE = (InstrumentDefined, InstrumentStatus)
"""What there is to trade, told now and then."""


class Violation(NamedTuple):
    """``at_s`` is virtual time."""

    invariant: str
    text: str
    at_s: float


class Checks:
    """One account over all of its sessions.  ``max_position_qty``: of each instrument; all are paid in one currency.
    ``strategies``: names of those that may hold something; older than ``oldest_s`` the guardian closes it.  ``served``:
    of those that trade on a model.
    ``guard_fails(now_ns)``: whether risk is made to fail.  ``count(fault_id)``: something happened by itself."""

    def __init__(
        self,
        truth: Truth,
        now_s: Callable[[], float],
        now_ns: Callable[[], int],
        *,
        max_position_qty: Mapping[str, Decimal],
        strategies: Sequence[str],
        oldest_s: float,
        served: Sequence[str] = (),
        guard_fails: Callable[[int], bool] = lambda _now_ns: False,
        count: Callable[[str], None] = lambda _fault_id: None,
    ) -> None:
        self.violations: list[Violation] = []
        self.events = 0
        self.orders = 0
        self.digest = 0
        """Of everything that was recorded, in order."""
        self._known = Known(truth, now_ns)
        self._truth = truth
        self._now_s = now_s
        self._bases = {name: name.partition("/")[0] for name in max_position_qty}
        first = next(iter(max_position_qty))
        self._venue = first.partition("@")[2]
        self._quote = first.partition("@")[0].partition("/")[2]
        self._max_qty = {base: max_position_qty[name] for name, base in self._bases.items()}
        self._strategies = (*strategies, GUARDIAN, OPERATOR)
        self._guard_fails = guard_fails
        self._told_of_code = False
        self._assigned: set[str] = set()
        self._depths: Callable[[], Mapping[str, int]] = dict
        self._oldest_ns = int(oldest_s * 1e9)
        self._broken: set[str] = set()
        self._cancelled: set[str] = set()
        self._bus: EventBus
        self._changed = False
        self._books = RecordedBooks(self._bases, self._quote)
        self._groups = GroupChecks(
            truth,
            self.fail,
            lambda now_ns: guard_fails(now_ns) or self._known.journal.broken or self._known.journal.full,
        )
        self._rules = RulesChecks(self.fail)
        self._witness = Witness(self._known, truth, self.fail, count, self._groups.is_exit)
        self.served = ServedChecks(self.fail, tuple(served))
        self.versions = VersionChecks(self.fail, count, self.served.is_served)
        self._changes = ChangeChecks(self.fail)
        self._sent = SentChecks(
            self._known, truth, self._rules, self._changes, self.fail, venue=self._venue, max_qty=self._max_qty
        )
        self._exits: dict[str, str] = {}
        """The venue's ids of what came with entries, by what it is called here."""
        self._wishes: dict[str, str] = {}
        self._states: dict[str, Seen] = {}
        self._given_up: list[str] = []

    def fail(self, invariant: str, text: str) -> None:
        """Keep the first few: the rest follows from them."""
        if len(self.violations) < 5:
            self.violations.append(Violation(invariant, text, self._now_s()))

    # --- sessions ----------------------------------------------------------------------------------------------------

    def begin(
        self,
        core: TradingCore,
        bus: EventBus,
        depths: Callable[[], Mapping[str, int]],
        journal: Durability,
        *,
        anew: bool = False,
    ) -> None:
        """A session starts on the account.  ``depths``: of its connector's queues.  ``anew``: from what the venue says
        alone, whatever the sessions before it left."""
        self._known.session += 1
        if anew:
            self._disown()
        self._told_of_code = False
        self._assigned.clear()
        self._depths, self._known.journal = depths, journal
        self._broken.clear()
        self._known.core, self._bus = core, bus
        self._known.must_settle = self._known.settled = False
        self._known.must_confirm, self._known.woke_s = False, 0.0
        self._states.clear()
        self._wishes.clear()
        self._groups.begin()
        self._witness.begin()
        self._rules.begin()
        self.versions.begin()
        self.served.begin(anew=anew)
        self._known.first_px.begin(self._bases)

    def _disown(self) -> None:
        """What was open is an order of somebody else's now, and nobody holds anything."""
        self._known.disowned.update(self._known.journaled)
        self._known.journaled.clear()
        self._books = RecordedBooks(self._bases, self._quote)
        self._groups.disown()
        self._known.risk.append((self._known.session, 0, RiskState.ACTIVE))

    def is_ours(self, client_order_id: str) -> bool:
        """Whether it is an order that somebody still has to follow."""
        return (
            client_order_id in self._known.journaled or self._truth.entry_of(client_order_id) in self._known.journaled
        )

    def stood_still(self, seconds: float, *, asleep: bool) -> None:
        """The session goes on after so long; ``asleep``: its clocks stood still, too."""
        self._known.wake(seconds, asleep=asleep)

    def lost(self, upto_seq: int) -> None:
        """Of what the session that just ended has recorded, nothing behind ``upto_seq`` is on the disk."""
        kept = (self._known.session, upto_seq)
        self._books.lose(*kept)
        self.served.lose(*kept)
        self._known.risk = [one for one in self._known.risk if one[:2] <= kept]

    def broke(self, name: str) -> None:
        """A strategy is about to raise, or to answer nonsense."""
        self._broken.add(name)

    def asked(self, name: str) -> None:
        """A strategy is called."""
        if name in self._broken:
            self.fail("A14", f"strategy {name} broke and was asked again")
        if self._known.is_unconfirmed:
            self.fail("I10", "a strategy was asked before the account was settled")

    # --- what is recorded --------------------------------------------------------------------------------------------

    def recorded(self, seq: int, record: Record) -> None:
        """The journal has taken it."""
        self.digest = zlib.crc32(encode(record), self.digest)
        kind = type(record)
        if kind in _TOLD_ALONE:
            self._rules.recorded(record)
        if kind in MARKET_TYPES or kind is Timer:
            if isinstance(record, (Quote, Trade)):
                self._known.first_px.hear(record.instrument)
            if isinstance(record, Quote):
                self.served.quoted(record.instrument)
            return
        self._changed = True
        if isinstance(record, NewOrder | GroupOpened):
            self._known.first_px.on_decided(record)
        self._groups.recorded(record)
        self._witness.recorded(record)
        self.served.recorded(self._known.session, seq, record)
        if isinstance(record, NewOrder):
            self._on_new(seq, record)
        elif isinstance(record, OrderFilled):
            self._on_fill(seq, record)
        elif isinstance(record, OrderAttached):
            self._on_attached(seq, record)
        elif isinstance(record, BalanceAdjusted):
            self._on_adjusted(seq, record)
        elif isinstance(record, FundingSettled):
            self._books.move(self._known.session, seq, record.currency, record.amount)
        elif isinstance(record, BalanceReported):
            self._books.open(self._known.session, seq, record.currency, record.total)
        elif isinstance(record, OrderRejected):
            if record.reason == GIVEN_UP:
                self._given_up.append(record.client_order_id)
        elif isinstance(record, StateCarried):
            carried = decode_carried(record.state)
            self._known.must_settle = bool(carried.venues)  # else there is nothing to be confirmed
            for name, _ in carried.known_px:
                self._known.first_px.carry(name)
        elif isinstance(record, AccountSettled):
            self._known.settle(self._max_qty)
        elif isinstance(record, SessionStarted):
            self._told_of_code = bool(record.config_hash and record.code_hash)
        elif isinstance(record, CancelOrder):
            self._cancelled.add(record.client_order_id)
        elif isinstance(record, ReplaceOrder):
            self._changes.on_replace(self._known.session, seq, record)
            self.versions.on_replace(record)
        elif isinstance(record, OrderReplaced | ReplaceRejected):
            self.versions.on_replaced(record)
        elif isinstance(record, RiskStateChanged):
            self._known.risk.append((self._known.session, seq, record.after))
        elif isinstance(record, ModelAssigned):
            self._assigned.add(record.instrument)

    def _on_adjusted(self, seq: int, record: BalanceAdjusted) -> None:
        """Only what others did to the account may be put right: an execution of ours comes as an execution."""
        currency = record.currency
        self._books.move(self._known.session, seq, currency, record.told - record.booked)
        if not record.told and self._truth.balances()[currency]:
            self.fail("C14", f"the venue holds {currency} and was heard to hold none")
        if self._known.is_disturbed():
            return
        due = self._truth.others(currency, self._known.disowned) + self._books.ours.get(currency, ZERO)
        if record.told != due:
            self.fail("C18", f"{currency} adjusted to {record.told}: others' doings and our fills make {due}")

    def _on_new(self, seq: int, new: NewOrder) -> None:
        self.orders += 1
        name, wish = new.client_order_id, new.intent.reason
        if name in self._known.journaled:
            self.fail("I5", f"client order id {name} was given twice")
        self._known.journaled[name] = (self._known.session, seq)
        self._known.made_ns[name] = new.ts_ns
        self.versions.on_new(new)
        self._changes.on_new(new)
        if not self._groups.is_exit(new):
            self.served.on_new(new, self._known.core)
        # Those of risk say why, again and again; so do exits of a group, and what closes as no model serves.
        wishes = new.intent.strategy in self._strategies[:-2] and not self._groups.is_exit(new)
        if wishes and not self.served.is_way_out(new):
            if wish in self._wishes:
                self.fail("I5", f"{wish} of one session became {self._wishes[wish]} and {name}")
            self._wishes[wish] = name
        for value in (new.intent.qty, new.intent.limit_px):
            if value is not None and type(value) is not Decimal:
                self.fail("I8", f"{name} has an amount of type {type(value).__name__}")
        if self._known.is_unconfirmed:
            self.fail("I10", f"{name} was decided before the account was settled")
        if not self._told_of_code or not new.intent.strategy or new.intent.instrument not in self._assigned:
            self.fail("I9", f"{name} of {new.intent.strategy!r}: hashes, strategy or model are not on record before it")
        if new.intent.side is Side.BUY and self._guard_fails(new.ts_ns) and not self._covers_short(new):
            self.fail("I12", f"{name} buys while a guard fails")

    def _on_attached(self, seq: int, attached: OrderAttached) -> None:
        """It is an order of ours from now on, if its entry is and the venue says so too."""
        self.versions.on_attached(attached)
        entry, name = self._truth.entry_of(attached.venue_order_id), attached.client_order_id
        if entry != attached.parent_id:
            self.fail("B8", f"{name} is taken for what came with {attached.parent_id}; it came with {entry!r}")
        elif entry in self._known.journaled:
            self._known.journaled.setdefault(name, (self._known.session, seq))
            self._exits[name] = attached.venue_order_id

    def _on_fill(self, seq: int, fill: OrderFilled) -> None:
        for value in (fill.qty, fill.px, fill.fee):
            if type(value) is not Decimal:
                self.fail("I8", f"fill {fill.trade_id} has an amount of type {type(value).__name__}")
        ours = fill.client_order_id in self._known.journaled
        self._books.book(self._known.session, seq, fill, ours=ours)
        if not ours:
            self._known.hear_fill(fill.trade_id, fill.instrument.partition("/")[0], int(fill.side) * fill.qty)
        self.versions.on_fill(fill)

    # --- after each event --------------------------------------------------------------------------------------------

    def after(self, event: Event) -> None:
        """The core has handled it and its commands have left."""
        self.events += 1
        if isinstance(event, Timer):
            self._groups.look(self._known.core, event)
            self._rules.look(self._known.core, event, self._cancelled)
        if not self._changed:
            return
        self._changed = False
        self.versions.look(self._known.core.gate.state)
        self._check_books()
        self._check_orders()
        self._check_bounds()

    def _covers_short(self, new: NewOrder) -> bool:
        """Whether it buys back what a version and its challenger share: of the two one can be short."""
        intent = new.intent
        return self._known.core.view.strategy_qty(intent.strategy, intent.instrument) + intent.qty <= ZERO

    def _check_bounds(self) -> None:
        if self._bus.waiting > WAITING_MAX:
            self.fail("I11", f"{self._bus.waiting} events wait in the bus")
        for name, depth in self._depths().items():
            if depth > DEPTH_MAX:
                self.fail("I11", f"{depth} {name} wait in the connector")

    def _check_books(self) -> None:
        core = self._known.core
        portfolio, books = core.portfolio, self._books
        cash = portfolio.balance(self._venue, self._quote)
        if cash is not None and cash != books.totals.get(self._quote, ZERO):
            self.fail("I1", f"cash {cash}, recorded fills and adjustments make {books.totals.get(self._quote)}")
        for name, base in self._bases.items():
            if name not in core.lanes:
                continue  # what an earlier session left shows itself when the instrument is defined
            held = portfolio.position(name).qty
            if base in books.told and held != books.totals.get(base, ZERO):
                self.fail("I1", f"position {held}, recorded fills and adjustments make {books.totals.get(base)} {base}")
            stake = portfolio.stakes.stake
            bought = stake(EVERYONE, name).qty
            if bought != books.stakes.get(name, ZERO):
                self.fail("I1", f"strategies hold {bought} {base}, their fills make {books.stakes.get(name)}")
            parts = sum((stake(strategy, name).qty for strategy in self._strategies), ZERO)
            if parts != bought:
                self.fail("I1", f"strategies hold {bought} {base} together and {parts} one by one")

    def _check_orders(self) -> None:
        states, orders = self._states, self._known.core.orders
        seen = {order.client_order_id: order for order in orders.open_orders()}
        for name in list(states):
            order = seen.get(name) or orders.get(name)
            if order is None:
                self.fail("I6", f"order {name} was forgotten in state {states[name].state}")
                del states[name]
                continue
            now = see(order)
            if defect := find_backward_step(states[name], now):
                self.fail("I6", f"order {name}: {defect}")
            states[name] = now
            if order.state in FINAL and len(states) > 200:
                del states[name]
        for name, order in seen.items():
            if name not in states:
                states[name] = see(order)
        if self._known.settled or not self._known.must_settle:
            self.versions.compare(seen, self._truth.versions())
        if self._known.risk_state is RiskState.HALTED:
            for name, order in seen.items():
                if order.intent.reduce_only and not order.intent.may_rest:
                    continue  # it closes at once: the venue may take its time
                if order.state in (OrderState.ACCEPTED, OrderState.PARTLY_FILLED) and name not in self._cancelled:
                    self.fail("F7", f"order {name} is {order.state} while trading is halted, and no cancel was made")

    def written(self, data: bytes) -> bool:
        """A client writes this to the venue's order entry; whether it is an order, or changes one."""
        return self._sent.written(data)

    # --- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Nothing is under way any more: the books and the venue must agree to the last digit."""
        truth, core = self._truth, self._known.core
        self.served.finish(core)
        for currency, total in truth.balances().items():
            booked = core.portfolio.balance(self._venue, currency)
            if (booked or ZERO) != total:
                self.fail("end", f"{currency}: books {booked}, venue {total}")
        names = [order.client_order_id for order in core.orders.open_orders()]
        ours = {self._exits.get(name, name) for name in names}
        theirs = set(truth.open_orders())
        if ours != theirs:
            self.fail("end", f"open only in the books: {sorted(ours - theirs)}; only there: {sorted(theirs - ours)}")
        for order in core.orders.open_orders():
            if order.state is OrderState.UNKNOWN:
                self.fail("end", f"order {order.client_order_id} is still unknown")
        for name in self._bases:
            stake = core.portfolio.stakes.stake(EVERYONE, name)
            # Less than nothing is what they sold of the owner's: that is not the guardian's to close.  What others have
            # taken out of the account is not either.
            is_there = min(stake.qty, core.portfolio.position(name).qty) > 0
            if is_there and stake.since_ns and core.view.now_ns - stake.since_ns > self._oldest_ns:
                self.fail("guardian", f"{stake.qty} of {name} are held since {stake.since_ns}")
        for name in self._bases:
            known, product_id = core.view.instrument(name), core.view.instrument(name).venue_symbol
            told = (known.tick_px, known.lot_qty, known.min_qty, known.max_qty, known.min_notional)
            if told != truth.rules(product_id):
                self.fail("D9", f"rules of {name} are {told} in the books and {truth.rules(product_id)} there")
        there = {
            one.entry_id
            for one in truth.fills()
            if one.ours and one.client_order_id not in self._known.disowned and one.entry not in self._known.disowned
        }
        booked_ours = self._books.trade_ids_of(self._known.journaled)
        for entry_id in sorted(there - booked_ours):
            self.fail("end", f"fill {entry_id} of ours was never booked")
        for entry_id in sorted(booked_ours - there):
            self.fail("end", f"fill {entry_id} was booked and never happened")
        for name in self._given_up:
            if truth.order_count(name):
                self.fail("B16", f"order {name} was given up and is at the venue")
        for name in self._sent.posted:
            if truth.order_count(name) > 1:
                self.fail("I5", f"there are {truth.order_count(name)} orders {name} at the venue")
