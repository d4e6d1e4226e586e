"""The market behind one thing that is quoted: a book, background flow in it, or a dealer who quotes a model's price.

Owns prices and liquidity.  Clients take what is quoted and rest nowhere in these books: their orders wait at the desk
(``desk``), as a wholesaler holds them.  Matching is the shared engine's.  Pure: time is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder, Filled
from connectors.matching.synthetic import FlowSettings, SyntheticFlow
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass, Instrument

ZERO = Decimal(0)
_CLIENT = "client"
Level = tuple[Decimal, Decimal]


class Quote(msgspec.Struct, frozen=True):
    """Best prices and what lies there."""

    ts_ns: int
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


class Market:
    """``key`` is what holdings are called: a ticker, an option's id, a coin.  ``halted`` is an operator's.

    ``takes_parts``: clients may trade parts of a lot, which others in this market never do.
    """

    def __init__(
        self,
        key: str,
        *,
        tick_px: Decimal,
        lot_qty: Decimal,
        multiplier: Decimal = Decimal(1),
        asset_class: AssetClass = AssetClass.EQUITY,
        takes_parts: bool = False,
    ) -> None:
        self.key = key
        self.takes_parts = takes_parts
        self.instrument = _instrument(key, tick_px, lot_qty, multiplier, asset_class)
        self.halted = False
        self.pinned = False
        """An operator has said what it quotes."""
        self.quote: Quote | None = None
        self.last_px: Decimal | None = None
        self.volume = ZERO
        self._matches = 0
        self._orders = 0
        self._lives = 0
        self._engine = self._new_engine()
        self._flow: SyntheticFlow | None = None
        self._shape: tuple[FlowSettings, int] | None = None

    @property
    def multiplier(self) -> Decimal:
        return self.instrument.multiplier

    # --- time ---------------------------------------------------------------------------------------------------------

    def live(self, px: Decimal, shape: FlowSettings, seed: int) -> None:
        """Background flow around ``px`` from now on."""
        self._shape = (shape, seed)
        self._lives += 1
        self._engine = self._new_engine()
        self._flow = SyntheticFlow(self.instrument, seed * 1_000 + self._lives, px, settings=shape)

    def step(self, now_ns: int) -> bool:
        """Let it live until ``now_ns``; True when its quote is another one."""
        if self._flow is not None and not self.halted:
            for each in self._flow.step(self._engine, now_ns):
                if type(each) is Filled:
                    self.volume += each.qty
        return self._refresh(now_ns)

    def _refresh(self, now_ns: int) -> bool:
        if self._engine.last_px is not None:
            self.last_px = self._engine.last_px
        if not self._engine.drain_changes() and self.quote is not None:
            return False
        best = self._engine.best()
        if best is None:
            return False  # the last one stands until both sides are back
        last = self.quote
        if last is not None and best == (last.bid, last.bid_qty, last.ask, last.ask_qty):
            return False
        self.quote = Quote(now_ns, *best)
        return True

    # --- trading ------------------------------------------------------------------------------------------------------

    def take(self, side: Side, qty: Decimal, limit_px: Decimal | None, now_ns: int) -> list[Filled]:
        """Take up to ``qty`` at ``limit_px`` or better out of the book, at once; one fill for each price."""
        self._orders += 1
        kind = OrderType.MARKET if limit_px is None else OrderType.LIMIT
        order = BookOrder(f"c{self._orders}", _CLIENT, side, kind, qty, limit_px, TimeInForce.IOC)
        fills = [each for each in self._engine.submit(order, now_ns) if type(each) is Filled]
        merged: dict[Decimal, Filled] = {}
        for fill in fills:
            known = merged.get(fill.px)
            merged[fill.px] = fill if known is None else msgspec.structs.replace(known, qty=known.qty + fill.qty)
        self._refresh(now_ns)
        return list(merged.values())

    def levels(self, side: Side, depth: int) -> list[Level]:
        return self._engine.levels(side, depth)

    # --- somebody's hand ----------------------------------------------------------------------------------------------

    def pin(self, bids: Sequence[Level], asks: Sequence[Level], now_ns: int, *, by_hand: bool = True) -> None:
        """These levels and no flow, until ``jump``; a dealer's quotes are made of this too."""
        self._engine = self._new_engine()
        self.pinned = by_hand
        self._flow = None
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for px, qty in levels:
                self._orders += 1
                order = BookOrder(f"~p{self._orders}", MARKET_ACCOUNT, side, OrderType.LIMIT, qty, px)
                self._engine.submit(order, now_ns)
        self._refresh(now_ns)

    def jump(self, px: Decimal, now_ns: int) -> None:
        """A new book around ``px``, alive."""
        self.pinned = False
        if self._shape is not None:
            self.live(px, *self._shape)
        self.last_px = px
        self.step(now_ns)

    def on_grid(self, px: Decimal, *, up: bool) -> Decimal:
        tick = self.instrument.tick_px
        return (px / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick

    def _new_engine(self) -> MatchingEngine:
        return MatchingEngine(self.instrument, next_id=self._next_match)

    def _next_match(self) -> str:
        self._matches += 1
        return str(self._matches)


def flow_shape(
    rate_per_s: float, spread_bps: float, volatility_bps: float, order_notional: float, speed: float
) -> FlowSettings:
    return FlowSettings(
        rate_per_s=rate_per_s * speed,
        spread_bps=spread_bps,
        depth_bps=3.0,
        orders_per_side=30,
        min_levels=5,
        order_notional=order_notional,
        volatility_bps=volatility_bps * math.sqrt(speed),
    )


def _instrument(
    key: str, tick_px: Decimal, lot_qty: Decimal, multiplier: Decimal, asset_class: AssetClass
) -> Instrument:
    """The rules as the shared engine wants them."""
    return Instrument(
        id=f"{key}/USD@robin_stocks",
        venue="robin_stocks",
        venue_symbol=key,
        base=key,
        quote="USD",
        settlement="USD",
        asset_class=asset_class,
        tick_px=tick_px,
        lot_qty=lot_qty,
        min_qty=lot_qty,
        max_qty=Decimal(10_000_000),
        min_notional=ZERO,
        maker_fee_rate=ZERO,
        taker_fee_rate=ZERO,
        multiplier=multiplier,
    )
