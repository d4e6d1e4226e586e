"""OANDA's transactions as account events: pure, no clock, no socket.

Owns the meaning of transactions, their order, and which are missing.  Does not connect or ask; the shell reads
``missing_since`` and answers it with ``transactions/sinceid``.  Orders are written by ``orders``.

Order rule.  Ids of an account count up without gaps, over the stream and REST alike.  A transaction is taken in only
when it is the next one: an older id is a repetition, a newer one shows a gap, and so does a heartbeat whose last id was
not seen.  What follows a gap is not looked at, it comes again with what is read since the last id that was.  So every
fact is told once and in the venue's order, however often streams break.

An order that fills in part goes on under another number when a transaction of the same batch replaces it; when none
does, what was left of it is gone.

A session that goes on with an earlier one begins before the oldest order that was open then: what the earlier session
was told already only makes this one know where each order stands (``quiet_until``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.oanda import wire
from connectors.oanda.books import AccountBooks
from connectors.oanda.holes import Holes
from connectors.oanda.interest import Interest
from connectors.oanda.known import SECOND, Known, KnownOrders, Sent
from connectors.oanda.protocol import SILENCE_NS
from connectors.oanda.refusals import of_guaranteed, refusal
from engine.events import (
    CancelRejected,
    FundingSettled,
    Gap,
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)

RECENT_KEPT = 512
"""Transactions remembered, for a reading of the account that is older than the newest of them."""
_ZERO = Decimal(0)
_RESTING = frozenset({"LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER"})


class Counters(msgspec.Struct):
    """What was dropped or cannot be told, by kind."""

    lines: int = 0
    malformed: int = 0
    oversize: int = 0
    repeated: int = 0
    gaps: int = 0
    unknown_instrument: int = 0
    unknown_order: int = 0


class AccountProtocol:
    """``start`` says where the account stands; ``sent`` names each of our orders before it leaves.

    ``currency`` is the account's, in which fees are told; ``instruments`` maps the venue's names to canonical ids.
    """

    def __init__(
        self, venue: str, instruments: Mapping[str, str], currency: str, books: AccountBooks | None = None
    ) -> None:
        """``books`` are kept with everything that is taken in and told."""
        self.venue = venue
        self.currency = currency
        self.books = books
        self.interest = Interest(venue, currency)
        self.counters = Counters()
        self.last_id = 0
        """The last transaction that was taken in; 0 before ``start``."""
        self.told_id = 0
        """The newest that the venue is known to have."""
        self.recent: deque[wire.Transaction] = deque(maxlen=RECENT_KEPT)
        """The newest that were taken in, oldest first."""
        self.quiet_until = 0
        """What happened up to here was told by an earlier session; ``quiet`` is what it was."""
        self.quiet: list[InputEvent] = []
        self.margin_call = False
        """The venue is about to close trades by force."""
        self.moved = False
        """Something else than an execution has moved the balance.  The shell clears it."""
        self.heard_ns = 0
        self.doubtful = False
        """A transaction could not be read and was passed over: the account must be confirmed.  The shell clears it."""
        self._instruments = dict(instruments)
        self._lines = wire.Lines()
        self._time = wire.TimeParser()
        self.orders = KnownOrders()
        self._partial: Known | None = None
        self._partial_batch = ""
        self.holes = Holes()

    # --- questions ----------------------------------------------------------------------------------------------------

    @property
    def missing_since(self) -> int | None:
        """The id to ask ``sinceid`` with; None while nothing is missing."""
        return self.last_id if self.told_id > self.last_id else None

    def is_silent(self, now_ns: int) -> bool:
        return now_ns - self.heard_ns > SILENCE_NS

    def address(self, part: str) -> str:
        """How to name an order in a path, by one of the ids that the venue has it by (``orders.parts``)."""
        return self.orders.address(part)

    def number_of(self, client_order_id: str) -> str:
        """The newest number of an order that is open, as far as was told; empty for any other."""
        known = self.orders.named(client_order_id)
        return known.number if known is not None and self.orders.is_open(known) else ""

    def unresolved(self) -> list[str]:
        """Ids of ours of which nothing was told yet."""
        return list(self.orders.sent)

    def recent_since(self, number: int) -> list[wire.Transaction] | None:
        """What was taken in after a transaction, oldest first; None where not all of it is remembered."""
        if number >= self.last_id:
            return []
        found = [one for one in self.recent if int(one.id) > number]
        return found if len(found) == self.last_id - number else None

    # --- what the shell tells -----------------------------------------------------------------------------------------

    def trade(self, instruments: Mapping[str, str]) -> None:
        """From now on, what happens in these is told too."""
        self._instruments.update(instruments)

    def start(self, last_id: int, orders: Iterable[wire.OrderRow] = (), recv_ns: int = 0) -> list[InputEvent]:
        """The account as read by REST at transaction ``last_id``: open entries that are not ours are told as found."""
        self.last_id = self.told_id = last_id
        return self.find(orders, recv_ns)

    def find(self, orders: Iterable[wire.OrderRow], recv_ns: int) -> list[InputEvent]:
        """Orders that are listed as open, and of which nothing is known yet."""
        events: list[InputEvent] = []
        for order in orders:
            if order.tradeID and self.orders.numbered(order.id) is None:
                hangs = self.orders.know_exit(order.client_id, order.id)
                if hangs is not None:
                    hangs.told = True
                    events.append(OrderAccepted(recv_ns, recv_ns, self.venue, hangs.client_order_id, order.id))
                continue
            instrument = self._instruments.get(order.instrument)
            if instrument is None or not order.units or self.orders.numbered(order.id) is not None:
                continue
            known = self.orders.know(order.client_id, order.id, abs(order.units))
            if known.ours:
                known.told = True
                events.append(OrderAccepted(recv_ns, recv_ns, self.venue, known.client_order_id, order.id))
            else:
                events.append(self._found(known, instrument, order.units, order.price, recv_ns, recv_ns))
        return events

    def lose(self, listed: Collection[str], at: int, recv_ns: int) -> list[InputEvent]:
        """Orders that should rest and are in no listing of transaction ``at``: what became of them stood in one that
        could not be read."""
        events: list[InputEvent] = []
        for known in self.orders.unlisted(listed, at):
            name, why = known.client_order_id, "not listed any more"
            events.append(OrderCancelled(recv_ns, recv_ns, self.venue, name, known.number, why))
            self.orders.end(known)
        return events

    def sent(self, client_order_id: str, qty: Decimal = _ZERO, orders: int = 1) -> None:
        """An order of ours is about to leave, as so many of the venue's."""
        self.orders.sent[client_order_id] = Sent(qty, orders)

    def reset(self, now_ns: int) -> None:
        """A new connection of the stream: half a line of the old one is forgotten, and nothing else."""
        self._lines = wire.Lines()
        self.heard_ns = now_ns

    # --- what the venue tells -----------------------------------------------------------------------------------------

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of some bytes of the stream, wherever they were cut.  Never raises."""
        self.heard_ns = recv_ns
        events: list[InputEvent] = []
        for line in self._lines.feed(frame):
            self.counters.lines += 1
            try:
                self._take(wire.decode_transaction(line), recv_ns, events)
            except wire.UNREADABLE:
                self.counters.malformed += 1
        self.counters.oversize = self._lines.oversize
        return events

    def receive_since(self, answer: wire.Transactions, recv_ns: int, *, whole: bool = False) -> list[InputEvent]:
        """Events of an answer to ``missing_since``; more may be missing afterwards.  ``whole``: it was read to its end,
        what is not in it does not exist."""
        events: list[InputEvent] = []
        is_counted = False
        for raw in answer.transactions:
            try:
                transaction = wire.decode_transaction(raw)
                number = int(transaction.id)
                if number > self.last_id + 1:
                    if whole or (not is_counted and self.holes.is_hole(self.last_id + 1, recv_ns)):
                        self._pass_hole(number)
                    is_counted = True
                self._take(transaction, recv_ns, events)
            except wire.UNREADABLE:
                self._pass_over(raw)
        if answer.lastTransactionID.isdecimal():
            self.told_id = max(self.told_id, int(answer.lastTransactionID))
        return events

    def _pass_hole(self, number: int) -> None:
        """Go on at a number: what happened before it, if anything did, the account shows."""
        self.holes.passed += 1
        self.doubtful = True
        self.last_id = number - 1
        self.told_id = max(self.told_id, self.last_id)

    def _pass_over(self, raw: bytes | msgspec.Raw) -> None:
        """What cannot be read when it is asked for will not be readable later either."""
        self.counters.malformed += 1
        self.doubtful = True
        try:
            number = int(wire.decode_id(raw).id)
        except wire.UNREADABLE:
            return
        if number == self.last_id + 1:
            self.last_id = number
            self.told_id = max(self.told_id, number)

    def _take(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        if transaction.type == "HEARTBEAT":
            if transaction.lastTransactionID.isdecimal():
                self._hear_of(int(transaction.lastTransactionID), recv_ns, events)
            if self.told_id == self.last_id:
                self._end_partial(transaction, recv_ns, events)
            return
        number = int(transaction.id)
        if number <= self.last_id:
            self.counters.repeated += 1
            return
        if number > self.last_id + 1:
            self._hear_of(number, recv_ns, events)
            return
        transaction.check()
        self.last_id = number
        self.told_id = max(self.told_id, number)
        self.recent.append(transaction)
        if self.books is not None:
            self.books.take(transaction)
        before = len(events)
        self._tell(transaction, recv_ns, self.quiet if number <= self.quiet_until else events)
        if transaction.positionFinancings:  # positions do not show whether it was told, so it says so itself
            ts_ns = self._time(transaction.time) or recv_ns
            events += self.interest.events(transaction, self._instruments, ts_ns, recv_ns)
        if self.books is not None:
            for event in events[before:]:
                if type(event) is OrderFilled:
                    self.books.book(event)
                elif type(event) is FundingSettled:
                    self.books.pay(event.currency, event.amount)

    def _hear_of(self, number: int, recv_ns: int, events: list[InputEvent]) -> None:
        """The venue has a transaction that was not taken in: the first to show a gap reports it."""
        if number <= self.told_id:
            return
        if self.told_id == self.last_id:
            self.counters.gaps += 1
            events.append(Gap(recv_ns, recv_ns, self.venue, "", self.last_id + 1, number))
        self.told_id = number

    def _tell(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        kind = transaction.type
        partial, batch = self._partial, transaction.batchID
        # Exits of the trades that it closed may be cancelled, in the same batch, before it goes on.
        is_apart = kind == "ORDER_FILL" or not batch or batch != self._partial_batch
        if partial is not None and transaction.replacesOrderID != partial.number and is_apart:
            self._end_partial(transaction, recv_ns, events)
        self.moved = self.moved or (transaction.accountBalance is not None and kind != "ORDER_FILL")
        if kind == "ORDER_FILL":
            self._fill(transaction, recv_ns, events)
        elif kind == "ORDER_CANCEL":
            self._cancel(transaction, recv_ns, events)
        elif kind == "ORDER_CANCEL_REJECT":
            known = self.orders.numbered(transaction.orderID)
            name = transaction.client_id.removesuffix(SECOND) or (
                known.client_order_id if known is not None else transaction.orderID
            )
            ts_ns = self._time(transaction.time) or recv_ns
            events.append(CancelRejected(ts_ns, recv_ns, self.venue, name, transaction.rejectReason))
        elif kind in ("MARGIN_CALL_ENTER", "MARGIN_CALL_EXIT"):
            self.margin_call = kind == "MARGIN_CALL_ENTER"
        elif kind.endswith("_ORDER"):
            self._create(transaction, recv_ns, events)
        elif kind.endswith("_ORDER_REJECT"):
            self._reject(transaction, recv_ns, events)

    # --- transactions of orders ---------------------------------------------------------------------------------------

    def _create(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        before = self._partial
        if before is not None and transaction.replacesOrderID == before.number:
            self._partial = None
            self.orders.renumber(before, transaction.id)
            before.left_units = abs(transaction.units or before.left_units)
            return
        if transaction.tradeID:
            hangs = self.orders.know_exit(transaction.client_id, transaction.id)
            if hangs is not None:
                hangs.told = True
                ts_ns = self._time(transaction.time) or recv_ns
                events.append(OrderAccepted(ts_ns, recv_ns, self.venue, hangs.client_order_id, transaction.id))
            return
        known = self.orders.know(transaction.client_id, transaction.id, abs(transaction.units or _ZERO))
        known.immediate = transaction.timeInForce in ("FOK", "IOC")
        ts_ns = self._time(transaction.time) or recv_ns
        if known.ours:
            known.told = True
            events.append(OrderAccepted(ts_ns, recv_ns, self.venue, known.client_order_id, transaction.id))
            return
        instrument = self._instruments.get(transaction.instrument)
        if instrument is not None and transaction.type in _RESTING and transaction.units:
            events.append(self._found(known, instrument, transaction.units, transaction.price, ts_ns, recv_ns))

    def _found(
        self, known: Known, instrument: str, units: Decimal, price: Decimal | None, ts_ns: int, recv_ns: int
    ) -> OrderFound:
        known.told = True
        side = Side.BUY if units > 0 else Side.SELL
        return OrderFound(
            ts_ns, recv_ns, self.venue, known.client_order_id, known.number, instrument, side, abs(units), _ZERO, price
        )

    def _fill(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        instrument = self._instruments.get(transaction.instrument)
        known = self.orders.numbered(transaction.orderID)
        if known is None:
            self.counters.unknown_order += 1
            known = self.orders.know(transaction.client_id, transaction.orderID, _ZERO)
        units, px = transaction.units, transaction.executed_px
        if instrument is None:
            self.counters.unknown_instrument += 1
        elif units and px is not None:
            ts_ns = self._time(transaction.time) or recv_ns
            events.append(
                OrderFilled(
                    ts_ns,
                    recv_ns,
                    self.venue,
                    known.client_order_id,
                    transaction.orderID,
                    transaction.id,
                    instrument,
                    Side.BUY if units > 0 else Side.SELL,
                    abs(units),
                    px,
                    transaction.commission + transaction.guaranteedExecutionFee - transaction.financing,
                    self.currency,
                    Liquidity.TAKER,
                )
            )
        # What hangs on a trade has the units that the trade had left.
        wanted = known.left_units if known.hangs else abs(transaction.requestedUnits or known.left_units)
        known.left_units = max(_ZERO, wanted - abs(units or _ZERO))
        if not known.left_units:
            self.orders.end(known)
            return
        self._partial, self._partial_batch = known, transaction.batchID
        if known.immediate or known.hangs:
            self._end_partial(transaction, recv_ns, events)

    def _end_partial(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        """Nothing replaced an order that filled in part: what was left of it has been cancelled."""
        known, self._partial = self._partial, None
        if known is None:
            return
        if known.told:
            ts_ns, name = self._time(transaction.time) or recv_ns, known.client_order_id
            events.append(OrderCancelled(ts_ns, recv_ns, self.venue, name, known.number, "partial fill"))
        self.orders.end(known)

    def _cancel(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        known = self.orders.numbered(transaction.orderID)
        if known is None:
            self.counters.unknown_order += 1
            return
        if known.hangs and known.told:
            linked = transaction.reason == "LINKED_TRADE_CLOSED"
            if not self.orders.is_open(known) or self.orders.lose_leg(known, transaction.orderID, linked=linked):
                return  # the other one has filled, or is on its way out
        ts_ns, name = self._time(transaction.time) or recv_ns, known.client_order_id
        if not known.told:
            pass  # somebody's exit of a trade, or an order by hand that never rested
        elif transaction.reason == "TIME_IN_FORCE_EXPIRED" and not known.immediate:
            events.append(OrderExpired(ts_ns, recv_ns, self.venue, name, known.number))
        else:
            events.append(OrderCancelled(ts_ns, recv_ns, self.venue, name, known.number, transaction.reason))
        self.orders.end(known)

    def _reject(self, transaction: wire.Transaction, recv_ns: int, events: list[InputEvent]) -> None:
        if not self.orders.refuse(transaction.client_id):
            return  # somebody else's, or the answer has told it already
        name, ts_ns = transaction.client_id.removesuffix(SECOND), self._time(transaction.time) or recv_ns
        why = transaction.rejectReason
        word = of_guaranteed(refusal(why), why) if transaction.type.startswith("GUARANTEED") else refusal(why)
        events.append(OrderRejected(ts_ns, recv_ns, self.venue, name, word, why))

    def refused(self, client_order_id: str, reason: str, text: str, recv_ns: int) -> list[InputEvent]:
        """An answer says that an order of ours does not exist; told once, here or by its reject transaction."""
        if client_order_id not in self.orders.sent:
            return []
        self.orders.refuse(client_order_id)
        return [OrderRejected(recv_ns, recv_ns, self.venue, client_order_id, reason, text)]
