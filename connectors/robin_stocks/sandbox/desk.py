"""Orders at the venue's desk: taken, shown, filled from the market behind, cancelled, expired.

Owns what happens to an order once its request made sense; requests are read by ``requests``.  Pure: time is given.

Orders wait here and take from the market when its quotes reach them, as a wholesaler fills a retail customer.  An order
for regular hours is queued outside of them.  Stops look at the last trade, a trailing one follows it; an order of
several legs trades when their best prices together reach its own.  A cancel is taken at once and carried out a step
later: what fills in between has filled.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.errors import ApiError, detail
from connectors.robin_stocks.sandbox.market import ZERO, Market
from connectors.robin_stocks.sandbox.records import OPEN, Execution, Leg, Order
from connectors.robin_stocks.sandbox.settings import SandboxSettings
from connectors.robin_stocks.sandbox.times import NS, MarketHours
from engine.events import Side

_GTC_NS = 90 * 86_400 * NS


class Desk:
    """Of all accounts.  ``began_ns`` keeps the ids of one sandbox apart from those of the next."""

    def __init__(self, settings: SandboxSettings, hours: MarketHours, began_ns: int) -> None:
        self.settings = settings
        self.hours = hours
        self.received = 0
        self._began_ns = began_ns
        self._number = 0

    def new_id(self, what: str) -> str:
        """The same in every run that began at the same time and was asked the same."""
        self._number += 1
        return str(uuid5(NAMESPACE_URL, f"kestrel/{self._began_ns}/{self.settings.seed}/{what}/{self._number}"))

    @property
    def number(self) -> int:
        return self._number

    # --- requests -----------------------------------------------------------------------------------------------------

    def place(self, account: Account, order: Order, now_ns: int) -> Order:
        """Take an order that was read; the one that answers (the first of a used reference).  Raises ``ApiError``."""
        self.received += 1
        switches = self.settings.switches
        known = account.by_ref.get(order.ref_id)
        if known is not None and switches.duplicate_ref_id == "original":
            return known
        if known is not None and switches.duplicate_ref_id == "reject":
            raise ApiError(400, {"ref_id": ["This field must be unique."]})
        if len(account.open) >= self.settings.max_open:
            raise detail(400, "You have too many open orders.")
        if any(leg.market.halted for leg in order.legs) and switches.halted_orders == "reject":
            raise detail(400, "This instrument is not currently tradable.")
        self._start(order, now_ns)
        short = order.unit_hold * order.leaves > account.buying_power
        if short and switches.short_of_money == "refuse":
            raise detail(400, "You do not have enough buying power to place this order.")
        if short:
            order.state, order.reject_reason = "rejected", "Not enough buying power."
        account.add(order)
        return order

    def _start(self, order: Order, now_ns: int) -> None:
        kind = order.market_hours
        if order.kind == "coin":
            order.expire_ns = now_ns + _GTC_NS
            return
        if order.time_in_force == "gfd":
            order.expire_ns = self.hours.ends(kind, now_ns)
        elif order.time_in_force == "gtc":
            order.expire_ns = now_ns + _GTC_NS
        elif order.time_in_force == "opg":
            order.not_before_ns = self.hours.next_start(kind, now_ns)
        if not self._is_tradable(order, now_ns):
            order.state = "queued"

    def cancel(self, account: Account, order_id: str, kind: str, now_ns: int) -> None:
        """Raises ``ApiError``: 404 for an order that is not there, 400 for one that is done."""
        order = account.orders.get(order_id)
        if order is None or order.kind != kind:
            raise detail(404, "Not found.")
        if not order.is_open or order.cancel_asked:
            raise detail(400, "Order cannot be cancelled at this time.")
        order.cancel_asked = True
        order.updated_ns = now_ns

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self, accounts: Iterable[Account], now_ns: int) -> None:
        """Everything that time and the market do to open orders."""
        for account in accounts:
            for order in list(account.open.values()):
                self._advance(account, order, now_ns)

    def _advance(self, account: Account, order: Order, now_ns: int) -> None:
        if order.cancel_asked:
            self._end(account, order, self.settings.switches.cancelled, now_ns)
            return
        if now_ns >= order.expire_ns:
            self._end(account, order, self.settings.switches.cancelled, now_ns)
            return
        if not self._is_tradable(order, now_ns):
            if order.state == "unconfirmed":
                self._become(order, "queued", now_ns)
            return
        if order.state in ("unconfirmed", "queued"):
            self._become(order, "confirmed", now_ns)
        if order.trigger == "stop" and not order.triggered and not self._reached(order, now_ns):
            return
        if len(order.legs) == 1:
            self._take(account, order, now_ns)
        else:
            self._take_together(account, order, now_ns)
        if order.is_open and order.time_in_force in ("ioc", "opg"):
            self._end(account, order, self.settings.switches.cancelled, now_ns)

    def _is_tradable(self, order: Order, now_ns: int) -> bool:
        if any(leg.market.halted for leg in order.legs) or now_ns < order.not_before_ns:
            return False
        return order.kind == "coin" or self.hours.trades(order.market_hours, now_ns)

    def _reached(self, order: Order, now_ns: int) -> bool:
        """Whether a stop's price was reached; a trailing stop follows the market first."""
        px = watched_px(order.legs[0].market)
        if px is None or order.stop_px is None:
            return False
        if order.trail is not None:
            away = order.trail.amount if order.trail.kind == "price" else px * order.trail.amount / 100
            stop = order.legs[0].market.on_grid(px + order.side * away, up=order.side is Side.BUY)
            if (stop - order.stop_px) * order.side < 0:
                order.stop_px, order.updated_ns = stop, now_ns
        order.triggered = (px - order.stop_px) * order.side >= 0
        return order.triggered

    # --- executions ---------------------------------------------------------------------------------------------------

    def _take(self, account: Account, order: Order, now_ns: int) -> None:
        leg = order.legs[0]
        limit_px = order.price if order.type == "limit" else None
        for fill in leg.market.take(leg.side, order.leaves, limit_px, now_ns):
            order.filled += fill.qty
            order.notional += fill.qty * fill.px
            self._execute(account, order, leg, fill.qty, fill.px, now_ns)
        self._filled(account, order, now_ns)

    def _take_together(self, account: Account, order: Order, now_ns: int) -> None:
        """Every leg at its best price, as many units as all of them have there."""
        net, units = ZERO, order.leaves
        best: list[tuple[Leg, Decimal]] = []
        for leg in order.legs:
            quote = leg.market.quote
            if quote is None:
                return
            px, qty = (quote.ask, quote.ask_qty) if leg.side is Side.BUY else (quote.bid, quote.bid_qty)
            net += leg.signed * px
            units = min(units, qty // leg.ratio)
            best.append((leg, px))
        if units <= 0 or order.price is None or (net - order.side * order.price) > 0:
            return
        for leg, px in best:
            for fill in leg.market.take(leg.side, units * leg.ratio, px, now_ns):
                self._execute(account, order, leg, fill.qty, fill.px, now_ns)
        order.filled += units
        order.notional += units * abs(net)
        self._filled(account, order, now_ns)

    def _execute(self, account: Account, order: Order, leg: Leg, qty: Decimal, px: Decimal, now_ns: int) -> None:
        leg.executions.append(Execution(self.new_id("execution"), now_ns, px, qty))
        account.book(order, leg, qty, px, self.settings.sell_fee_rate, now_ns)
        order.updated_ns = now_ns

    def _filled(self, account: Account, order: Order, now_ns: int) -> None:
        if not order.leaves:
            self._end(account, order, "filled", now_ns)
        elif order.filled and order.state == "confirmed":
            self._become(order, "partially_filled", now_ns)

    @staticmethod
    def _become(order: Order, state: str, now_ns: int) -> None:
        order.state, order.updated_ns = state, now_ns

    def _end(self, account: Account, order: Order, state: str, now_ns: int) -> None:
        self._become(order, state, now_ns)
        assert state not in OPEN
        account.ended(order)


def watched_px(market: Market) -> Decimal | None:
    """What a stop looks at: the last trade, or the middle of the quote where nobody trades but clients."""
    if market.last_px is not None:
        return market.last_px
    return None if market.quote is None else market.quote.mid
