"""Coinbase's user stream as events: pure, no clock, no socket.

Owns the reading of user frames and when the stream is complete; what an order's update means is ``tracker``.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.coinbase import market_wire, wire
from connectors.coinbase.contracts import signed_contracts
from connectors.coinbase.protocol import StreamProtocol
from connectors.coinbase.tracker import OrderTracker
from engine.events import InputEvent

MARGIN_CHANNEL = "futures_balance_summary"
SNAPSHOT_BATCH = 50
"""The snapshot lists open orders in batches of this size; a smaller one, possibly empty, ends it."""


class CoinbaseUserProtocol(StreamProtocol):
    """User frames to account events through the tracker it is given.

    The stream is up when its subscriptions are confirmed and the snapshot of open orders has ended.  A gap sets
    ``resync_wanted``: order states must be read by REST (the shell does, and clears it).  With ``contracts`` it tells
    of the futures account as well: what is held of them, and its margin.
    """

    def __init__(self, venue: str, tracker: OrderTracker, *, contracts: bool = False) -> None:
        margin = [(MARGIN_CHANNEL, "")] if contracts else []
        super().__init__(venue, "user", [("user", ""), ("heartbeats", ""), *margin])
        self._tracker = tracker
        self._contracts = contracts
        self._snapshot_ended = False
        self.positions: dict[str, Decimal] | None = None
        """Contracts held, by product and below zero for a short, as they were told last; None before that."""
        self.margin = wire.StreamMargin()
        """As it was told last."""

    def reset(self) -> None:
        super().reset()
        self._snapshot_ended = False
        self._tracker.messages_lost()

    def _on_gap(self) -> None:
        self.resync_wanted = True
        self._tracker.messages_lost()

    def _other(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """What comes on this line under a name that nobody here knows may be what orders did."""
        unknown = self.counters.unknown_channel
        super()._other(frame, recv_ns, events)
        if self.counters.unknown_channel != unknown:
            self._on_gap()

    def _ready(self) -> bool:
        return self._snapshot_ended and super()._ready()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        channel = market_wire.decode_envelope(frame).channel
        if channel == MARGIN_CHANNEL and self._contracts:
            self._margins(frame, recv_ns, events)
            return
        if channel != "user":
            self._other(frame, recv_ns, events)
            return
        message = wire.decode_user(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for order in event.orders:
                versions, is_snapshot = self._tracker.versions, event.type == "snapshot"
                was_known = versions.is_known(order.order_id)
                if was_known:
                    events.extend(versions.told(order, ts_ns, recv_ns, is_snapshot=is_snapshot))
                events.extend(
                    self._tracker.observe(
                        client_order_id=order.client_order_id,
                        venue_order_id=order.order_id,
                        product_id=order.product_id,
                        status=order.status,
                        filled_qty=order.cumulative_quantity,
                        reason=order.reject_reason if order.status == "FAILED" else order.cancel_reason,
                        ts_event_ns=ts_ns,
                        ts_recv_ns=recv_ns,
                        leaves=order.leaves_quantity,
                    )
                )
                if not was_known and versions.is_known(order.order_id):  # since now, and this shows what it is
                    events.extend(versions.told(order, ts_ns, recv_ns, is_snapshot=is_snapshot))
            if self._contracts:
                self._read_positions(bytes(event.positions))
            if event.type == "snapshot" and len(event.orders) < SNAPSHOT_BATCH:
                self._snapshot_ended = True
                self._check_up(recv_ns, events)

    def _read_positions(self, raw: bytes) -> None:
        """What cannot be read changes nothing: orders are told in the same message."""
        if raw in (b"", b"null"):
            return
        try:
            told = wire.decode_positions(raw).expiring_futures_positions
        except wire.UNREADABLE:
            self.counters.malformed += 1
            return
        read = {one.product_id: signed_contracts(one) for one in told}
        self.positions = {product_id: qty for product_id, qty in read.items() if qty is not None}

    def _margins(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = wire.decode_margin(frame)
        if self._sequence(message.sequence_num, recv_ns, events):
            for event in message.events:
                self.margin = event.fcm_balance_summary or self.margin
