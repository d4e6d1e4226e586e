"""The market behind the quotes: a book for each instrument, background flow in it, what a dealer makes of both.

Owns prices, liquidity, and whether an instrument trades.  Clients take what is quoted and rest nowhere in these books:
the venue is a dealer, its pending orders (``desk``) are triggers on quotes.  Matching is the shared engine's.  Pure:
time is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder, Filled
from connectors.matching.synthetic import FlowSettings, SyntheticFlow
from connectors.oanda.sandbox.candles import CandleStore
from connectors.oanda.sandbox.settings import SandboxInstrument, SandboxSettings
from connectors.oanda.sandbox.times import is_open
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass, Instrument

ZERO = Decimal(0)
_DEPTH = 4
"""Price levels that a quote shows."""
_CLIENT = "client"
_KINDS = {"CURRENCY": AssetClass.FX, "METAL": AssetClass.CFD, "CFD": AssetClass.CFD}

Level = tuple[Decimal, Decimal]


class Quote(msgspec.Struct, frozen=True):
    """What the dealer shows: levels best first, ``(price, units)``."""

    ts_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @property
    def bid(self) -> Decimal:
        return self.bids[0][0]

    @property
    def ask(self) -> Decimal:
        return self.asks[0][0]

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2

    @property
    def closeout_bid(self) -> Decimal:
        """What closing a large long position would bring: the last level shown."""
        return self.bids[-1][0]

    @property
    def closeout_ask(self) -> Decimal:
        return self.asks[-1][0]


class Taken(msgspec.Struct, frozen=True):
    """What an order got out of the book: units (unsigned) and their average price, exact."""

    units: Decimal = ZERO
    px: Decimal = ZERO


class Market:
    """One instrument.  ``halted`` is an operator's; hours are the venue's week where the settings keep it."""

    def __init__(self, rules: SandboxInstrument, settings: SandboxSettings) -> None:
        self.rules = rules
        self.instrument = make_instrument(rules)
        self.halted = False
        self.allowed = True
        """False: listed, and not for this account (INSTRUMENT_NOT_TRADEABLE)."""
        self.quote: Quote | None = None
        self.version = 0
        """Counts changes of the quote and of whether it trades."""
        self.candles = CandleStore(rules)
        self._settings = settings
        self._matches = 0
        self._orders = 0
        self._lives = 0
        self._frozen = False
        self._tradeable = True
        self._engine = self._new_engine()
        self._flow = self._new_flow(rules.start_px)

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> bool:
        """Let the market live until ``now_ns``; True when its quote or its state is another one."""
        tradeable = self.is_open(now_ns)
        changed = tradeable != self._tradeable
        self._tradeable = tradeable
        # Who comes while it is closed is shown the price at which it closed, as at the venue.
        if (tradeable or self.quote is None) and not self._frozen:
            self._flow.step(self._engine, now_ns)
        changed = self._refresh(now_ns) or changed
        if changed:
            self.version += 1
        return changed

    def is_open(self, now_ns: int) -> bool:
        if self.halted:
            return False
        return self._settings.hours == "always" or is_open(self.rules.hours, now_ns)

    @property
    def tradeable(self) -> bool:
        """As of the last step."""
        return self._tradeable and self.quote is not None

    def _refresh(self, now_ns: int) -> bool:
        if not self._engine.drain_changes() and self.quote is not None:
            return False
        bids, asks = self._engine.levels(Side.BUY, _DEPTH), self._engine.levels(Side.SELL, _DEPTH)
        if not bids or not asks:
            return False  # the last one stands until both sides are back
        made = Quote(now_ns, tuple(bids), tuple(asks))
        last = self.quote
        if last is not None and last.bids == made.bids and last.asks == made.asks:
            return False
        self.quote = made
        if self._tradeable:
            self.candles.add(now_ns, made.bid, made.ask)
        return True

    # --- trading ------------------------------------------------------------------------------------------------------

    def available(self, side: Side, limit_px: Decimal | None = None) -> Decimal:
        """Units that a taker of this side finds at ``limit_px`` or better."""
        return self._engine.sweep(side, qty=self.instrument.max_qty * 1_000, limit_px=limit_px)[0]

    def price_of(self, side: Side, units: Decimal) -> Decimal | None:
        """The average price of that many units now, as ``take`` would give it; None when there are not so many."""
        left, cost = units, ZERO
        for px, qty in self._engine.levels(side.opposite, 1 << 20):
            part = min(left, qty)
            left -= part
            cost += part * px
            if not left:
                return self._dealt(cost / units, side)
        return None

    def take(self, side: Side, units: Decimal, limit_px: Decimal | None, now_ns: int) -> Taken:
        """Take up to ``units`` at ``limit_px`` or better out of the book, at once."""
        self._orders += 1
        order = BookOrder(
            f"c{self._orders}",
            _CLIENT,
            side,
            OrderType.MARKET if limit_px is None else OrderType.LIMIT,
            units,
            limit_px,
            TimeInForce.IOC,
        )
        fills = [each for each in self._engine.submit(order, now_ns) if isinstance(each, Filled)]
        got = sum((fill.qty for fill in fills), ZERO)
        if not got:
            return Taken()
        average = sum((fill.qty * fill.px for fill in fills), ZERO) / got
        return Taken(got, self._dealt(average, side))

    def _dealt(self, average: Decimal, side: Side) -> Decimal:
        """An average on the price grid, never better for the client than what the book gave."""
        tick = self.rules.tick_px
        steps = (average / tick).to_integral_value(ROUND_FLOOR)
        if side is Side.BUY and steps * tick != average:
            steps += 1
        return steps * tick

    # --- an operator's hand -------------------------------------------------------------------------------------------

    def pin(self, bids: Sequence[Level], asks: Sequence[Level], now_ns: int) -> None:
        """These levels and no flow, until ``jump`` lets the market live again."""
        self._engine = self._new_engine()
        self._frozen = True
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for px, qty in levels:
                self._orders += 1
                self._engine.submit(
                    BookOrder(f"~p{self._orders}", MARKET_ACCOUNT, side, OrderType.LIMIT, qty, px), now_ns
                )
        self.step(now_ns)

    def jump(self, px: Decimal, now_ns: int) -> None:
        """A new book around ``px``, alive."""
        self._engine = self._new_engine()
        self._flow = self._new_flow(px)
        self._frozen = False
        self.step(now_ns)

    def _new_engine(self) -> MatchingEngine:
        return MatchingEngine(self.instrument, next_id=self._next_match)

    def _new_flow(self, px: Decimal) -> SyntheticFlow:
        settings, rules = self._settings, self.rules
        self._lives += 1
        shape = FlowSettings(
            rate_per_s=settings.rate_per_s * settings.speed,
            spread_bps=rules.spread_bps,
            depth_bps=2.0,
            orders_per_side=40,
            min_levels=8,
            order_notional=rules.order_notional,
            volatility_bps=rules.volatility_bps * math.sqrt(settings.speed),
        )
        return SyntheticFlow(self.instrument, settings.seed * 1_000 + self._lives, px, settings=shape)

    def _next_match(self) -> str:
        self._matches += 1
        return str(self._matches)


def make_instrument(rules: SandboxInstrument) -> Instrument:
    """The rules as the shared engine wants them."""
    return Instrument(
        id=f"{rules.base}/{rules.quote}@oanda",
        venue="oanda",
        venue_symbol=rules.name,
        base=rules.base,
        quote=rules.quote,
        settlement=rules.quote,
        asset_class=_KINDS.get(rules.kind, AssetClass.CFD),
        tick_px=rules.tick_px,
        lot_qty=rules.lot_qty,
        min_qty=rules.minimum_units,
        max_qty=rules.maximum_order_units,
        min_notional=ZERO,
        maker_fee_rate=ZERO,
        taker_fee_rate=ZERO,
        can_short=True,
        margin_rate=rules.margin_rate,
    )


class Markets:
    """All instruments, and what one currency is worth in another."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.by_name = {rules.name: Market(rules, settings) for rules in settings.instruments}

    def step(self, now_ns: int) -> list[Market]:
        """Let all live until ``now_ns``; those whose quote or state changed."""
        return [market for market in self.by_name.values() if market.step(now_ns)]

    def rates(self, currency: str, home: str) -> tuple[Decimal, Decimal, Decimal]:
        """``(gain, loss, middle)``: what one unit of ``currency`` is worth at home when it comes in, goes out, and by
        the middle.  Raises ``KeyError`` when nothing quotes the two."""
        if currency == home:
            return Decimal(1), Decimal(1), Decimal(1)
        straight = self.by_name.get(f"{currency}_{home}")
        if straight is not None and straight.quote is not None:
            quote = straight.quote
            return quote.bid, quote.ask, quote.mid
        turned = self.by_name.get(f"{home}_{currency}")
        if turned is not None and turned.quote is not None:
            quote = turned.quote
            return _rate(1 / quote.ask), _rate(1 / quote.bid), _rate(1 / quote.mid)
        raise KeyError(f"{currency}_{home}")


def _rate(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.0000000001"), ROUND_HALF_EVEN)
