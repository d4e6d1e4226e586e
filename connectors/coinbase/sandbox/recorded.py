"""A recorded market on the sandbox: quotes and trades of Parquet files, played at their own pace into the books.

Owns pacing and re-stamping: what was recorded years ago happens now, so clients see a venue of today.  Reading files is
``engine.data``, mirroring a market inside a book is ``connectors.matching.mirror``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import Market
from connectors.coinbase.sandbox.settings import SandboxProduct, SandboxSettings
from connectors.matching.mirror import MarketMirror
from engine.data.parquet import describe_files, read_events
from engine.errors import DataError
from engine.events import Quote, Side, Trade
from engine.instruments import Instrument

PLAY_MONEY = Decimal(100_000)


def with_recorded_products(settings: SandboxSettings) -> SandboxSettings:
    """Settings whose products are those of the recorded files, under the venue's names (``BTC-USDT``).

    A quote currency without a balance gets 100,000, so that there is something to trade with.  Raises ``DataError``.
    """
    products: dict[str, SandboxProduct] = {}
    balances = dict(settings.balances)
    for info in describe_files(settings.replay):
        instrument = info.instrument
        product_id = f"{instrument.base}-{instrument.quote}"
        if product_id in products:
            continue
        products[product_id] = SandboxProduct(
            product_id,
            start_px=_first_px(info.path, instrument),
            price_increment=instrument.tick_px,
            base_increment=instrument.lot_qty,
            base_min_size=max(instrument.min_qty, instrument.lot_qty),
            base_max_size=instrument.max_qty,
            quote_min_size=instrument.min_notional,
        )
        balances.setdefault(instrument.quote, PLAY_MONEY)
    return msgspec.structs.replace(settings, products=tuple(products.values()), balances=tuple(balances.items()))


def _first_px(path: Path, instrument: Instrument) -> Decimal:
    for event in read_events([path], [instrument.id]):
        px = event.px if isinstance(event, Trade) else event.bid_px
        if 0 < px < math.inf:
            return instrument.price(px)
    raise DataError(f"{path} has no usable row", expected="at least one quote or trade with a price above 0")


class RecordedMarket:
    """Plays files into the books.  ``speed`` multiplies the recorded pace; at the end it starts over or stands still.

    ``start_ns`` is the moment at which the first recorded event happens.
    """

    def __init__(self, exchange: Exchange, settings: SandboxSettings, start_ns: int) -> None:
        self._exchange = exchange
        self._paths: Sequence[Path] = settings.replay
        self._speed = settings.speed
        self._loop = settings.loop_replay
        self._mirrors: dict[str, tuple[Market, MarketMirror]] = {}
        for info in describe_files(settings.replay):
            instrument = info.instrument
            market = exchange.markets[f"{instrument.base}-{instrument.quote}"]
            mirror = market.mirror or MarketMirror(market.engine)
            market.mirror = mirror
            self._mirrors[instrument.id] = market, mirror
        self._start_ns = start_ns
        self._first_ns = 0
        self._pending: Quote | Trade | None = None
        self._events: Iterator[Quote | Trade] = iter(())
        self.ended = False
        self._rewind(start_ns)

    def _rewind(self, now_ns: int) -> None:
        self._events = read_events(self._paths)
        self._pending = next(self._events, None)
        self._start_ns = now_ns
        self._first_ns = 0 if self._pending is None else self._pending.ts_recv_ns

    def step(self, now_ns: int) -> None:
        """Let everything happen that is due at ``now_ns``, then bring the books up to their last quotes."""
        due_ns = self._first_ns + int((now_ns - self._start_ns) * self._speed)
        event = self._pending
        touched: dict[str, tuple[Market, MarketMirror]] = {}
        while event is not None and event.ts_recv_ns <= due_ns:
            at_ns = self._start_ns + int((event.ts_recv_ns - self._first_ns) / self._speed)
            touched[event.instrument] = self._mirrors[event.instrument]
            self._play(event, min(at_ns, now_ns), *touched[event.instrument])
            event = next(self._events, None)
        self._pending = event
        for market, mirror in touched.values():
            outcomes = mirror.prepare(now_ns)
            if outcomes:
                self._exchange.absorb(market, outcomes, now_ns)
        if event is None and not self.ended:
            self.ended = not self._loop
            if self._loop:
                self._rewind(now_ns)

    def _play(self, event: Quote | Trade, at_ns: int, market: Market, mirror: MarketMirror) -> None:
        """One recorded event, as if it came from a feed now."""
        exchange = self._exchange
        if isinstance(event, Quote):
            moved = msgspec.structs.replace(event, ts_event_ns=at_ns, ts_recv_ns=at_ns)
            exchange.absorb(market, mirror.on_quote(moved), at_ns)
            return
        ignored = mirror.ignored_trades
        outcomes = mirror.on_trade(msgspec.structs.replace(event, ts_event_ns=at_ns, ts_recv_ns=at_ns))
        if mirror.ignored_trades != ignored:
            return
        px, qty = market.instrument.price(event.px), market.instrument.quantity(event.qty)
        if qty > 0:
            last_px = market.tape.last_px
            rising = event.aggressor > 0 if event.aggressor else last_px is None or px >= last_px
            exchange.print_trade(market, px, qty, Side.BUY if rising else Side.SELL, at_ns)
        exchange.absorb(market, outcomes, at_ns, printed=True)
