"""Intents, changes of a fake view and short ways to the gate, for the tests of risk."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.commands import Approved, OrderIntent, OrderType, Rejected, Verdict
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from risk.limits import Limits
from tests.support.fake_view import FakeView, make_instrument
from tests.support.limits import NAME, make_limits

D = Decimal
SECOND_NS = 1_000_000_000
PERP = "BTC/USDT@binance_usdm"
OTHER = "ETH/USD@coinbase"
EURO = "BTC/EUR@coinbase"
TWO = [NAME, OTHER]


def order(**changes: Any) -> OrderIntent:
    """Buy 1 at 100.02 IOC, unless changed."""
    values: dict[str, Any] = {
        "ts_ns": 1,
        "strategy": "s",
        "instrument": NAME,
        "side": Side.BUY,
        "qty": D(1),
        "order_type": OrderType.LIMIT,
        "limit_px": D("100.02"),
    }
    return OrderIntent(**{**values, **changes})


def market(**changes: Any) -> OrderIntent:
    return order(order_type=OrderType.MARKET, limit_px=None, **changes)


def leave(**changes: Any) -> OrderIntent:
    """Sell 1 at 99.98, reduce-only, unless changed."""
    return order(**{"side": Side.SELL, "limit_px": D("99.98"), "reduce_only": True, **changes})


def leave_at_market(**changes: Any) -> OrderIntent:
    return leave(**{"order_type": OrderType.MARKET, "limit_px": None, **changes})


def check_of(verdict: Verdict) -> str:
    """Name of the check that refused, empty when approved."""
    return verdict.check if isinstance(verdict, Rejected) else ""


def review(intent: OrderIntent, view: FakeView | None = None, limits: Limits | None = None) -> str:
    return check_of(Gate(limits or make_limits()).review(intent, view or FakeView()))


def send(gate: Gate, view: FakeView, intent: OrderIntent) -> str:
    """Review; when approved, open and cancel at once, so that only the pace remembers it."""
    verdict = gate.review(intent, view)
    if isinstance(verdict, Approved):
        opened = view.open(intent)
        gate.on_opened(opened)
        view.close(opened.client_order_id)
    return check_of(verdict)


def change(name: str, value: object) -> Callable[[FakeView], None]:
    return lambda view: setattr(view, name, value)


def quote(bid_px: float, ask_px: float, **flags: bool) -> Callable[[FakeView], None]:
    return lambda view: view.quote(NAME, bid_px, ask_px, **flags)


def age(seconds: float) -> Callable[[FakeView], None]:
    return lambda view: setattr(view, "now_ns", view.now_ns + int(seconds * SECOND_NS))


def short_view() -> FakeView:
    """A perpetual that may be sold short."""
    perp = make_instrument(PERP, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD")
    return FakeView(perp)


def held(qty: str = "1", name: str = NAME) -> FakeView:
    view = FakeView()
    view.hold(name, D(qty), strategy="s")
    return view


def two_coins() -> FakeView:
    return FakeView(make_instrument(NAME), make_instrument(OTHER))
