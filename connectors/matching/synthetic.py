"""A market made of numbers: seeded background order flow around a latent price.

Owns when background orders come, of which kind and at which price.  Matching is the engine's; the latent price itself
is ``connectors.matching.latent``.  Same seed and same calls of ``step`` with the same book: same flow.

Model.  Events come as a self-exciting (Hawkes) process with exponential kernel: intensity jumps with each event and
decays, so activity clusters; it is higher in volatile regimes.  An event is a limit order, a cancel or a market order.
Market orders come in runs of one sign (large orders worked in pieces: the long memory of trade signs) and lean to where
the latent price is.  Resting orders that the latent price has left behind are pulled first, as market makers do, so the
mid follows the latent price.  Steps of ``step`` may have any length; simulated time only moves with them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.latent import LatentPrice
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder, LiveOrder, Outcome
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import Instrument

_SECOND_NS = 1_000_000_000
_BPS = 1e-4
_NEAR_TICKS = 0.3
"""Orders near the touch scatter over this many ticks at least.  With a whole tick the touch of a coarse grid was thin
and flickered by half ticks all the time, which hid the fat tails of its returns: their kurtosis over 15 minutes of a
market whose tick is 5 bps was 3.6 to 5.4 in 10 seeds; with 0.3 it is 5.1 to 23 in 18."""


class FlowSettings(msgspec.Struct, frozen=True):
    """What the market looks like.  Rates are per second, distances in basis points of the latent price."""

    rate_per_s: float = 40.0
    """Long-run mean number of background events (orders and cancels)."""
    branching: float = 0.6
    """Share of events that are excited by earlier ones, below 1."""
    decay_per_s: float = 4.0
    """How fast excitement fades."""
    market_share: float = 0.14
    cancel_share: float = 0.40
    sign_persistence: float = 0.80
    """Probability that a market order continues the running large order."""
    spread_bps: float = 0.8
    """Usual distance between best bid and best ask; never below one tick."""
    depth_bps: float = 6.0
    """Mean distance of limit orders from the touch."""
    orders_per_side: int = 90
    """Resting background orders that the flow tends to."""
    min_levels: int = 12
    """Price levels a side has at least after each step."""
    order_notional: float = 4_000.0
    """Median value of a background order, in quote currency."""
    volatility_bps: float = 1.0
    """Usual standard deviation of the latent price over one second."""
    max_catch_up_s: float = 30.0
    """A step longer than this jumps over the rest: a process that was suspended does not replay the hours it missed."""


class SyntheticFlow:
    """Background flow of one instrument, on behalf of the account ``market``.

    ``start_px`` is in quote currency.  The first ``step`` fills the book.  ``rate_per_s`` and ``volatility_bps``
    override the settings.
    """

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        start_px: Decimal,
        *,
        rate_per_s: float | None = None,
        volatility_bps: float | None = None,
        settings: FlowSettings | None = None,
    ) -> None:
        settings = settings or FlowSettings()
        if rate_per_s is not None:
            settings = msgspec.structs.replace(settings, rate_per_s=rate_per_s)
        if volatility_bps is not None:
            settings = msgspec.structs.replace(settings, volatility_bps=volatility_bps)
        if not start_px > 0:
            raise ValueError(f"start_px of {instrument.id} is {start_px}; expected a positive price")
        if not 0 <= settings.branching < 1 or settings.rate_per_s <= 0:
            raise ValueError("expected 0 <= branching < 1 and rate_per_s > 0: the flow would explode or stand still")
        self.instrument = instrument
        self.settings = settings
        self.skipped_ns = 0
        """Simulated time that was jumped over (``max_catch_up_s``)."""
        # A string seed is hashed by random.Random itself, the same in every process; the id keeps products apart.
        self._random = random.Random(f"{seed}/{instrument.id}")
        self._latent = LatentPrice(float(start_px), settings.volatility_bps * _BPS, self._random)
        self._tick = float(instrument.tick_px)
        self._lot = float(instrument.lot_qty)
        self._excited_per_s = 0.0
        self._sign = 1
        self._now_ns: int | None = None
        self._order_count = 0

    def step(self, engine: MatchingEngine, now_ns: int) -> list[Outcome]:
        """Let the market live until ``now_ns``; everything that happened in the engine, in order."""
        out: list[Outcome] = []
        if self._now_ns is None:
            self._now_ns = now_ns
            self._replenish(engine, now_ns, out)
            return out
        limit_ns = int(self.settings.max_catch_up_s * _SECOND_NS)
        if now_ns - self._now_ns > limit_ns:
            self.skipped_ns += now_ns - limit_ns - self._now_ns
            self._now_ns = now_ns - limit_ns
        while (wait_s := self._next_wait_s((now_ns - self._now_ns) / _SECOND_NS)) is not None:
            self._now_ns += max(1, round(wait_s * _SECOND_NS))
            if self._now_ns > now_ns:
                break
            self._act(engine, self._now_ns, out)
        self._now_ns = max(self._now_ns, now_ns)
        self._replenish(engine, now_ns, out)
        return out

    # --- when ---------------------------------------------------------------------------------------------------------

    def _next_wait_s(self, left_s: float) -> float | None:
        """Time to the next event by thinning, None when it lies beyond ``left_s``.  Moves the latent price along."""
        s = self.settings
        base_per_s = s.rate_per_s * (1 - s.branching) * self._latent.activity
        waited_s = 0.0
        while True:
            bound_per_s = base_per_s + self._excited_per_s
            gap_s = self._random.expovariate(bound_per_s)
            if waited_s + gap_s > left_s:
                rest_s = max(0.0, left_s - waited_s)
                self._excited_per_s *= math.exp(-s.decay_per_s * rest_s)
                self._latent.advance(rest_s)
                return None
            waited_s += gap_s
            self._excited_per_s *= math.exp(-s.decay_per_s * gap_s)
            self._latent.advance(gap_s)
            if self._random.random() * bound_per_s <= base_per_s + self._excited_per_s:
                # Each event adds branching * decay to the intensity: its expected number of children is `branching`.
                self._excited_per_s = min(self._excited_per_s + s.branching * s.decay_per_s, 20 * s.rate_per_s)
                return waited_s

    # --- what ---------------------------------------------------------------------------------------------------------

    def _act(self, engine: MatchingEngine, now_ns: int, out: list[Outcome]) -> None:
        s = self.settings
        draw = self._random.random()
        if self._pull_stale(engine, now_ns, out):
            return
        if draw < s.market_share:
            self._market_order(engine, now_ns, out)
        elif draw < s.market_share + s.cancel_share:
            self._cancel_one(engine, now_ns, out)
        else:
            side = Side.BUY if self._random.random() < 0.5 else Side.SELL
            self._limit_order(engine, side, now_ns, out)

    def _pull_stale(self, engine: MatchingEngine, now_ns: int, out: list[Outcome]) -> bool:
        """Pull the best background quote that the latent price has run over, or requote a gap at the touch."""
        best = engine.best()
        if best is None:
            return False
        latent = self._latent.px
        half = self._half_spread()
        bid, ask = float(best[0]), float(best[2])
        if bid > latent + 0.3 * half:
            side, px = Side.BUY, best[0]
        elif ask < latent - 0.3 * half:
            side, px = Side.SELL, best[2]
        elif ask - bid > 4 * half + self._tick:
            side = Side.BUY if latent - bid > ask - latent else Side.SELL
            self._limit_order(engine, side, now_ns, out, near=True)
            return True
        else:
            return False
        # Half of what is left behind is taken by fast traders, half is pulled in time.
        if self._random.random() < 0.35:
            self._take(engine, side.opposite, now_ns, out)
            return True
        pulled = False
        for live in engine.queue(side, px)[:3]:
            if live.account == MARKET_ACCOUNT:
                self._close(engine, live, now_ns, out)
                pulled = True
        return pulled

    def _market_order(self, engine: MatchingEngine, now_ns: int, out: list[Outcome]) -> None:
        if self._random.random() > self.settings.sign_persistence:
            best = engine.best()
            lean = 0.0
            if best is not None:
                lean = (self._latent.px - 0.5 * (float(best[0]) + float(best[2]))) / (2 * self._half_spread())
            self._sign = 1 if self._random.random() < 1 / (1 + math.exp(-lean)) else -1
        self._take(engine, Side(self._sign), now_ns, out)

    def _take(self, engine: MatchingEngine, side: Side, now_ns: int, out: list[Outcome]) -> None:
        levels = engine.levels(side.opposite, 3)
        if len(levels) < 3:
            return  # too thin: the flow rebuilds the book first
        # Mostly less than the touch, sometimes through it; never the whole near book.
        touch_qty = float(levels[0][1])
        qty = touch_qty if self._random.random() < 0.25 else min(self._size(), 0.9 * touch_qty)
        if self._random.random() < 0.06:
            qty = touch_qty + 0.5 * float(levels[1][1])
        self._send(engine, side, now_ns, out, qty=qty, limit_px=None)

    def _limit_order(
        self, engine: MatchingEngine, side: Side, now_ns: int, out: list[Outcome], *, near: bool = False
    ) -> None:
        s = self.settings
        latent = self._latent.px
        half = self._half_spread()
        # Where a tick is wide the grid itself keeps quotes apart: orders near the touch queue up on it, few lie behind.
        unit = max(_NEAR_TICKS * self._tick, latent * _BPS * 0.1)
        if near or self._random.random() < 0.35:
            distance = half + self._random.expovariate(1.0) * unit
        else:
            distance = half + self._random.expovariate(1.0) * max(latent * s.depth_bps * _BPS, 8 * self._tick)
        # Towards the inside the grid rounds away from the latent price, so that both sides keep their distance.
        ticks = (latent - side * distance) / self._tick
        n = math.floor(ticks) if side is Side.BUY else math.ceil(ticks)
        if distance > half + 2 * unit and self._random.random() < 0.5:
            n -= n % self._round_ticks(unit)  # traders like round prices: depth gathers there
        other_px = engine.best_px(side.opposite)
        px = self.instrument.tick_px * max(1, n)
        if other_px is not None and (px >= other_px if side is Side.BUY else px <= other_px):
            # Join one tick behind instead of crossing: background limit orders only add liquidity.
            px = other_px - side * self.instrument.tick_px
        if px > 0:
            self._send(engine, side, now_ns, out, qty=self._size(), limit_px=px)

    def _cancel_one(self, engine: MatchingEngine, now_ns: int, out: list[Outcome]) -> None:
        """Cancel a random background order; with a full book the farther of two, with a thin book none."""
        mine = engine.orders_of(MARKET_ACCOUNT)
        if len(mine) < 1.5 * self.settings.orders_per_side:
            return
        live = self._any(mine)
        if len(mine) > 2 * self.settings.orders_per_side:
            other = self._any(mine)
            latent = self._latent.px
            if abs(float(other.limit_px or 0) - latent) > abs(float(live.limit_px or 0) - latent):
                live = other
        if engine.level_count(live.side) > self.settings.min_levels:
            self._close(engine, live, now_ns, out)

    def _any(self, mine: Mapping[str, LiveOrder]) -> LiveOrder:
        # A walk to a random position: a few hundred steps at most, and no second index to keep in step.
        steps = self._random.randrange(len(mine))
        for live in mine.values():
            if steps == 0:
                return live
            steps -= 1
        raise AssertionError("unreachable: steps < len(mine)")

    def _replenish(self, engine: MatchingEngine, now_ns: int, out: list[Outcome]) -> None:
        """Both sides have at least ``min_levels`` levels, whatever clients took; a bounded number of tries."""
        s = self.settings
        first = engine.best() is None and not engine.orders_of(MARKET_ACCOUNT)
        for side in (Side.BUY, Side.SELL):
            want = s.orders_per_side if first else 0
            tries = 0
            while (want > 0 or engine.level_count(side) < s.min_levels) and tries < 50 * s.min_levels + want:
                self._limit_order(engine, side, now_ns, out, near=tries == 0)
                want -= 1
                tries += 1
        best = engine.best()
        if best is not None and float(best[2] - best[0]) > 12 * self._half_spread() + self._tick:
            # After a jump or a client's sweep: makers are back before the next message.
            for side in (Side.BUY, Side.SELL):
                self._limit_order(engine, side, now_ns, out, near=True)
        # Far orders pile up when nobody reaches them: the total stays bounded.
        while len(engine.orders_of(MARKET_ACCOUNT)) > 4 * s.orders_per_side:
            self._close(engine, self._any(engine.orders_of(MARKET_ACCOUNT)), now_ns, out)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _half_spread(self) -> float:
        return max(
            0.5 * self._tick, 0.5 * self.settings.spread_bps * _BPS * self._latent.px * self._latent.spread_factor
        )

    def _round_ticks(self, unit: float) -> int:
        """The power of ten of ticks next below ten units of distance."""
        return int(10 ** max(0, math.floor(math.log10(max(1.0, 10 * unit / self._tick)))))

    def _size(self) -> float:
        """Log-normal around the median, with the heavy right tail that order sizes have; base units."""
        notional = self.settings.order_notional * math.exp(self._random.gauss(0.0, 1.0))
        multiplier = float(self.instrument.multiplier)
        return notional / multiplier if self.instrument.inverse else notional / (self._latent.px * multiplier)

    def _send(
        self,
        engine: MatchingEngine,
        side: Side,
        now_ns: int,
        out: list[Outcome],
        *,
        qty: float,
        limit_px: Decimal | None,
    ) -> None:
        """A limit order at ``limit_px``, a market order when None; ``qty`` in base units, put on the lot grid."""
        lots = max(1, round(qty / self._lot))
        exact_qty = max(self.instrument.lot_qty * lots, self.instrument.min_qty)
        self._order_count += 1
        order = BookOrder(
            f"~m{self._order_count}",
            MARKET_ACCOUNT,
            side,
            OrderType.MARKET if limit_px is None else OrderType.LIMIT,
            exact_qty,
            limit_px,
            TimeInForce.IOC if limit_px is None else TimeInForce.GTC,
        )
        out.extend(engine.submit(order, now_ns))

    @staticmethod
    def _close(engine: MatchingEngine, live: LiveOrder, now_ns: int, out: list[Outcome]) -> None:
        closed = engine.cancel(live.order_id, now_ns)
        if closed is not None:
            out.append(closed)
