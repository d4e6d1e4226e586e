"""Coinbase's user stream as events: pure, no clock, no socket.

Owns the reading of user frames and when the stream is complete; what an order's update means is ``tracker``.
"""

from __future__ import annotations

from connectors.coinbase import wire
from connectors.coinbase.protocol import StreamProtocol
from connectors.coinbase.tracker import OrderTracker
from engine.events import InputEvent

SNAPSHOT_BATCH = 50
"""The snapshot lists open orders in batches of this size; a smaller one, possibly empty, ends it."""


class CoinbaseUserProtocol(StreamProtocol):
    """User frames to account events through the tracker it is given.

    The stream is up when its subscriptions are confirmed and the snapshot of open orders has ended.  A gap sets
    ``resync_wanted``: order states must be read by REST (the shell does, and clears it).
    """

    def __init__(self, venue: str, tracker: OrderTracker) -> None:
        super().__init__(venue, "user", [("user", ""), ("heartbeats", "")])
        self._tracker = tracker
        self._snapshot_ended = False

    def reset(self) -> None:
        super().reset()
        self._snapshot_ended = False

    def _on_gap(self) -> None:
        self.resync_wanted = True

    def _ready(self) -> bool:
        return self._snapshot_ended and super()._ready()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        if wire.decode_envelope(frame).channel != "user":
            self._other(frame, recv_ns, events)
            return
        message = wire.decode_user(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for order in event.orders:
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
                    )
                )
            if event.type == "snapshot" and len(event.orders) < SNAPSHOT_BATCH:
                self._snapshot_ended = True
                self._check_up(recv_ns, events)
