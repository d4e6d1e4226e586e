"""A model of Coinbase for one account and one product: orders, executions, exits that entries bring, changes in place.

Owns what is true there and how it is told: answers to requests, listings, records and messages of the user stream.  It
knows no prices but those of orders: whoever drives it says what executes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from connectors.coinbase.wire import format_time
from tests.support.lives.records import Fill, Json, Order, fill_of, record_of, refusal

D = Decimal
NEVER_NS = 2**63 - 1


class Rules(msgspec.Struct, frozen=True):
    """What nobody has asked the real venue: when an exit is made, who names it, and how late it or a change comes."""

    made_when: str = "end"
    named_by: str = "both"
    has_client_id: bool = True
    exit_lag_s: float = 0.0
    change_lag_s: float = 0.0
    rejects_duplicates: bool = False
    cancel_lag_s: float = 0.0
    begins_pending: bool = False
    listing_lag_s: float = 0.0
    refuses_exits: float = 0.0
    """Of so many no exit comes of, or one that has failed."""
    named_after_s: float = 0.0
    """So long after an exit was made nobody names it: what is told of it meanwhile is told as somebody else's."""


class ModelVenue:
    """``later(seconds, call)`` runs something at the venue after that time; ``tell(order)`` puts its state on the
    streams."""

    def __init__(
        self,
        rules: Rules,
        rng: random.Random,
        now_ns: Callable[[], int],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.rules = rules
        self.rng = rng
        self.now_ns = now_ns
        self.orders: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.balances = {"USD": D(1_000_000_000), "BTC": D(1_000_000)}
        self.on_tell: Callable[[Order], None] = lambda _order: None
        self.overfilled: set[str] = set()
        """Orders that were executed beyond their size."""
        self.history: dict[str, list[tuple[int, Json]]] = {}
        """What the record of each order was, since when."""
        self.immediate: Callable[[Order], None] = lambda _order: None
        """What becomes of an order that does not rest."""
        self._later = later
        self._count = 0
        self._by_client: dict[str, Order] = {}

    def tell(self, order: Order) -> None:
        self.history.setdefault(order.order_id, []).append((self.now_ns(), record_of(order, self.rules.named_by)))
        self.on_tell(order)

    def _new_id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def open_orders(self) -> list[Order]:
        return [one for one in self.orders.values() if one.status == "OPEN"]

    # --- requests -----------------------------------------------------------------------------------------------------

    def request(self, path: str, body: Json) -> tuple[int, Json]:
        """The answer to a request that came; raises ``KeyError`` for a path that is none."""
        name = path.rpartition("/")[2]
        return 200, {"orders": self._place, "batch_cancel": self._cancel_each, "edit": self._change}[name](body)

    def _place(self, body: Json) -> Json:
        known = self._by_client.get(body["client_order_id"])
        if known is not None:
            return refusal("DUPLICATE_CLIENT_ORDER_ID") if self.rules.rejects_duplicates else self._accepted(known)
        ((kind, fields),) = body["order_configuration"].items()
        bracket = (body.get("attached_order_configuration") or {}).get("trigger_bracket_gtc")
        made = self.place(
            body["client_order_id"],
            body["side"],
            kind,
            D(fields["base_size"]),
            D(fields.get("limit_price", "100")),
            bracket,
        )
        if not kind.endswith(("_gtc", "_gtd")):
            self.immediate(made)
        return self._accepted(made)

    def place(
        self,
        client_id: str,
        side: str,
        kind: str,
        qty: Decimal,
        px: Decimal,
        bracket: Json | None = None,
        *,
        ours: bool = True,
    ) -> Order:
        exit_id = self._new_id("v") if bracket else ""
        made = Order(self._new_id("v"), client_id, side, kind, qty, px, self.now_ns(), bracket=bracket, exit_id=exit_id)
        made.changes, made.ours = [], ours
        self.orders[made.order_id] = self._by_client[client_id] = made
        if self.rules.begins_pending:
            made.status = "PENDING"
            self.tell(made)
            made.status = "OPEN"
        self.tell(made)
        if bracket and self.rules.made_when == "start":
            self._make_exit(made, qty, "PENDING")
        return made

    def _accepted(self, order: Order) -> Json:
        named = order.exit_id if self.rules.named_by != "exit" and not self.rules.named_after_s else ""
        made = {"order_id": order.order_id, "client_order_id": order.client_id, "attached_order_id": named}
        return {"success": True, "success_response": made}

    def _cancel_each(self, body: Json) -> Json:
        return {"results": [self.cancel(one) for one in body["order_ids"]]}

    def cancel(self, order_id: str, message: str = "User requested cancel") -> Json:
        order, why = self.orders.get(order_id), ""
        if order is None:
            why = "UNKNOWN_CANCEL_ORDER"
        elif not order.lives:
            why = "ORDER_IS_FULLY_FILLED" if order.status == "FILLED" else "DUPLICATE_CANCEL_REQUEST"
        elif order.status == "PENDING":
            why = "CANNOT_CANCEL_ACTIVE_ATTACHED_ORDER"
        elif order.is_being_changed:
            why = "ORDER_IS_BEING_REPLACED"
        elif order.is_being_cancelled:
            why = "DUPLICATE_CANCEL_REQUEST"
        elif self.rules.cancel_lag_s:
            order.is_being_cancelled = True
            self.tell(order)
            self._later(self.rng.uniform(0.0, self.rules.cancel_lag_s), lambda: self._cancel_late(order, message))
        else:
            self.end(order, "CANCELLED", message)
        return {"success": not why, "failure_reason": why or "UNKNOWN_CANCEL_FAILURE_REASON", "order_id": order_id}

    def _cancel_late(self, order: Order, message: str) -> None:
        order.is_being_cancelled = False
        if order.lives:
            self.end(order, "CANCELLED", message)

    def _change(self, body: Json) -> Json:
        order, qty, px = self.orders.get(body["order_id"]), D(body["size"]), D(body["price"])
        why = self._why_not(order, qty, px)
        if why:
            return {"success": False, "errors": [{"edit_failure_reason": why}]}
        assert order is not None
        if self.rules.change_lag_s:
            order.is_being_changed = True
            self.tell(order)
            self._later(self.rules.change_lag_s, lambda: self._change_late(order, qty, px))
        else:
            self.change(order, qty, px)
        return {"success": True, "success_response": {"order_id": order.order_id}}

    def _why_not(self, order: Order | None, qty: Decimal, px: Decimal) -> str:
        if order is None:
            return "ORDER_NOT_FOUND"
        if order.status != "OPEN":
            return "ONLY_OPEN_ORDERS_CAN_BE_EDITED"
        if order.is_being_changed or order.is_being_cancelled:
            return "ORDER_IS_ALREADY_BEING_REPLACED"
        if (qty, px) == (order.qty, order.px):
            return "EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST"
        return "CANNOT_EDIT_TO_BELOW_FILLED_SIZE" if qty <= order.filled_qty else ""

    def _change_late(self, order: Order, qty: Decimal, px: Decimal) -> None:
        order.is_being_changed = False
        if self._why_not(order, qty, px):
            if order.lives:
                self.tell(order)
        else:
            self.change(order, qty, px)

    def change(self, order: Order, qty: Decimal, px: Decimal) -> None:
        order.qty, order.px = qty, px
        at = format_time(self.now_ns())
        order.changes.append({"price": str(px), "size": str(qty), "replace_accept_timestamp": at})
        self.tell(order)

    # --- what happens there -------------------------------------------------------------------------------------------

    def fill(self, order: Order, qtys: Sequence[Decimal], end: str = "", message: str = "") -> None:
        """Executions in one step, and an ``end`` of the order in that same step."""
        for qty in qtys:
            self._execute(order, qty)
        if order.filled_qty > order.qty:
            self.overfilled.add(order.order_id)
        if order.status == "OPEN" and order.filled_qty >= order.qty:
            end = "FILLED"
        if end and order.status == "OPEN":
            self.end(order, end, message)
            return
        self.tell(order)
        if order.bracket and self.rules.made_when == "fill":
            self._due(order)

    def _execute(self, order: Order, qty: Decimal) -> None:
        fee, sign = qty * order.px / 1000, 1 if order.side == "BUY" else -1
        now_ns = self.now_ns()
        listed_ns = now_ns + int(self.rng.uniform(0.0, self.rules.listing_lag_s) * 1e9)
        listed_ns = max(listed_ns, self.fills[-1].listed_ns if self.fills else 0)  # in their order
        fill = Fill(self._new_id("e"), order.order_id, qty, order.px, fee, order.side, now_ns, listed_ns)
        self.fills.append(fill)
        order.filled_qty += qty
        order.last_fill_ns = fill.at_ns
        self.balances["BTC"] += sign * qty
        self.balances["USD"] -= sign * qty * order.px + fee

    def end(self, order: Order, status: str, message: str = "") -> None:
        order.status, order.message = status, message
        self.tell(order)
        if order.bracket and (order.filled_qty or self.rules.made_when == "start"):
            self._due(order)

    def _due(self, entry: Order) -> None:
        if self.rules.exit_lag_s:
            self._later(self.rng.uniform(0.0, self.rules.exit_lag_s), lambda: self._make(entry))
        else:
            self._make(entry)

    def _make(self, entry: Order) -> None:
        if entry.bracket is None:
            return  # it was refused before
        made = self.orders.get(entry.exit_id)
        if not entry.filled_qty:
            if made is not None and made.status == "PENDING":
                self.end(made, "CANCELLED", "its entry has filled nothing")
        elif made is None:
            drawn = self.rng.random() / self.rules.refuses_exits if self.rules.refuses_exits else 1.0
            if drawn >= 0.5:
                self._make_exit(entry, entry.filled_qty, "OPEN" if drawn >= 1.0 else "FAILED")
            else:
                entry.bracket = None
        elif made.status == "PENDING":
            made.status, made.qty = "OPEN", entry.filled_qty
            self.tell(made)
        elif made.status == "OPEN" and made.qty < entry.filled_qty and not made.is_being_cancelled:
            made.qty = entry.filled_qty
            self.tell(made)

    def _make_exit(self, entry: Order, qty: Decimal, status: str) -> None:
        assert entry.bracket is not None
        side = "SELL" if entry.side == "BUY" else "BUY"
        client_id = entry.exit_id if self.rules.has_client_id else ""
        made = Order(
            entry.exit_id, client_id, side, "trigger_bracket_gtc", qty, D(entry.bracket["limit_price"]), self.now_ns(),
            status, bracket=entry.bracket, entry_id=entry.order_id,
        )  # fmt: skip
        made.changes, made.ours, made.bracket = [], entry.ours, None
        self.orders[made.order_id] = made
        self.tell(made)

    # --- what is asked ----------------------------------------------------------------------------------------------

    def read(self, path: str, params: Sequence[tuple[str, str]], lag_ns: int = 0) -> Json | None:
        """The answer to a question; ``lag_ns``: listings leave out what is that new.  None: not found."""
        asked: dict[str, list[str]] = {}
        for name, value in params:
            asked.setdefault(name, []).append(value)
        until_ns = self.now_ns() - lag_ns
        if path == "/accounts":
            told = [(name, {"value": str(total), "currency": name}) for name, total in self.balances.items()]
            return {"accounts": [{"currency": name, "available_balance": value} for name, value in told]}
        if path == "/orders/historical/fills":
            return {"fills": self._list_fills(asked, until_ns), "cursor": ""}
        if path == "/orders/historical/batch":
            return {"orders": self._list_orders(asked, until_ns), "has_next": False, "cursor": ""}
        found = self._as_of(path.rpartition("/")[2], until_ns)
        return None if found is None else {"order": found}

    def _as_of(self, order_id: str, until_ns: int) -> Json | None:
        was = None
        for since_ns, record in self.history.get(order_id, ()):
            if since_ns > until_ns:
                break
            was = record
        if was is not None and self.rules.named_after_s and until_ns < self.named_ns(self.orders[order_id]):
            return {**was, "attached_order_id": "", "originating_order_id": ""}
        return was

    def named_ns(self, order: Order) -> int:
        """From when on records of an exit, or of its entry, say whose it is; never of an entry without one."""
        made = order if order.entry_id else self.orders.get(order.exit_id)
        return NEVER_NS if made is None else made.made_ns + int(self.rules.named_after_s * 1e9)

    def _list_orders(self, asked: dict[str, list[str]], until_ns: int) -> list[Json]:
        since = asked.get("start_date", [""])[0]
        statuses = asked.get("order_status", [])
        wanted = [one.order_id for one in reversed(self.orders.values()) if format_time(one.made_ns) >= since]
        found = [record for one in wanted if (record := self._as_of(one, until_ns)) is not None]
        return [record for record in found if not statuses or record["status"] in statuses]

    def _list_fills(self, asked: dict[str, list[str]], until_ns: int) -> list[Json]:
        since, ids = asked.get("start_sequence_timestamp", [""])[0], asked.get("order_ids")
        return [
            fill_of(one)
            for one in reversed(self.fills)
            if one.listed_ns <= until_ns
            and (ids is None or one.order_id in ids)
            and format_time(one.listed_ns) >= since
        ]
