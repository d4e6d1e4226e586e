"""What an operator asks for by hand: an order, a cancel, a position closed, everything closed.

Owns the strategy slot ``OPERATOR``, which is always there, and what becomes of each request.  A request is a journaled
input (``engine.events.OperatorRequested``); its orders pass the same gate as any strategy's, so a replay makes them
again.  Closing takes several events: what is open in the instrument is cancelled first, and when that is gone the
position is closed by reduce-only market orders, again and again as long as something is left that can be sold.
Meanwhile nothing is entered there, and a session that dies in between leaves it to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

import msgspec

from engine.carried import Carried
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.desk import Desk
from engine.events import OperatorRequested, Side
from engine.instruments import Instrument
from engine.intents import defect_of, writable
from engine.managed_order import ManagedOrder
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.reconciliation import Reconciliation
from engine.stakes import CLOSERS, OPERATOR
from engine.view import CoreView

ACTIONS: Final = ("order", "cancel", "close", "flatten")
TRY_AGAIN_NS: Final = 1_000_000_000
TRIES: Final = 60
"""Closing orders in a row that closed nothing; after them the operator has to look."""
_WAITING: Final = ("tradable:", "order_rate:", "order_rate_instrument:")
"""How refusals begin that say nothing against the closing order itself."""
_ZERO: Final = Decimal(0)


class Outcome(msgspec.Struct):
    """What became of a request at once.  ``refused``: why, in one line each."""

    orders: list[str] = []
    cancelled: list[str] = []
    closing: list[str] = []
    refused: list[str] = []


class _Closing(msgspec.Struct):
    """An instrument on its way to flat."""

    reason: str
    asked_ns: int = 0
    next_ns: int = 0
    tries: int = 0
    last_qty: Decimal = _ZERO
    why: str = "waiting for cancels"


class Manual:
    """Carries out requests; the core calls ``on_request`` and, on each heartbeat timer, ``on_timer``."""

    def __init__(
        self,
        *,
        desk: Desk,
        orders: OrderManager,
        portfolio: Portfolio,
        view: CoreView,
        reconciliation: Reconciliation,
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._portfolio = portfolio
        self._view = view
        self._reconciliation = reconciliation
        self._closing: dict[str, _Closing] = {}
        self._shut: dict[str, str] = {}
        self.outcome = Outcome()
        """Of the last request."""
        desk.shut = self._shut
        self.ended: dict[str, str] = {}
        """Instruments that were last asked to be closed and are done with: ``closed``, or why not."""

    # --- requests ---------------------------------------------------------------------------------------------------

    def on_request(self, event: OperatorRequested) -> None:
        self.outcome = Outcome()
        reason = why_of(event)
        if event.action == "order":
            self._order(event, reason)
        elif event.action == "cancel":
            self._cancel(event.client_order_id, reason)
        elif event.action == "close":
            self._close([event.instrument], reason)
        elif event.action == "flatten":
            self._flatten(reason)
        else:
            self.outcome.refused.append(f"unknown request {event.action!r}")

    def _order(self, event: OperatorRequested, reason: str) -> None:
        try:
            kind, tif = OrderType(event.order_type), TimeInForce(event.time_in_force)
        except ValueError as error:
            self.outcome.refused.append(str(error))
            return
        intent = OrderIntent(
            self._view.now_ns,
            OPERATOR,
            event.instrument,
            event.side,
            event.qty,
            kind,
            event.limit_px,
            tif,
            event.post_only,
            event.reduce_only,
            reason,
            trigger_px=event.trigger_px,
        )
        defect = defect_of([intent], OPERATOR)
        if defect:
            self.outcome.refused.append(defect)
        elif self._desk.closing:
            self.outcome.refused.append("the session is ending")
        elif self._reconciliation.awaited and not event.reduce_only:
            awaited = ", ".join(sorted(self._reconciliation.awaited))
            self.outcome.refused.append(f"{awaited} has not confirmed the account yet: only reduce-only orders")
        else:
            self._place(intent)

    def _place(self, intent: OrderIntent) -> str:
        """Empty when the order was opened, else why not."""
        made = self._desk.place(intent)
        if isinstance(made, NewOrder):
            self.outcome.orders.append(made.client_order_id)
            return ""
        why = "not on record" if made is None else f"{made.check}: {made.seen}, limit {made.limit}"
        self.outcome.refused.append(why)
        return why

    def _cancel(self, order_id: str, reason: str) -> None:
        """By our id or the venue's; an order of anybody."""
        if order_id and self._desk.groups.cancel(order_id, "", reason):
            self.outcome.cancelled.append(order_id)
            return
        found = [one for one in self._orders.open_orders() if order_id in (one.client_order_id, one.venue_order_id)]
        if not found or not order_id:
            self.outcome.refused.append(f"no open order {order_id!r}")
            return
        reached = [one for one in found if not self._desk.is_unreached(one)]
        for one in found:
            if one not in reached:
                text = f"no connector trades at {one.new.venue} in this session: cancel {one.client_order_id} there"
                self.outcome.refused.append(text)
        for one in reached:
            self._desk.keep(one.client_order_id)  # nothing takes its place, also where it is being replaced already
        self._desk.cancel_these(reached, reason)
        self.outcome.cancelled.extend(one.client_order_id for one in reached)

    def _close(self, names: Iterable[str], reason: str) -> None:
        for name in names:
            if not self._portfolio.qty(name) and not self._orders.open_orders(name):
                self.outcome.refused.append(f"nothing to close in {name}")
                continue
            self._desk.groups.end_of(name, reason)
            self._begin(name, _Closing(reason))
            self.outcome.closing.append(name)
        self.advance()

    def _flatten(self, reason: str) -> None:
        """No new risk from here on, nothing open, nothing held."""
        self._desk.latch.reduce(reason)
        self._desk.cancel_all(reason)
        self.ended.clear()
        names = [*self._portfolio.held, *(order.intent.instrument for order in self._orders.open_orders())]
        self._close(dict.fromkeys(names), reason)

    # --- positions on their way to nothing --------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        return bool(self._closing)

    def status(self) -> dict[str, Any]:
        """What is being closed and why it is not yet; what was, and what could not be."""
        return {"closing": {name: one.why for name, one in self._closing.items()}, "closed": dict(self.ended)}

    def state(self) -> str:
        """What is being closed and why, for the next session; empty for nothing."""
        return written({name: one.reason for name, one in self._closing.items()})

    def restore(self, state: str) -> None:
        """Go on with what ``state`` said in an earlier session, as soon as the venue has confirmed the account."""
        for name, reason in read(state).items():
            self._begin(name, _Closing(reason))

    def _begin(self, name: str, one: _Closing) -> None:
        one.asked_ns = self._view.now_ns
        self._closing[name], self._shut[name] = one, one.reason
        self.ended.pop(name, None)

    def on_timer(self) -> None:
        """Go on closing; what becomes of that is told by ``status``, and by no request's outcome."""
        asked, self.outcome = self.outcome, Outcome()
        self.advance()
        self.outcome = asked

    def advance(self) -> None:
        """Go on closing what is asked to be closed; what a session that ends has not closed is left to the next one."""
        if self._desk.closing:
            return
        for name in list(self._closing):
            outcome = self._step(name, self._closing[name])
            if outcome:
                del self._closing[name], self._shut[name]
                self.ended[name] = outcome

    def _step(self, name: str, one: _Closing) -> str:
        """Empty while it goes on."""
        now_ns = self._view.now_ns
        if name.rpartition("@")[2] in self._reconciliation.awaited:
            # What is held is what an earlier session believed: selling that could open a position.
            one.why = "waits until the venue has confirmed the account"
            return ""
        if name not in self._view.instruments():
            return "not closed: it is not traded in this session"
        open_orders = self._orders.open_orders(name)
        if open_orders:
            self._clear(open_orders, one)
            return ""
        if self._desk.groups.awaits_exits(name):
            one.why = "waits for the exit that came with an entry"
            return ""
        held_qty = self._portfolio.qty(name)
        qty = closable(self._view.instrument(name), abs(held_qty)) if held_qty else _ZERO
        if not qty:
            return "closed" if not held_qty else f"closed, but for {held_qty:f}: less than can be traded"
        if now_ns < one.next_ns:
            return ""
        one.tries = one.tries + 1 if held_qty == one.last_qty else 1
        if one.tries > TRIES:
            return f"not closed, {held_qty:f} left: {one.why}"
        one.last_qty, one.next_ns = held_qty, now_ns + TRY_AGAIN_NS
        side = Side.SELL if held_qty > _ZERO else Side.BUY
        intent = OrderIntent(now_ns, OPERATOR, name, side, qty, OrderType.MARKET, reduce_only=True, reason=one.reason)
        one.why = self._place(intent) or "its closing order is out"
        if one.why.startswith(_WAITING):
            one.tries -= 1  # nobody can close it now, or it is not its turn: that is no reason to give up
        return ""

    def _clear(self, open_orders: Sequence[ManagedOrder], one: _Closing) -> None:
        """Whatever else is open there would close it twice, or open it again."""
        others = [order for order in open_orders if not _closes(order, one)]
        if others:
            one.why = f"{len(others)} open orders are not cancelled yet"
            self._desk.cancel_these(others, one.reason)


def _closes(order: ManagedOrder, one: _Closing) -> bool:
    """Whether it does what is asked: a closing order, the guardian's too, or a way out by hand that was wished for
    after the close.  Closers that cancelled each other's orders would at a slow venue never get out."""
    intent = order.intent
    if intent.strategy not in CLOSERS or not intent.reduce_only:
        return False
    return not intent.may_rest or (intent.strategy == OPERATOR and order.opened_ns > one.asked_ns)


def closable(instrument: Instrument, qty: Decimal) -> Decimal:
    """What of it one order can close; 0 for less than can be traded."""
    most_qty = min(qty, instrument.max_qty) if instrument.max_qty else qty
    whole_qty = (most_qty / instrument.lot_qty).to_integral_value(ROUND_DOWN) * instrument.lot_qty
    return whole_qty if whole_qty >= instrument.min_qty else _ZERO


def why_of(event: OperatorRequested) -> str:
    """The reason of what a request leads to, with who asked."""
    return writable(f"{event.action} by {event.who}" + (f": {event.reason}" if event.reason else ""))


def written(closing: dict[str, str]) -> str:
    """Instruments that are being closed and why, as one session tells the next; empty for none."""
    return msgspec.json.encode(closing, order="sorted").decode() if closing else ""


def closing_in(carried: Carried) -> dict[str, str]:
    """What an earlier session was closing, and why."""
    return read(next((one.state for one in carried.strategies if one.name == OPERATOR), ""))


def read(state: str) -> dict[str, str]:
    """``written`` back; what cannot be read is nothing."""
    try:
        return msgspec.json.decode(state, type=dict[str, str]) if state else {}
    except msgspec.DecodeError:
        return {}
