"""What an exchange can do, read from the library's ``has``, and which of it this connector uses.

Owns the matrix: each of our needs with the ways to it, best first.  ``has`` says True, False, None or ``emulated``;
only True counts.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.commands import OrderType, TimeInForce
from engine.offers import Offer

QUOTE_WAYS: Final = ("watchBidsAsks", "watchOrderBook", "watchTicker", "fetchOrderBook", "fetchBidsAsks", "fetchTicker")
"""A stream of best prices; else a book, of which they are the first level; a ticker is the last choice among streams,
as not every exchange's has best prices in it."""
TRADE_WAYS: Final = ("watchTrades", "fetchTrades")
BOOK_WAYS: Final = ("watchOrderBook", "fetchOrderBook")
HINT_WAYS: Final = ("watchOrders", "watchMyTrades")
"""Both are followed: some exchanges tell executions by the second one alone."""
LISTING_WAYS: Final = ("fetchClosedOrders", "fetchCanceledAndClosedOrders", "fetchOrders")
NEEDED: Final = ("createOrder", "cancelOrder", "fetchOpenOrders", "fetchBalance", "fetchMyTrades")
"""Without any one of these nothing is ordered: what became of an order could not be told."""

PREFERRED: Final[dict[str, tuple[str, ...]]] = {
    # Its ticker has best prices and their sizes, its book stream begins with thousands of levels.
    "coinbase": ("watchTicker",),
}
MAKERS_SIDE: Final = frozenset({"coinbase"})
"""Exchanges whose public trades the library tells with the side of the resting order, as they do themselves."""


class Needs(msgspec.Struct, frozen=True):
    """The way that is used for each need, empty for none.  ``missing``: what stands against order entry."""

    exchange: str
    quotes: str
    trades: str
    book: str
    history: str
    order_hints: tuple[str, ...]
    order_state: str
    fills: str
    listing: str
    server_time: str
    dead_man: str
    """Cancels everything after a time, unless it is asked again."""
    missing: tuple[str, ...]

    @property
    def has_sizes(self) -> bool:
        """Whether best prices come with sizes: tickers of few exchanges have them."""
        return "Ticker" not in self.quotes or self.quotes in PREFERRED.get(self.exchange, ())

    @property
    def can_trade(self) -> bool:
        return not self.missing

    def rows(self) -> list[tuple[str, str, str]]:
        """``(need, way, remark)`` for people."""
        ways = (
            ("best prices", self.quotes),
            ("public trades", self.trades),
            ("order book", self.book),
            ("history", self.history),
            ("news of own orders", " ".join(self.order_hints)),
            ("state of an order", self.order_state),
            ("own executions", self.fills),
            ("closed orders", self.listing),
            ("clock", self.server_time),
            ("dead man's switch", self.dead_man),
        )
        found = [(need, way or "-", _remark(need, way)) for need, way in ways]
        verdict = "yes" if self.can_trade else "no"
        return [*found, ("order entry", verdict, "" if self.can_trade else "lacks " + ", ".join(self.missing))]


def _remark(need: str, way: str) -> str:
    if way.startswith("watch"):
        return "stream"
    if not way:
        return "orders are asked about" if need == "news of own orders" else "none"
    return "polled" if need in ("best prices", "public trades", "order book") else "asked"


def has(abilities: Mapping[str, object], name: str) -> bool:
    """Whether the exchange itself has it: not where the library emulates it or does not know."""
    return abilities.get(name) is True


def needs_of(exchange: str, abilities: Mapping[str, object]) -> Needs:
    """``abilities`` is the library's ``has``."""

    def first(ways: tuple[str, ...]) -> str:
        return next((way for way in ways if has(abilities, way)), "")

    return Needs(
        exchange=exchange,
        quotes=first((*PREFERRED.get(exchange, ()), *QUOTE_WAYS)),
        trades=first(TRADE_WAYS),
        book=first(BOOK_WAYS),
        history=first(("fetchOHLCV",)),
        order_hints=tuple(way for way in HINT_WAYS if has(abilities, way)),
        order_state=first(("fetchOrder",)),
        fills=first(("fetchMyTrades",)),
        listing=first(LISTING_WAYS),
        server_time=first(("fetchTime",)),
        dead_man=first(("cancelAllOrdersAfter",)),
        missing=tuple(name for name in NEEDED if not has(abilities, name)),
    )


_GTC, _IOC, _FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK


NO_ALL_OR_NOTHING: Final = frozenset({"kraken"})
"""Exchanges that know no such order, though the library's ``features`` promise it."""


def offer_of(features: object, exchange: str = "") -> Offer:
    """What an exchange takes on its spot market, as the library's ``features`` say.

    Immediate orders unless they are denied, all-or-nothing only where they are promised.  Stops are not among them:
    which way a trigger points differs from class to class (at Coinbase ``triggerPrice`` of a sell waits for a rise), so
    they are watched here.
    """
    forces = _forces(features)
    kinds = {(OrderType.LIMIT, _GTC), (OrderType.MARKET, _GTC), (OrderType.MARKET, _IOC)}
    if forces.get("IOC") is not False:
        kinds.add((OrderType.LIMIT, _IOC))
    if forces.get("FOK") is True and exchange not in NO_ALL_OR_NOTHING:
        kinds.add((OrderType.LIMIT, _FOK))
    return Offer(frozenset(kinds))


def _forces(features: object) -> Mapping[str, object]:
    spot = features.get("spot") if isinstance(features, dict) else None
    create = spot.get("createOrder") if isinstance(spot, dict) else None
    forces = create.get("timeInForce") if isinstance(create, dict) else None
    return forces if isinstance(forces, dict) else {}


def takes(features: object, order_type: OrderType, time_in_force: TimeInForce, *, post_only: bool) -> str:
    """Why an exchange does not take such an order on its spot market, as its ``features`` say; empty where it does.

    What they do not say is left to the exchange.
    """
    name = "PO" if post_only else {_IOC: "IOC", _FOK: "FOK"}.get(time_in_force, "")
    if order_type is OrderType.LIMIT and name and _forces(features).get(name) is False:
        return f"the exchange has no {'post-only' if post_only else name} orders"
    return ""
