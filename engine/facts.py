"""What the venue tells of the account: acceptances, fills, ends, balances, each booked once.

Owns what a fact changes.  What follows from it (an order sent in another's place, a cancel asked for again) is the
desk's (``engine.desk``).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from engine import events as e
from engine.counters import Counters
from engine.desk import Desk
from engine.executions import Correction
from engine.fundings import Fundings
from engine.managed_order import EXTERNAL, ManagedOrder
from engine.order_states import FINAL, Happening
from engine.orders import OrderManager
from engine.portfolio import Mark, Portfolio
from engine.sanity import amounts_defect


class AccountFacts:
    """Of one core.  ``external_reduces``: see ``engine.core``."""

    def __init__(
        self, *, desk: Desk, orders: OrderManager, portfolio: Portfolio, counters: Counters, external_reduces: bool
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._portfolio = portfolio
        self._counters = counters
        self._external_reduces = external_reduces
        self.fundings = Fundings()

    def on_accepted(self, event: e.OrderAccepted) -> None:
        order = self._orders.happen(event.client_order_id, Happening.ACCEPT, event.venue_order_id)
        if order is not None:
            self._desk.look_again(order)

    def on_found(self, event: e.OrderFound) -> None:
        """Somebody else's order counts like one of ours from now on; by policy it stops new risk as well."""
        known = self._orders.get(event.client_order_id)
        if known is not None:
            self._orders.happen(event.client_order_id, Happening.ACCEPT, event.venue_order_id)
        defect = amounts_defect(event.qty, event.filled_qty, *([] if event.limit_px is None else [event.limit_px]))
        if defect:
            self.refuse_fact(defect, f"order {event.client_order_id!r} found at {event.venue}: {event.qty}")
            return
        if known is not None:
            self._orders.absorb(known, event.filled_qty)
            return
        self._counters.external_orders += 1
        order = self._orders.find(event)
        if self._external_reduces:
            self._desk.latch.reduce(f"order {event.client_order_id!r} at {event.venue} is not of this session")
        self._desk.look_again(order)

    def on_attached(self, event: e.OrderAttached) -> None:
        """The venue has made the exit that came with an entry: from now on it is an order like those that we send."""
        defect = amounts_defect(event.qty, event.limit_px, event.trigger_px)
        if defect or event.qty <= 0:
            self.refuse_fact(defect or "bad_size", f"exit {event.client_order_id} at {event.venue}: {event.qty}")
            return
        order = self._orders.get(event.client_order_id)
        if order is None:
            order = self._orders.attach(event)
            self._desk.groups.attached(order, event.parent_id)
        else:
            was_done = order.state in FINAL
            self._orders.resize(order, event.qty)
            if was_done and order.state not in FINAL:
                self._desk.groups.attached(order, event.parent_id)
            self._orders.happen(event.client_order_id, Happening.ACCEPT, event.venue_order_id)
        self._desk.look_again(order)
        self._desk.succeed(order)

    def on_unattached(self, event: e.AttachmentMissing) -> None:
        self._orders.miss(event.client_order_id)
        self._desk.groups.unattached(event.client_order_id)

    def on_rejected(self, event: e.OrderRejected) -> None:
        Counters.add_word(self._counters.venue_rejected, event.reason)
        self._desk.groups.refused(event.client_order_id, event.reason)
        self._ended(self._orders.happen(event.client_order_id, Happening.REJECT))

    def on_cancelled(self, event: e.OrderCancelled) -> None:
        self._ended(self._orders.happen(event.client_order_id, Happening.CANCEL, event.venue_order_id))

    def on_expired(self, event: e.OrderExpired) -> None:
        self._ended(self._orders.happen(event.client_order_id, Happening.EXPIRE, event.venue_order_id))

    def _ended(self, order: ManagedOrder | None) -> None:
        if order is not None:
            self._desk.succeed(order)

    def on_cancel_rejected(self, event: e.CancelRejected) -> None:
        order = self._orders.happen(event.client_order_id, Happening.CANCEL_REFUSED)
        if order is not None:
            self._desk.not_cancelled(order, event.reason)

    def on_unknown(self, event: e.OrderOutcomeUnknown) -> None:
        self._counters.unknown_outcomes += 1
        self._orders.happen(event.client_order_id, Happening.LOSE)

    def on_replaced(self, event: e.OrderReplaced) -> None:
        """Which version of an order lives.  One that nobody here knows of is booked as the venue shows it; of an order
        of ours it stops new risk, as it is not what was judged, of somebody else's where policy has it so."""
        defect = amounts_defect(event.qty, event.limit_px) or ("" if event.qty > 0 else "bad_size")
        what = f"order {event.client_order_id!r} at {event.venue} is {event.qty} at {event.limit_px}"
        if defect:
            self.refuse_fact(defect, what)
            return
        order, expected = self._orders.replaced(event)
        if not expected and (order is None or order.intent.strategy != EXTERNAL or self._external_reduces):
            self._desk.latch.reduce(f"{what}, which was not asked for")
        if order is not None:
            self._desk.edited(order)
            self._look_for_overfill(order)

    def on_replace_rejected(self, event: e.ReplaceRejected) -> None:
        Counters.add_word(self._counters.venue_rejected, event.reason)
        order = self._orders.not_replaced(event.client_order_id)
        if order is not None:
            self._desk.edited(order)

    def on_replace_unknown(self, event: e.ReplaceOutcomeUnknown) -> None:  # noqa: ARG002 -- which one says the journal
        """Nothing changes: while a change is under way, the worse of both versions counts anyhow."""
        self._counters.unknown_outcomes += 1

    def on_filled(self, fill: e.OrderFilled, mark: Mark) -> Sequence[tuple[str, e.OrderFilled]] | None:
        """Book an execution once; the strategies to tell, each with what of it is booked to it: whose order it was, and
        of somebody else's order those whose position it has closed.  None for a duplicate."""
        order, new = self._orders.fill(fill)
        if not new:
            self._counters.conflicting_fills = self._orders.conflicting_fills
            return None
        self._counters.fills += 1
        strategy = EXTERNAL
        if order is None:
            self._counters.external_fills += 1
        else:
            strategy = order.intent.strategy
        shares = self._portfolio.apply_fill(fill, strategy)
        self._desk.latch.revalue(mark)
        if order is not None:
            self._desk.look_again(order)
            self._desk.mend_surplus(order)
            self._desk.succeed(order)
        self._look_for_overfill(order)
        if strategy != EXTERNAL:
            return ((strategy, fill),)
        return [(owner, msgspec.structs.replace(fill, qty=abs(qty))) for owner, qty in shares]

    def on_corrected(self, event: e.FillCorrected, mark: Mark) -> None:
        """Book an execution back and, unless it was taken back whole, as it should have been.

        Cash and quantity are exact.  What was traded in between keeps its own prices: an average cost that the wrong
        price was part of is set right as if the wrong trade had been traded back at its own price.
        """
        order, finding = self._orders.correct(event)
        if finding is Correction.KNOWN:
            return
        if finding is Correction.FORGOTTEN:
            # Booked, it might count twice; not booked, money is what the venue says when it next confirms the account.
            self._counters.unknown_corrections += 1
            self._desk.latch.reduce(
                f"correction of fill {event.trade_id} at {event.venue}, which is too old to be known: not booked, "
                "the venue's balances say what it did"
            )
            return
        if finding is Correction.CONFLICT:
            self._counters.conflicting_fills = self._orders.conflicting_fills
            text = f"correction of fill {event.trade_id} at {event.venue}, which is booked otherwise"
            self.refuse_fact("conflict", text)
            return
        self._counters.corrections += 1
        anew = self._fill_of(event, event.trade_id, event.side, event.new_qty, event.new_px, event.new_fee)
        if finding is Correction.UNTOLD:
            if event.new_qty > 0:
                self.on_filled(anew, mark)
            else:
                self._orders.know(event.venue, event.trade_id)
            return
        strategy = "" if order is None else order.intent.strategy
        back = self._fill_of(event, f"{event.trade_id}|back", event.side.opposite, event.qty, event.px, -event.fee)
        self._portfolio.apply_fill(back, strategy)
        if event.new_qty > 0:
            self._portfolio.apply_fill(anew, strategy)
        self._desk.latch.revalue(mark)
        if order is not None:
            self._desk.mend_surplus(order)
            self._desk.succeed(order)
        self._look_for_overfill(order)

    @staticmethod
    def _fill_of(
        event: e.FillCorrected, trade_id: str, side: e.Side, qty: Decimal, px: Decimal, fee: Decimal
    ) -> e.OrderFilled:
        return e.OrderFilled(
            event.ts_event_ns, event.ts_recv_ns, event.venue, event.client_order_id, event.venue_order_id, trade_id,
            event.instrument, side, qty, px, fee, event.fee_currency, e.Liquidity.UNKNOWN,
        )  # fmt: skip

    def _look_for_overfill(self, order: ManagedOrder | None) -> None:
        if order is not None and order.overfilled:
            self._desk.latch.reduce(
                f"overfill of {order.client_order_id}: filled {order.filled_qty} of {order.intent.qty}"
            )

    def on_funding(self, event: e.FundingSettled, mark: Mark) -> None:
        """Profit or loss that came without an execution, once by its id."""
        defect = amounts_defect(event.amount)
        if defect:
            self.refuse_fact(
                defect, f"funding {event.funding_id} of {event.instrument} at {event.venue}: {event.amount}"
            )
            return
        if self.fundings.take(event):
            self._counters.fundings += 1
            self._portfolio.apply_funding(event)
            self._desk.latch.revalue(mark)

    def on_rate(self, event: e.RateReported) -> None:
        defect = amounts_defect(event.rate)
        if defect:
            Counters.add(self._counters.dropped, defect)
        else:
            self._portfolio.set_rate(event.currency, event.rate, event.ts_recv_ns)

    def on_balance(self, event: e.BalanceReported, last_px: Mark) -> None:
        defect = amounts_defect(event.total, event.available)
        if defect:
            self.refuse_fact(defect, f"balance of {event.currency} at {event.venue}: {event.total}")
        else:
            self._portfolio.report_balance(event.venue, event.currency, event.total, last_px)

    def on_position(self, event: e.PositionReported, last_px: Mark) -> None:
        """The first one opens the books of a margined position; a later one that differs is booked as it is told.

        ``last_px``: what instruments are worth, or were when their markets were believed last."""
        portfolio, name = self._portfolio, event.instrument
        defect = amounts_defect(event.qty, event.avg_px)
        if defect:
            self.refuse_fact(defect, f"position in {name}: {event.qty} at {event.avg_px}")
        elif not portfolio.knows_position(name):
            portfolio.report_position(name, event.qty, event.avg_px, last_px)
        elif portfolio.qty(name) != event.qty:
            self._counters.adjustments += 1
            portfolio.adjust_position(name, event.qty, event.avg_px, last_px)

    def refuse_fact(self, defect: str, text: str) -> None:
        """A fact of the account that cannot be booked: the event is on record, the money is not what we think it is."""
        Counters.add(self._counters.unreadable, defect)
        self._desk.latch.halt(f"account fact cannot be booked ({defect}): {text}"[:300])
