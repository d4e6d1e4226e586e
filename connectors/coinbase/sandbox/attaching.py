"""Brackets that come with an entry: when the venue makes them, for how much, and who says whose they are.

Owns the switches of ``SandboxSettings`` that begin with ``attached_``; nobody has asked the real venue.  Orders, money
and the book are ``exchange``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from connectors.coinbase.sandbox import editing, wire
from connectors.coinbase.sandbox.records import OrderRecord, OrderSpec
from connectors.coinbase.sandbox.requests import OrderRefused, parse_order

if TYPE_CHECKING:
    from connectors.coinbase.sandbox.exchange import Exchange


class Attaching:
    """Of one exchange, which says what happened and calls ``pump`` when that is booked."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._settings = exchange.settings
        self._changed: dict[str, OrderRecord] = {}
        self._late: list[tuple[int, OrderRecord]] = []

    def opened(self, entry: OrderRecord, now_ns: int) -> None:
        """An entry has been taken: where the venue makes its exit at once, that waits, as large as the entry."""
        if self._settings.attached_when == "start" and entry.attached_order_id:
            spec = self._spec(entry, entry.spec.base_size, now_ns)
            if spec is not None:
                self._exchange.add(self._record(entry, spec, now_ns))

    def filled(self, entry: OrderRecord) -> None:
        if entry.attached_order_id and self._settings.attached_when == "fill":
            self._changed[entry.order_id] = entry

    def closed(self, entry: OrderRecord) -> None:
        if entry.attached_order_id and (entry.filled_qty or self._settings.attached_when == "start"):
            self._changed[entry.order_id] = entry

    def pump(self, now_ns: int) -> None:
        """Make what is due."""
        lag_ns = int(self._settings.attached_lag_s * 1e9)
        while self._changed:
            _, entry = self._changed.popitem()
            if lag_ns:
                self._late.append((now_ns + lag_ns, entry))
            else:
                self._make(entry, now_ns)

    def expire(self, now_ns: int) -> None:
        """What comes with time."""
        due = [one for one in self._late if one[0] <= now_ns]
        self._late = [one for one in self._late if one[0] > now_ns]
        for _, entry in due:
            self._make(entry, now_ns)

    def _make(self, entry: OrderRecord, now_ns: int) -> None:
        exchange = self._exchange
        record = exchange.orders.get(entry.attached_order_id)
        if not entry.filled_qty:
            if record is not None and record.status == "PENDING":
                exchange.end(record, "CANCELLED", "its entry has filled nothing", now_ns)
            return
        spec = self._spec(entry, entry.filled_qty, now_ns)
        if spec is None:
            if record is not None and record.status == "PENDING":
                exchange.end(record, "CANCELLED", entry.cancel_message, now_ns)
            return  # one that rests stays as large as it is
        if record is None:
            record = self._record(entry, spec, now_ns)
        elif record.status == "OPEN" and record.spec.base_size != spec.base_size:
            self._grow(record, spec, now_ns)
            return
        elif record.status != "PENDING":
            return  # it has ended before its entry did
        record.spec = spec
        try:
            exchange.enter(record, now_ns)
        except OrderRefused as refusal:
            # Its id was given away with the entry's answer: who asks for it is told what became of it.
            exchange.add(record)
            exchange.fail(record, refusal)
            exchange.absorb(exchange.markets[spec.product_id], (), now_ns)

    def _grow(self, record: OrderRecord, spec: OrderSpec, now_ns: int) -> None:
        try:
            editing.replace(self._exchange, record, spec, now_ns)
        except OrderRefused as refusal:
            record.cancel_message = f"the attached order did not grow: {refusal.message}"

    def _spec(self, entry: OrderRecord, size: object, now_ns: int) -> OrderSpec | None:
        """The exit for ``size`` of the entry; None where the venue's rules know no such order."""
        assert entry.spec.attached is not None
        name, fields = next(iter(entry.spec.attached.items()))
        own = self._settings.attached_client_id == "own"
        body = {
            "client_order_id": entry.attached_order_id if own else "",
            "product_id": entry.spec.product_id,
            "side": entry.spec.side.opposite.name,
            "order_configuration": {name: {**fields, "base_size": wire.number(size)}},  # type: ignore[arg-type]
        }
        try:
            made = parse_order(body, self._exchange.products, now_ns, needs_client_id=False)
        except OrderRefused as refusal:
            entry.cancel_message = f"the attached order was refused: {refusal.message}"
            return None
        return msgspec.structs.replace(made, leverage=entry.spec.leverage)

    def _record(self, entry: OrderRecord, spec: OrderSpec, now_ns: int) -> OrderRecord:
        return OrderRecord(
            order_id=entry.attached_order_id,
            spec=spec,
            created_ns=now_ns,
            trigger_status="STOP_PENDING",
            originating_order_id=entry.order_id,
            names_entry=self._settings.attached_names != "entry",
        )
