"""The benchmark's market: one instrument, and ticker and trade frames as the venue writes them.

Prices follow a triangular wave of distinct values, so that an order's limit price names the tick it answers.  Light on
imports: the exchange process of the wire lanes loads it too.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

from engine.instruments import AssetClass, Instrument

NAME = "BTC/USD@coinbase"
PRODUCT = "BTC-USD"
VENUE = "coinbase"
PERIOD = 4096
"""Ticks until prices repeat; an order later than that would be taken for another tick's."""
_BASE_CENTS = 6_000_000

INSTRUMENT = Instrument(
    id=NAME,
    venue=VENUE,
    venue_symbol=PRODUCT,
    base="BTC",
    quote="USD",
    settlement="USD",
    asset_class=AssetClass.SPOT,
    tick_px=Decimal("0.01"),
    lot_qty=Decimal("0.00000001"),
    min_qty=Decimal("0.00000001"),
    max_qty=Decimal(3400),
    min_notional=Decimal(1),
    maker_fee_rate=Decimal("0.006"),
    taker_fee_rate=Decimal("0.012"),
)


def ask_cents(tick: int) -> int:
    """The ask of a tick: up in steps of two cents, down on the cents between, so that no value repeats."""
    phase = tick % PERIOD
    return _BASE_CENTS + (2 * phase if phase < PERIOD // 2 else 2 * (PERIOD - 1 - phase) + 1)


def phase_of(side: str, limit_px: str) -> int:
    """``tick % PERIOD`` of the tick whose far touch is the order's limit price; raises ``ValueError`` for no such."""
    cents = int(Decimal(limit_px) * 100) + (0 if side == "BUY" else 1) - _BASE_CENTS
    if not 0 <= cents < PERIOD:
        raise ValueError(f"limit price {limit_px} is none of this market's")
    return PERIOD - 1 - cents // 2 if cents & 1 else cents // 2


class Market:
    """Frames of one stream in order.  Times are UTC nanoseconds, given."""

    def __init__(self, product: str = PRODUCT, seed: int = 1) -> None:
        self._product = product.encode()
        self._random = random.Random(seed)
        self._second_s = -1
        self._second_text = b""
        self.sequence = 0
        self.ticks = 0
        self.trades = 0

    def _time(self, ts_ns: int) -> bytes:
        seconds, rest_ns = divmod(ts_ns, 1_000_000_000)
        if seconds != self._second_s:
            self._second_s = seconds
            self._second_text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}".encode()
        return b"%b.%09dZ" % (self._second_text, rest_ns)

    def _number(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def _size(self) -> bytes:
        return b"%.8f" % (0.01 + 3.0 * self._random.random())

    def ticker(self, ts_ns: int) -> bytes:
        """The next tick, in the venue's whole ticker message."""
        ask = ask_cents(self.ticks)
        bid = ask - 1
        self.ticks += 1
        return (
            b'{"channel":"ticker","client_id":"","timestamp":"%b","sequence_num":%d,"events":[{"type":"update",'
            b'"tickers":[{"type":"ticker","product_id":"%b","price":"%d.%02d","volume_24_h":"16038.28770938",'
            b'"low_24_h":"58835.29","high_24_h":"61011.18","low_52_w":"15460","high_52_w":"73777",'
            b'"price_percent_chg_24_h":"1.23","best_bid":"%d.%02d","best_bid_quantity":"%b","best_ask":"%d.%02d",'
            b'"best_ask_quantity":"%b"}]}]}'
            % (
                self._time(ts_ns),
                self._number(),
                self._product,
                *divmod(bid, 100),
                *divmod(bid, 100),
                self._size(),
                *divmod(ask, 100),
                self._size(),
            )
        )

    def trade(self, ts_ns: int) -> bytes:
        """A trade at the last tick's price."""
        self.trades += 1
        side = b"BUY" if self._random.random() < 0.5 else b"SELL"
        px = ask_cents(self.ticks - 1) - (side == b"BUY")
        when = self._time(ts_ns)
        return (
            b'{"channel":"market_trades","client_id":"","timestamp":"%b","sequence_num":%d,"events":[{"type":"update",'
            b'"trades":[{"trade_id":"%d","product_id":"%b","price":"%d.%02d","size":"%b","side":"%b","time":"%b"}]}]}'
            % (when, self._number(), self.trades, self._product, *divmod(px, 100), self._size(), side, when)
        )

    def subscribed(self) -> bytes:
        """The venue's confirmation of all channels."""
        return (
            b'{"channel":"subscriptions","client_id":"","timestamp":"","sequence_num":%d,"events":[{"subscriptions":'
            b'{"ticker":["%b"],"market_trades":["%b"],"heartbeats":["heartbeats"]}}]}'
            % (self._number(), self._product, self._product)
        )
