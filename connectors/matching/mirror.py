"""A real market's liquidity inside our own book, so that paper orders wait in a queue and pay the spread.

Owns the orders of the account ``market`` in one engine, made from quotes and trades of a feed.  Matching is the
engine's.

Rules, each chosen so that a doubt costs us a fill and never gives one:

- Only the best level of each side is mirrored, and levels where one of our orders rests.  A taker bigger than the best
  size gets the best size; the rest finds no liquidity.
- A best size that grows joins the back of the queue; one that shrinks leaves from the back (cancels behind us) before
  it leaves ahead of us.  What left ahead of us is remembered: the trade that explains it, should it come after the
  quote, does not move us forward a second time.
- An order behind the best price joins a queue of the best level's size (what rests there is not told by a quote).
- A trade consumes the queue at its price in price-time order; a trade beyond our price fills us at our price.
- A quote through our resting order fills it at our price, up to the quote's size.
- What we took from a level is missing from it for ``refill_ns``: the feed does not know that we traded.
- What is left of an order that came to take and found too little, with a limit beyond the best price, waits for what
  the next quotes offer, at their prices: behind the best stand others that no quote tells of, and nobody is so far off.
- Crossed and locked quotes, and quotes and trades that are no numbers, change nothing here and are counted.
- While the price is in doubt (``withhold``) nothing is offered: what arrives finds nobody to trade with, and
  resting orders keep their places.
- Missing sizes (NaN) become ``assumed_notional`` of quote currency.

While no order of ours rests or waits, a quote costs a comparison and two assignments; the book is built when an order
arrives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder, Filled, LiveOrder, Opened, Outcome, Triggered
from engine.commands import OrderType, TimeInForce
from engine.events import Quote, Side, Trade
from engine.instruments import Instrument

_ZERO = Decimal(0)
_NOTHING: tuple[Outcome, ...] = ()

ASSUMED_NOTIONAL: Final = Decimal(100_000)
"""Quote currency at a best price whose size the feed does not tell."""
REFILL_NS: Final = 1_000_000_000
"""Feed time for which what we took is missing from a level."""


class MarketMirror:
    """Feeds one ``MatchingEngine`` with the outside market.

    Calls return outcomes of every account, in order; the caller picks its own.  ``assumed_notional`` is in quote
    currency, ``refill_ns`` in nanoseconds of feed time.
    """

    def __init__(
        self,
        engine: MatchingEngine,
        *,
        assumed_notional: Decimal = ASSUMED_NOTIONAL,
        refill_ns: int = REFILL_NS,
    ) -> None:
        self.engine = engine
        self.ignored_quotes = 0
        self.ignored_trades = 0
        self._instrument = engine.instrument
        self._assumed_notional = float(assumed_notional)
        self._refill_ns = refill_ns
        self._floor_px = -math.inf if engine.instrument.allows_negative_px else 0.0
        self._quote: Quote | None = None
        self._synced: Quote | None = None
        self._trade_px: float | None = None
        self._withheld = False
        self._order_count = 0
        self._credit: dict[tuple[Side, Decimal], Decimal] = {}
        """Quantity that left ahead of our orders without a trade, by our level."""
        self._taken: dict[Side, tuple[Decimal, Decimal, int]] = {}
        """Resting side -> (price, quantity we took there, when)."""
        self._takers: dict[str, None] = {}
        """Orders of ours that wait for the next quote to take more."""

    @property
    def has_market(self) -> bool:
        """Whether a usable quote was ever seen."""
        return self._quote is not None

    def define(self, instrument: Instrument) -> None:
        """The instrument's rules changed; the book stays."""
        self._instrument = instrument
        self.engine.instrument = instrument

    def mid_px(self) -> Decimal | None:
        """Middle of the last usable quote on the tick grid."""
        quote = self._quote
        return None if quote is None else self._instrument.price(0.5 * (quote.bid_px + quote.ask_px))

    def withhold(self) -> None:
        """The price is in doubt until the next quote: neither the last one nor the odd one is there to be taken."""
        self._withheld = True

    def on_quote(self, quote: Quote) -> Sequence[Outcome]:
        if not self._floor_px < quote.bid_px < quote.ask_px < math.inf:
            self.ignored_quotes += 1
            return _NOTHING
        self._quote = quote
        self._withheld = False
        if not self.engine.has_clients():
            return _NOTHING
        out: list[Outcome] = []
        self._sync(quote, quote.ts_recv_ns, out)
        return out

    def on_trade(self, trade: Trade) -> Sequence[Outcome]:
        if not (self._floor_px < trade.px < math.inf and 0.0 < trade.qty < math.inf):
            self.ignored_trades += 1
            return _NOTHING
        self._trade_px = trade.px
        if not self.engine.has_clients():
            return _NOTHING
        out: list[Outcome] = []
        px = self._instrument.price(trade.px)
        aggressor = self._aggressor(trade)
        if aggressor is not None:
            self._print(aggressor, px, self._instrument.quantity(trade.qty), trade.ts_recv_ns, out)
        self._took(self.engine.trigger(px, px, trade.ts_recv_ns), trade.ts_recv_ns, out)
        return out

    def submit(self, order: BookOrder, now_ns: int) -> list[Outcome]:
        """Bring the book up to the last quote and send one of our orders into it."""
        out = self.prepare(now_ns)
        if order.order_type is not OrderType.MARKET and order.limit_px is not None:
            self._queue_ahead(order.side, order.limit_px, now_ns, out)
        if self._withheld:
            self._drop_offers(order.side.opposite, out)
        done = self.engine.submit(order, now_ns)
        quote = self._quote
        if not self._instrument.has_trades and quote is not None:
            done.extend(self.engine.trigger(*self._touch(quote)[::-1], now_ns))
        self._took(done, now_ns, out)
        return out

    def prepare(self, now_ns: int) -> list[Outcome]:
        """The book as of the last usable quote; needed before reading it (``sweep``) while no order of ours rests."""
        out: list[Outcome] = []
        idle = not self.engine.has_clients()
        if not self._instrument.has_trades:
            # Stops of such an instrument go by its quotes; our own last fill may be hours old.
            self.engine.last_px = None
        elif idle and self._trade_px is not None:
            # Stops compare with the last trade, which was only remembered while nobody waited.
            self.engine.last_px = self._instrument.price(self._trade_px)
        if self._quote is not None and (idle or self._quote is not self._synced):
            self._sync(self._quote, now_ns, out)
        return out

    # --- inside -----------------------------------------------------------------------------------------------------

    def _touch(self, quote: Quote) -> tuple[Decimal, Decimal]:
        """Best bid and ask, outwards to the grid: a finer feed must not give us a better price than it showed."""
        return self._instrument.price(quote.bid_px, 1), self._instrument.price(quote.ask_px, -1)

    def _sync(self, quote: Quote, now_ns: int, out: list[Outcome]) -> None:
        self._synced = quote
        bid_px, ask_px = self._touch(quote)
        self._drop_levels(Side.BUY, bid_px, out)
        self._drop_levels(Side.SELL, ask_px, out)
        self._set_level(Side.BUY, bid_px, self._size(Side.BUY, bid_px, quote.bid_qty, now_ns), now_ns, out)
        self._set_level(Side.SELL, ask_px, self._size(Side.SELL, ask_px, quote.ask_qty, now_ns), now_ns, out)
        takers, self._takers = self._takers, {}
        for order_id in takers:
            self._took(self.engine.resume(order_id, now_ns), now_ns, out, order_id)
        if not self._instrument.has_trades:
            self._took(self.engine.trigger(ask_px, bid_px, now_ns), now_ns, out)

    def _took(self, done: Sequence[Outcome], now_ns: int, out: list[Outcome], order_id: str = "") -> None:
        """Orders of ours came to take, ``order_id`` or those that ``done`` tells of; ``out`` gets what happened."""
        self._remember_taken(done, now_ns)
        out.extend(done)
        if self._quote is None:
            return
        bid_px, ask_px = self._touch(self._quote)
        came = [one.order_id for one in done if type(one) is Opened or type(one) is Triggered]
        for name in [order_id, *came] if order_id else came:
            live = self.engine.order(name)
            if live is None or live.waiting or live.order.post_only or live.limit_px is None:
                continue
            if live.limit_px > ask_px if live.side is Side.BUY else live.limit_px < bid_px:
                self.engine.withdraw(name)
                self._takers[name] = None

    def _size(self, side: Side, px: Decimal, qty: float, now_ns: int) -> Decimal:
        """What is there for us at a best price: the quote's size less what we took a moment ago."""
        if not math.isfinite(qty):
            unit = float(self._instrument.notional(Decimal(1), px)) if px else 0.0
            qty = self._assumed_notional / unit if unit else 0.0
        size = self._instrument.quantity(max(0.0, qty))
        taken = self._taken.get(side)
        if taken is None:
            return size
        taken_px, taken_qty, since_ns = taken
        if taken_px != px or now_ns - since_ns >= self._refill_ns:
            del self._taken[side]
            return size
        return max(_ZERO, size - taken_qty)

    def _drop_levels(self, side: Side, best_px: Decimal, out: list[Outcome]) -> None:
        """Market orders better than the new best are gone; worse ones are forgotten unless one of ours rests there."""
        engine = self.engine
        ours = self._our_levels(side)
        for live in list(engine.orders_of(MARKET_ACCOUNT).values()):
            px = live.limit_px
            if live.side is not side or px is None or px == best_px:
                continue
            if (px - best_px) * side > 0:
                if px in ours:
                    self._give_credit(side, px, live, live.leaves_qty)
                self._cancel(live, out)
            elif px not in ours:
                self._cancel(live, out)
        for key in [key for key in self._credit if key[0] is side and key[1] not in ours]:
            del self._credit[key]

    def _drop_offers(self, side: Side, out: list[Outcome]) -> None:
        """Nobody is there to trade with.  The market's orders around ours stay, they are our place in the queue; the
        next look at the book brings the others back."""
        self._synced = None
        ours = self._our_levels(side)
        for live in list(self.engine.orders_of(MARKET_ACCOUNT).values()):
            if live.side is side and live.limit_px not in ours:
                self._cancel(live, out)

    def _our_levels(self, side: Side) -> set[Decimal]:
        levels: set[Decimal] = set()
        for level in self.engine.client_orders():
            if level.side is side and not level.waiting and level.limit_px is not None:
                levels.add(level.limit_px)
        return levels

    def _set_level(self, side: Side, px: Decimal, target_qty: Decimal, now_ns: int, out: list[Outcome]) -> None:
        queue = self.engine.queue(side, px)
        delta = target_qty - sum((live.leaves_qty for live in queue if live.account == MARKET_ACCOUNT), _ZERO)
        if delta > 0:
            self._send(side, px, delta, TimeInForce.GTC, now_ns, out)
            return
        for live in reversed(queue):
            if delta >= 0:
                return
            if live.account != MARKET_ACCOUNT:
                continue
            cut = min(-delta, live.leaves_qty)
            delta += cut
            self._give_credit(side, px, live, cut)
            closed = self.engine.reduce(live.order_id, cut)
            if closed is not None:
                out.append(closed)

    def _give_credit(self, side: Side, px: Decimal, leaving: LiveOrder, qty: Decimal) -> None:
        """Remember quantity that leaves while an order of ours stands behind it."""
        queue = self.engine.queue(side, px)
        if any(live.account != MARKET_ACCOUNT and live.seq > leaving.seq for live in queue):
            self._credit[side, px] = self._credit.get((side, px), _ZERO) + qty

    def _queue_ahead(self, side: Side, px: Decimal, now_ns: int, out: list[Outcome]) -> None:
        """Before our order joins a level behind the best that no quote has told about: assume the best level's size."""
        best_px = self.engine.best_px(side)
        if best_px is None or (px - best_px) * side >= 0 or self.engine.queue(side, px):
            return
        qty = self.engine.qty_at(side, best_px)
        if qty > 0:
            self._send(side, px, qty, TimeInForce.GTC, now_ns, out)

    def _print(self, aggressor: Side, px: Decimal, qty: Decimal, now_ns: int, out: list[Outcome]) -> None:
        """A public trade runs over the resting side: what it explains of earlier credit moves nobody again."""
        resting = aggressor.opposite
        self._drop_better(resting, px, out)
        for key in sorted((k for k in self._credit if k[0] is resting), key=lambda k: -k[1] * resting):
            if (key[1] - px) * resting < 0:
                break
            absorbed = min(qty, self._credit[key])
            qty -= absorbed
            self._credit[key] -= absorbed
            if not self._credit[key]:
                del self._credit[key]
        if qty > 0:
            self._send(aggressor, px, qty, TimeInForce.IOC, now_ns, out)

    def _drop_better(self, side: Side, px: Decimal, out: list[Outcome]) -> None:
        """It traded at ``px``: market orders of that side at better prices are no longer there."""
        for live in list(self.engine.orders_of(MARKET_ACCOUNT).values()):
            if live.side is side and live.limit_px is not None and (live.limit_px - px) * side > 0:
                self._give_credit(side, live.limit_px, live, live.leaves_qty)
                self._cancel(live, out)

    def _aggressor(self, trade: Trade) -> Side | None:
        """As told; else by the last quote: at the ask or above a buyer, at the bid or below a seller, inside nobody."""
        if trade.aggressor:
            return Side.BUY if trade.aggressor > 0 else Side.SELL
        quote = self._quote
        if quote is None or quote.bid_px < trade.px < quote.ask_px:
            return None
        return Side.BUY if trade.px >= quote.ask_px else Side.SELL

    def _remember_taken(self, outcomes: Sequence[Outcome], now_ns: int) -> None:
        for outcome in outcomes:
            if type(outcome) is not Filled or outcome.maker_account != MARKET_ACCOUNT:
                continue
            side = outcome.aggressor.opposite
            before = self._taken.get(side)
            qty = outcome.qty
            if before is not None and before[0] == outcome.px and now_ns - before[2] < self._refill_ns:
                qty += before[1]
            self._taken[side] = (outcome.px, qty, now_ns)

    def _send(
        self, side: Side, px: Decimal, qty: Decimal, time_in_force: TimeInForce, now_ns: int, out: list[Outcome]
    ) -> None:  # fmt: skip
        self._order_count += 1
        order = BookOrder(
            f"~m{self._order_count}", MARKET_ACCOUNT, side, OrderType.LIMIT, qty, px, time_in_force=time_in_force
        )
        out.extend(self.engine.submit(order, now_ns))

    def _cancel(self, live: LiveOrder, out: list[Outcome]) -> None:
        closed = self.engine.cancel(live.order_id, 0)
        if closed is not None:
            out.append(closed)
