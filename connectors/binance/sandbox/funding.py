"""Mark price, index and funding of a perpetual, made of what was traded here.

Owns the formulas.  Pure: everything comes from the tape.  Source: Binance, "Introduction to funding rates" and "Mark
price and price index": premium index ``P``, funding rate ``P + clamp(0.01% - P, -0.05%, 0.05%)`` every eight hours,
mark price ``index * (1 + rate * time to the funding / eight hours)``.  The venue takes the index from other exchanges
and averages the premium of every five seconds; there are no others here, so the index is the mean price of the last
minute by volume, and a premium is that of each minute's close over its mean.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from connectors.local.records import Market
from connectors.local.tape import NS, Candle

EVERY_S: Final = 8 * 3_600
"""At 0, 8 and 16 o'clock UTC."""
_INTEREST: Final = Decimal("0.0001")
_CLAMP: Final = Decimal("0.0005")
_STEP: Final = Decimal("0.00000001")


class Mark(msgspec.Struct, frozen=True):
    """``rate`` is what is paid at ``next_ms`` as it stands now; ``settle_px`` is an estimate of it at a delivery."""

    mark_px: Decimal
    index_px: Decimal
    settle_px: Decimal
    rate: Decimal
    next_ms: int


def mark(market: Market, now_ns: int) -> Mark:
    """Of this moment."""
    now_s = now_ns // NS
    begun_s = now_s // EVERY_S * EVERY_S
    minutes = _minutes(market, begun_s, now_s)
    newest = minutes[-1] if minutes else None
    px = market.tape.last_px or market.product.start_px
    index_px = (newest.mean_px if newest is not None else px).quantize(_STEP)
    rate = _rate(minutes)
    left = Decimal(begun_s + EVERY_S - now_s) / EVERY_S
    mark_px = (index_px * (1 + rate * left)).quantize(_STEP)
    return Mark(mark_px, index_px, index_px, rate, (begun_s + EVERY_S) * 1_000)


def paid(market: Market, from_ms: int, to_ms: int, now_ns: int) -> list[tuple[int, Decimal, Decimal]]:
    """``(time ms, rate, mark price)`` of each funding within ``[from_ms, to_ms]``, oldest first, as far as the tape has
    the eight hours before it."""
    first = _minutes(market, 0, now_ns // NS)
    if not first:
        return []
    found = []
    at_s = (max(first[0].start_s + EVERY_S, -(-from_ms // 1_000)) + EVERY_S - 1) // EVERY_S * EVERY_S
    while at_s <= min(to_ms // 1_000, now_ns // NS):
        minutes = _minutes(market, at_s - EVERY_S, at_s - 1)
        if minutes:
            found.append((at_s * 1_000, _rate(minutes), minutes[-1].mean_px.quantize(_STEP)))
        at_s += EVERY_S
    return found


def _minutes(market: Market, from_s: int, to_s: int) -> list[Candle]:
    return market.tape.candles(lambda second: second, from_s, to_s)


def _rate(minutes: list[Candle]) -> Decimal:
    premiums = [minute.close_px / minute.mean_px - 1 for minute in minutes]
    premium = sum(premiums, Decimal(0)) / len(premiums) if premiums else Decimal(0)
    return (premium + max(-_CLAMP, min(_CLAMP, _INTEREST - premium))).quantize(_STEP)
