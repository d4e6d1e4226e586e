"""The account as a session's records leave it: the last state that was kept, brought up to the journal's end.

Owns which records move an account.  Where sessions lie and which one comes before is ``engine.runtime.succession``;
what a core keeps is ``engine.continuity``.  Whether the account is still like that, the venue must say.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.carried import Carried, CarriedStrategy, decode_carried
from engine.codec import Record
from engine.commands import (
    Approved,
    BalanceAdjusted,
    CancelOrder,
    GroupEnded,
    GroupMoved,
    GroupOpened,
    NewOrder,
    OrderIntent,
    Rejected,
    ReplaceOrder,
    RiskState,
    RiskStateChanged,
)
from engine.continuity import put, take
from engine.core import TradingCore
from engine.events import (
    AttachmentMissing,
    BalanceReported,
    CancelRejected,
    FillCorrected,
    FundingSettled,
    Halted,
    InstrumentDefined,
    JournalSynced,
    ModelAlarmed,
    ModelAssigned,
    ModelOffered,
    ModelStanding,
    OperatorRequested,
    OrderAccepted,
    OrderAttached,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    PositionReported,
    Prediction,
    PredictionMade,
    RateReported,
    Reduced,
    ReplaceOutcomeUnknown,
    ReplaceRejected,
    Resumed,
    StateCarried,
    StateKept,
    Timer,
)
from engine.instruments import Instrument
from engine.managed_order import ManagedOrder
from engine.manual import closable, closing_in, why_of, written
from engine.order_states import FINAL, Happening
from engine.ports import Assignment, Features, Model, View
from engine.seats import CANARY, GONE
from engine.stakes import EVERYONE, OPERATOR

_FACTS = (
    InstrumentDefined,
    RateReported,
    BalanceReported,
    PositionReported,
    OrderAccepted,
    OrderRejected,
    OrderFilled,
    OrderCancelled,
    OrderExpired,
    CancelRejected,
    OrderOutcomeUnknown,
    OrderFound,
    FillCorrected,
    FundingSettled,
    OrderAttached,
    AttachmentMissing,
    OrderReplaced,
    ReplaceRejected,
    ReplaceOutcomeUnknown,
)
"""What happened to the account, in the journal's stream of orders."""
AT_THE_MARKETS_PACE: frozenset[type[Record]] = frozenset({JournalSynced, Prediction, PredictionMade, Rejected, Timer})
"""Records that move no account and of which there may be thousands a second: a start need not even decode them."""


class Recovery:
    """A core that books facts, asks nobody and sends nothing."""

    def __init__(self, currency: str) -> None:
        self._gate = _Nobody()
        self._core = TradingCore(
            recorder=_Nowhere(),
            gate=self._gate,
            slots=(),
            assembly=_Nothing(),
            currency=currency,
            id_prefix="",
        )
        self._core.desk.groups.waits = True
        self._strategies: tuple[CarriedStrategy, ...] = ()
        self._closing: dict[str, str] = {}
        self._risk = (RiskState.ACTIVE, "")
        self._champions: dict[str, str] = {}
        self._offered: dict[str, tuple[str, str]] = {}  # role and version that were offered last, by instrument
        self._leaving = ""  # instrument of which the last record takes the canary away
        self.orders = 0
        """Orders that the records tell of."""

    def take(self, records: Iterable[Record]) -> None:
        """Everything after the newest ``StateKept``, or from the session's beginning; in order."""
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        core = self._core
        if self._leaving and not isinstance(record, RiskStateChanged):
            # Its standing follows at once.  Without one there was no canary any more: it had become the champion.
            self._leaving = ""
        if isinstance(record, StateKept | StateCarried):
            self._go_on_with(decode_carried(record.state))
            if isinstance(record, StateCarried):
                core.portfolio.rates.begin()
        elif isinstance(record, NewOrder):
            self.orders += 1
            # Written down is as much as is known: whether it left is for the venue to say.
            self._follow(core.orders.adopt(record))
            core.desk.groups.link(record)
        elif isinstance(record, GroupOpened):
            core.desk.groups.opened(record)
        elif isinstance(record, GroupMoved):
            core.desk.groups.changed(record)
        elif isinstance(record, GroupEnded):
            core.desk.groups.ended(record)
        elif isinstance(record, CancelOrder):
            core.orders.happen(record.client_order_id, Happening.CANCEL_SENT)
        elif isinstance(record, ReplaceOrder):
            order = core.orders.get(record.client_order_id)
            if order is not None and order.state not in FINAL:
                core.orders.edit(order, record)
        elif isinstance(record, BalanceAdjusted):
            # Booked once: else the next confirmation would find the same difference again.
            core.portfolio.adjust_balance(record.venue, record.currency, record.told, core.market.last_px)
        elif isinstance(record, RiskStateChanged):
            self._risk = (record.after, record.reason)
        elif isinstance(record, Resumed):
            self._strategies = tuple([one for one in self._strategies if one.name != EVERYONE])
            core.desk.replacements.accept_all()
        elif isinstance(record, OperatorRequested):
            self._request(record)
        elif isinstance(record, ModelAlarmed):
            # Which end with a seat is in the state that was kept then: what stood is never guessed from who served.
            core.serving.standings.alarms.take(record)
        elif isinstance(record, ModelOffered | ModelAssigned | ModelStanding):
            self._follow_canary(record)
        elif isinstance(record, _FACTS):
            core.on_event(record)
        if self._closing:
            self._look_at_closing()

    def _follow(self, after: ManagedOrder) -> None:
        """One that names an ended order of its kind as its parent was sent in place of it."""
        before, intent = self._core.orders.get(after.intent.parent_id), after.intent
        if before is not None and before.state in FINAL:
            replaced = before.intent
            if (replaced.strategy, replaced.instrument, replaced.side) == (
                intent.strategy,
                intent.instrument,
                intent.side,
            ):
                self._core.desk.replacements.follow(before, after)

    def _follow_canary(self, record: ModelOffered | ModelAssigned | ModelStanding) -> None:
        """Twins whose canary went are to be flat (``engine.trusting.Trust.retire``), also where the session had no time
        to keep that: the offer that takes the canary away, or its standing, is the last word then."""
        trust, name = self._core.trust, record.instrument
        retired = set(trust.retired())
        if isinstance(record, ModelAssigned):
            self._champions[name] = record.model
        elif isinstance(record, ModelOffered):
            self._offered[name] = (record.role, record.model)
            self._leaving = name if self._offered[name] == (CANARY, "") else ""
        elif record.role == CANARY and record.state != GONE:
            retired.discard(name)
        elif (
            record.role == CANARY
            and self._offered.get(name, ("", "")) != (CANARY, record.model)  # else that offer is refused
            and self._champions.get(name) != record.model  # else it has become the champion
        ):
            retired.add(name)
        trust.restore(retired)

    def _request(self, request: OperatorRequested) -> None:
        """What an operator has asked to be closed, as ``engine.manual`` understands it."""
        core = self._core
        names: list[str] = []
        if request.action == "close":
            names = [request.instrument]
        elif request.action == "flatten":
            names = [*core.portfolio.held, *(order.intent.instrument for order in core.orders.open_orders())]
        self._closing.update(dict.fromkeys(names, why_of(request)))

    def _look_at_closing(self) -> None:
        """Done with is what is neither open nor held: nothing is entered there before."""
        for name in list(self._closing):
            if self._core.orders.open_orders(name):
                continue
            held_qty = self._core.portfolio.qty(name)
            if not held_qty or not closable(self._core.view.instrument(name), abs(held_qty)):
                del self._closing[name]

    def _go_on_with(self, carried: Carried) -> None:
        for instrument in carried.instruments:
            self._core.on_event(InstrumentDefined(0, 0, instrument))
        put(self._core, carried)
        if carried.money.currency == self._core.portfolio.currency:
            self._core.portfolio.rates.recall(carried.money.rates)
        self._strategies = tuple([one for one in carried.strategies if one.name != OPERATOR])
        self._closing = closing_in(carried)
        self._risk = (carried.risk_state, carried.risk_reason)

    def left(self) -> Carried:
        """What the session leaves."""
        if self._leaving:
            self._core.trust.restore({*self._core.trust.retired(), self._leaving})
        state, reason = self._risk
        strategies = self._strategies
        if self._closing:
            strategies += (CarriedStrategy(OPERATOR, written(self._closing)),)
        return msgspec.structs.replace(take(self._core, reason), risk_state=state, strategies=strategies)


class _Nowhere:
    """Keeps no record: what is recovered is on record already."""

    def record(self, record: Record) -> int:  # noqa: ARG002
        return 0


class _Nobody:
    """Judges nothing and has no state of its own."""

    state = RiskState.ACTIVE

    def review(self, intent: OrderIntent, view: View) -> Approved | Rejected:  # noqa: ARG002
        raise AssertionError("nobody is asked while an account is recovered")

    review_again = review

    def on_opened(self, order: NewOrder) -> None: ...

    def breach(self, view: View) -> None: ...

    def apply(self, event: Halted | Reduced | Resumed) -> None: ...

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> None: ...

    def carried(self) -> str:
        return ""

    def restore(self, carried: str) -> None: ...


class _Nothing:
    """Serves no instrument."""

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:  # noqa: ARG002
        return Assignment()

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None: ...

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None: ...
