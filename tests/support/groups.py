"""Orders that belong together, on an account with prices of its own: wishes, and a trader that has them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from engine import events as e
from engine.carried import encode_carried
from engine.commands import GroupEnded, GroupIntent, NewOrder, NewOrderWithExits, OrderIntent, OrderType, TimeInForce
from engine.offers import ALL_PLAIN, Offer
from engine.order_ids import attached_id
from engine.recovery import Recovery
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import BTC, intent, quote
from tests.support.limits import make_limits

D = Decimal
SECOND_NS = 1_000_000_000
NO_STOPS = Offer(frozenset(kind for kind in ALL_PLAIN.kinds if kind[0] is not OrderType.STOP_LIMIT))
ATTACHES = Offer(
    ALL_PLAIN.kinds | {(OrderType.BRACKET, TimeInForce.GTC)},
    entries=frozenset({(OrderType.LIMIT, TimeInForce.IOC), (OrderType.LIMIT, TimeInForce.GTC)}),
)
BRACKETS = Offer(ALL_PLAIN.kinds | {(OrderType.BRACKET, TimeInForce.GTC)})
HOLDS = Offer(
    NO_STOPS.kinds
    | {(kind, TimeInForce.GTC) for kind in (OrderType.STOP, OrderType.MARKET_IF_TOUCHED, OrderType.BRACKET)},
    trails=True,
    bounds_stops=True,
)
"""A venue that holds exits of every kind, a stop-limit as a stop with a bound."""


def exit_of(kind: OrderType, qty: str = "2", **changes: Any) -> OrderIntent:
    fields = {"order_type": kind, "limit_px": None, "time_in_force": TimeInForce.GTC, "reduce_only": True, **changes}
    return intent(e.Side.SELL, qty, **fields)


def target(px: str = "110", qty: str = "2", **changes: Any) -> OrderIntent:
    return exit_of(OrderType.LIMIT, qty, limit_px=D(px), **changes)


def stop(px: str = "90", qty: str = "2", **changes: Any) -> OrderIntent:
    return exit_of(OrderType.STOP, qty, trigger_px=D(px), **changes)


STOP_LIMIT = exit_of(OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(89))
# Enters when the price has risen there.
RISE = intent(limit_px=None, order_type=OrderType.STOP, trigger_px=D(105), time_in_force=TimeInForce.GTC)


def bracket(*exits: OrderIntent, qty: str = "2") -> GroupIntent:
    return GroupIntent(1, "s", exits or (target(qty=qty), stop(qty=qty)), intent(qty=qty))


class Trader(Account):
    """An account with prices of its own and a clock that can be moved."""

    def price(self, bid_px: float, after_ns: int = 1) -> None:
        """Told five times: a jump is believed when others confirm it, a far one at the fifth."""
        self.now_ns += after_ns
        for _ in range(5):
            self.now_ns += 1
            self.publish(quote(self.now_ns, bid_px, bid_px + 0.01))

    def wait(self, after_ns: int) -> None:
        self.now_ns += after_ns
        self.publish(e.Timer(self.now_ns, self.now_ns, "heartbeat"))

    def attach(self, entry: NewOrder, qty: str) -> NewOrder:
        """The venue tells of the exit that came with an entry."""
        at, wish = self._at(), entry.intent
        assert isinstance(entry, NewOrderWithExits)
        name = attached_id(entry.client_order_id)
        prices = (entry.target_px, entry.trigger_px)
        self.publish(
            e.OrderAttached(
                at, at, "coinbase", name, f"v-{name}", entry.client_order_id, wish.instrument, wish.side.opposite,
                D(qty), *prices,
            )
        )  # fmt: skip
        found = self.core.orders.get(name)
        assert found is not None
        return found.new

    def miss(self, entry: NewOrder) -> None:
        """The venue has made none."""
        at = self._at()
        self.publish(e.AttachmentMissing(at, at, "coinbase", entry.client_order_id, "absent"))

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def last(self) -> NewOrder:
        return self.venue.orders[-1]

    @property
    def ended(self) -> list[str]:
        return [record.reason for record in self.of(GroupEnded)]


def holding(wish: GroupIntent | None = None, qty: str = "2", **options: Any) -> tuple[Trader, NewOrder]:
    """A bracket whose entry has filled; returns what is at the venue after that."""
    trader = Trader(**options)
    trader.wish(wish or bracket(qty=qty))
    entry = trader.last
    trader.accept(entry)
    trader.fill(entry, qty, "100", "entry")
    return trader, trader.last


def stopped(wish: OrderIntent | GroupIntent, **options: Any) -> Trader:
    """A position of 2 with an exit that waits here."""
    trader = Trader(**options)
    trader.fill(trader.place(qty="2"), "2", "100", "t1")
    trader.wish(wish)
    return trader


def entered(qty: str = "2", *, gtc: bool = False, **options: Any) -> tuple[Trader, NewOrder]:
    """A bracket that left with its entry, of which ``qty`` has filled; its exit has not shown itself."""
    trader = Trader(offers={"coinbase": ATTACHES}, **options)
    wish = bracket()
    if gtc:
        wish = msgspec.structs.replace(wish, entry=intent(qty="2", time_in_force=TimeInForce.GTC))
    trader.wish(wish)
    entry = trader.last
    trader.accept(entry)
    if D(qty):
        trader.fill(entry, qty, "100", "entry")
    return trader, entry


def entries(*wishes: OrderIntent) -> GroupIntent:
    return GroupIntent(1, "s", wishes)


def restarted(before: Trader, how: str, **options: Any) -> Trader:
    """The next session: after an orderly last state, or after a kill, from the records alone."""
    if how == "kept":
        state = before.keep().state
    else:
        recovery = Recovery("USD")
        recovery.take(before.records)
        state = encode_carried(recovery.left())
    after = Trader(opened=False, id_prefix="l", **options)
    after.publish(e.StateCarried(1, 1, "before", 0, state))
    after.open()
    after.now_ns = before.now_ns
    return after


def settle(trader: Trader, btc: Decimal, *open_ids: str) -> None:
    """The venue confirms the account as it is."""
    usd = trader.core.portfolio.cash()["USD"]
    for name in open_ids:
        at = trader._at()
        trader.publish(e.OrderAccepted(at, at, "coinbase", name, f"v-{name}"))
    at = trader._at()
    trader.publish(e.AccountSettled(at, at, "coinbase", (("USD", usd), ("BTC", btc)), open_ids))


def exits(trader: Trader) -> list[NewOrder]:
    """Exits that we have sent."""
    return [order for order in trader.venue.orders if order.intent.side is e.Side.SELL]


def guarded(wish: GroupIntent | None = None, *, offer: Offer = ALL_PLAIN, **limits: Any) -> Trader:
    """Behind the real gate, with equity known; ``wish`` is a bracket whose entry of 2 has filled."""
    usual = {"allowed_instruments": [BTC], "duplicate_window_ns": 1, "collar_bps": 2000}
    trader = Trader(gate=Gate(make_limits(**{**usual, **limits})), offers={"coinbase": offer})
    trader.wait(1)
    if wish is not None:
        trader.wish(wish)
        trader.fill(trader.last, "2", "100", "entry")
    return trader
