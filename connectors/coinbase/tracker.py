"""What is known of each order at the venue, from three sources: answers, the user stream and REST listings.

Owns one record per order and turns observations into account events, each fact told exactly once and in an order that
never releases risk early: fills that the venue claims are booked before the order's end is told, and an end that nobody
has asked for is told when the fills were read after it, as it may come before them.  Pure: no clock, no socket.  The
user stream gives cumulative quantities only; ``take_wanted`` says whose fills the shell must read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from connectors.coinbase.execution_tracking import NEVER_NS, ExecutionTracking
from connectors.coinbase.exit_tracking import ENDED, LIVE, ZERO, may_hide_fills, wants_fills
from connectors.coinbase.fills import exact, side_of
from connectors.coinbase.refusals import told_end
from connectors.coinbase.tracked import Tracked
from connectors.coinbase.versions import Version, Versions
from engine.commands import OrderIntent, OrderType
from engine.events import (
    InputEvent,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFound,
    OrderRejected,
    Side,
)


class OrderTracker(ExecutionTracking):
    """Every order of one venue account, by client id and by venue id."""

    def __init__(self, venue: str, products: Mapping[str, str], *, since_ns: int = NEVER_NS) -> None:
        super().__init__(venue, products, since_ns=since_ns)
        self.versions = Versions(venue)
        self.unknown_status = 0
        self._unknown: dict[str, str] = {}

    # --- questions ----------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> Tracked | None:
        return self._by_client.get(client_order_id)

    def of_venue(self, venue_order_id: str) -> Tracked | None:
        return self._by_venue.get(venue_order_id)

    def open_orders(self) -> list[Tracked]:
        """Orders whose end, fills included, has not been told."""
        return [order for order in self._by_client.values() if not order.closed]

    def ended_orders(self, count: int) -> list[Tracked]:
        """The newest of those whose end was told."""
        names = list(self._ended)[-count:]
        return [order for name in names if (order := self._by_client.get(name)) is not None]

    def take_wanted(self) -> list[str]:
        """Venue ids of orders whose fills must be read now; each is given once per observation that wants it."""
        wanted = list(self._wanted)
        self._wanted.clear()
        return wanted

    def take_unknown(self) -> dict[str, str]:
        """Client ids of orders that were told with a status which nobody here knows since the last call, and that
        status."""
        unknown, self._unknown = self._unknown, {}
        return unknown

    def take_doubted(self) -> list[str]:
        """Those of ``ExitTracking``, and orders that were shown as another version than any that is known, or of which
        nobody knows whether they were changed."""
        return [*super().take_doubted(), *self.versions.take_strange()]

    def is_unresolved(self, client_order_id: str) -> bool:
        """Whether it is not known what became of an order, which version of it lives, or which fills it has."""
        order = self._by_client.get(client_order_id)
        if order is None or order.closed:
            return order is not None and self.versions.is_doubtful(order.venue_order_id)
        if self.versions.is_doubtful(order.venue_order_id):
            return True
        if order.attachment is not None and not order.accepted and not order.attachment.fate:
            return order.claimed_qty > ZERO  # else it waits at the venue for its entry to fill
        return order.held or not order.accepted or wants_fills(order)

    def adopt(
        self,
        client_order_id: str,
        venue_order_id: str,
        filled_qty: Decimal,
        entries: Sequence[str],
        *,
        ended: bool,
        rejected: bool = False,
        of_others: bool = False,
        instrument: str = "",
        intent: OrderIntent | None = None,
    ) -> None:
        """Follow an order that an earlier session has sent, or has told as one ``of_others``; its fills that are booked
        are not told again.  One that was ``rejected`` (refused, or given up as never arrived) lives should it show
        itself.  ``intent``: in the version that session knew last."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, True, instrument=instrument, intent=intent)
        order.found, order.is_adopted = of_others, True
        order.booked_qty = order.claimed_qty = order.unnamed_qty = filled_qty
        order.entries = dict.fromkeys(entries, 0)
        if venue_order_id:
            self._bind(order, venue_order_id)
        if ended:
            order.accepted, order.end = not rejected, "FAILED" if rejected else "CANCELLED"
            order.is_end_adopted = True
            self._close(order)

    def find(
        self, client_order_id: str, venue_order_id: str, instrument: str, side: str, qty: Decimal,
        filled_qty: Decimal, limit_px: Decimal | None, ts_recv_ns: int,
    ) -> list[InputEvent]:  # fmt: skip
        """An order that a listing shows as open.  One that is not ours is told with what is filled of it and will not
        be told any more: before the opening that is part of the balances, after it what was told as fills.  It is told
        again with more where that turns out to be part of the balances as well."""
        order = self._find(client_order_id, venue_order_id)
        if order.ours or order.found or order.closed or order.held or side_of(side) is None:
            return []
        order.found = order.accepted = True
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        if self.since_ns == NEVER_NS:
            order.booked_qty = order.claimed_qty = max(order.claimed_qty, filled_qty)
            order.unnamed_qty = order.booked_qty
            self._wanted.pop(venue_order_id, None)
        if not self.versions.is_known(venue_order_id):
            self.versions.follow(order.client_order_id, venue_order_id, Version(qty, limit_px))
        order.told = OrderFound(
            ts_recv_ns, ts_recv_ns, self.venue, order.client_order_id, venue_order_id, instrument,
            Side.BUY if side == "BUY" else Side.SELL, qty, order.booked_qty, limit_px,
        )  # fmt: skip
        return [order.told]

    # --- observations -------------------------------------------------------------------------------------------

    def sent(self, client_order_id: str, ts_ns: int, intent: OrderIntent | None = None) -> None:
        """The request is about to leave: from now on the order may exist.  Which version of it lives is followed where
        its ``intent`` is known."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, True)
        order.changed_ns, order.intent = ts_ns, intent

    def messages_lost(self) -> None:
        """Messages of the user stream were lost: executions of the orders that are open may be among them."""
        for order in self.open_orders():
            order.is_behind = True

    def not_sent(self, client_order_id: str) -> None:
        """Nothing left, or the venue refused: the order does not exist."""
        order = self._by_client.get(client_order_id)
        if order is not None and not order.accepted:
            order.end = order.end or "FAILED"
            self._close(order)
            if (attachment := self.attachments.of(client_order_id)) is not None:
                self.attachments.settle(attachment, "unfilled")

    def accepted(self, client_order_id: str, venue_order_id: str, ts_ns: int) -> list[InputEvent]:
        """The venue answered with an order id."""
        order = self._find(client_order_id, venue_order_id)
        events: list[InputEvent] = []
        self._accept(order, venue_order_id, ts_ns, ts_ns, events)
        return events

    def observe(
        self,
        *,
        client_order_id: str,
        venue_order_id: str,
        product_id: str,
        status: str,
        filled_qty: str,
        reason: str,
        ts_event_ns: int,
        ts_recv_ns: int,
        size_qty: Decimal | None = None,
        leaves: str = "",
    ) -> list[InputEvent]:
        """The venue told an order's state (user stream or REST).  Repetitions and late ones yield nothing.

        ``size_qty``, or what is left to fill (``leaves``), is read of exits that the venue has made alone.
        """
        order = self._find(client_order_id, venue_order_id)
        events: list[InputEvent] = []
        if product_id not in self._products and not order.ours:
            # Somebody else's order in something we do not trade.
            order.end = status
            self._close(order)
            return events
        if not order.ours and not order.found:
            if not order.venue_order_id and self.attachments.unnamed(product_id):
                self._hold(order, venue_order_id)
            self.strangers = self.strangers or not order.held
        claimed = exact(filled_qty)
        if claimed is not None and claimed > order.claimed_qty:
            order.claimed_qty = claimed
            order.changed_ns = ts_recv_ns
        if status != "FAILED" or order.claimed_qty > 0:
            self._reopen(order)  # before its end is taken in, which may be the first thing that is told of it
        if status in LIVE and order.closed and order.is_adopted:
            self._doubt_end(order, ts_recv_ns)
        if status in ENDED:
            if not order.end:
                order.end, order.end_reason, order.changed_ns = status, reason, ts_recv_ns
                order.is_end_unread = (order.ours or order.held) and may_hide_fills(order)
        elif status not in LIVE:
            # A status we do not know is not guessed: the order stays as it is and REST is asked later.
            self.unknown_status += 1
            self._unknown[order.client_order_id] = status[:40]
        if order.held:
            return events
        if order.attachment is not None:
            if size_qty is None and status in LIVE and (left_qty := exact(leaves)) is not None:
                size_qty = (claimed or ZERO) + left_qty
            self._observe_exit(order, venue_order_id, size_qty, ts_event_ns, ts_recv_ns, events)
            return events
        if status != "FAILED" or order.claimed_qty > 0:
            self._accept(order, venue_order_id, ts_event_ns, ts_recv_ns, events)
        elif not order.venue_order_id:
            self._bind(order, venue_order_id)
        if wants_fills(order):
            self._wanted[venue_order_id] = None
        self._tell_end(order, ts_event_ns, ts_recv_ns, events)
        return events

    # --- transitions --------------------------------------------------------------------------------------------

    def _find(self, client_order_id: str, venue_order_id: str) -> Tracked:
        order = self._by_venue.get(venue_order_id) or self._by_client.get(client_order_id)
        attachment = self.attachments.of_exit(venue_order_id)
        if (
            order is not None
            and order.venue_order_id not in ("", venue_order_id)
            and self.attachments.of(client_order_id)
        ):
            order, client_order_id = None, ""  # an exit that goes by its entry's name
        if order is None and attachment is not None:
            order = self._by_client[attachment.name] = Tracked(attachment.name, True, instrument=attachment.instrument)
            order.attachment = attachment
        if order is None:
            # Not sent by this session.  Orders made by hand may lack a client id: the venue's id stands in.
            name = client_order_id or venue_order_id
            order = self._by_client[name] = Tracked(name, False)
        return order

    def _accept(
        self, order: Tracked, venue_order_id: str, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]
    ) -> None:
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        if not order.accepted and order.attachment is not None:
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        elif not order.accepted:
            self._reopen(order)
            order.accepted = True
            order.changed_ns = ts_recv_ns
            self._follow_version(order)
            events.append(OrderAccepted(ts_event_ns, ts_recv_ns, self.venue, order.client_order_id, venue_order_id))

    def _follow_version(self, order: Tracked) -> None:
        """Somebody may change it by hand: perhaps before anything was heard of it, as what it has filled may show."""
        intent, is_adopted = order.intent, order.is_adopted
        if intent is None or intent.order_type is not OrderType.LIMIT or not intent.may_rest:
            return
        if order.end and (order.end != "FILLED" or order.claimed_qty == intent.qty):
            return
        if not self.versions.is_known(order.venue_order_id):
            version = Version(intent.qty, intent.limit_px)
            self.versions.follow(order.client_order_id, order.venue_order_id, version, is_doubtful=is_adopted)
            if is_adopted:
                self._doubted[order.client_order_id] = None  # nobody has listened since it was sent

    def _close(self, order: Tracked) -> None:
        super()._close(order)
        self.versions.ended(order.venue_order_id)

    def _reopen(self, order: Tracked) -> None:
        """Evidence that an order exists overrules an earlier "it never arrived"."""
        if order.closed and order.end == "FAILED" and not order.accepted and order.attachment is None:
            order.closed, order.end = False, ""
            self._ended.pop(order.client_order_id, None)

    def _doubt_end(self, order: Tracked, ts_recv_ns: int) -> None:
        """An order that has filled as far as an earlier session knew is shown as open: it may have been made larger.
        It lives on where a look-up of it alone has shown that."""
        intent, order_id = order.intent, order.venue_order_id
        if intent is None or intent.order_type is not OrderType.LIMIT or not intent.may_rest:
            return
        if order.attachment is not None or not order.accepted or order.booked_qty < intent.qty:
            return
        if self.versions.take_revived(order_id):
            order.closed, order.end, order.is_behind = False, "", True
            self._ended.pop(order.client_order_id, None)
        elif not self.versions.is_known(order_id):
            version = Version(max(intent.qty, order.booked_qty), intent.limit_px)
            self.versions.doubt_end(order.client_order_id, order_id, version, ts_recv_ns)
            self._doubted[order.client_order_id] = None

    def _tell_end(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        if not order.end or order.closed or wants_fills(order):
            return
        if order.attachment is not None and not order.accepted:
            if order.is_spent:
                self._leave_to_others(order, ts_recv_ns, events)
            return  # nobody has heard of it yet
        args = (ts_event_ns, ts_recv_ns, self.venue, order.client_order_id)
        if order.end == "FILLED" and order.attachment is not None and order.size_qty > order.booked_qty:
            order.size_qty = order.booked_qty  # nobody had said how large it was
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        if order.end == "CANCELLED":
            events.append(OrderCancelled(*args, order.venue_order_id, order.end_reason))
        elif order.end == "EXPIRED":
            events.append(OrderExpired(*args, order.venue_order_id))
        elif order.end == "FAILED" and order.booked_qty > 0:
            # It did exist and did trade: what ended is the rest of it.
            events.append(OrderCancelled(*args, order.venue_order_id, f"failed: {order.end_reason}".rstrip(": ")))
        elif order.end == "FAILED":
            # Also after an acceptance: accepted is not live (a post-only order that would cross fails afterwards).
            events.append(OrderRejected(*args, *told_end(order.end_reason)))
        elif order.end == "FILLED" and (order.found or ZERO < order.booked_qty <= order.others_qty):
            # Executions that were told before it was found, by this session or an earlier one, do not fill it anew; nor
            # do those of an exit that were told as somebody else's, where nothing else fills it.
            events.append(OrderCancelled(*args, order.venue_order_id, "it has filled"))
        self._close(order)
        self._follow_entry(order, ts_event_ns, ts_recv_ns, events)
