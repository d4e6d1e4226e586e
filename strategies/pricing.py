"""Prices of orders that are meant to trade at once, from the float book to the exact tick grid.

Owns the marketable price, and which book is good enough for what.  The distance a price may have is risk's business.
"""

from __future__ import annotations

from decimal import Decimal

from engine.events import Side
from engine.instruments import Instrument
from engine.ports import Top

ZERO = Decimal(0)


def readable(top: Top | None) -> bool:
    """Prices to value a position and to leave it by (``Top.is_readable``)."""
    return top is not None and top.is_readable


def usable(top: Top | None) -> bool:
    """Readable and nothing suspect: a book to trade on."""
    return top is not None and not top.suspect and readable(top)


def spread_bps(top: Top) -> float:
    """Bid to ask in basis points of the mid."""
    return (top.ask_px - top.bid_px) / abs(top.mid_px) * 1e4


def marketable_px(instrument: Instrument, top: Top, side: Side, slip_ticks: int) -> Decimal | None:
    """The far touch and ``slip_ticks`` beyond it: what a limit order pays at worst.

    None when it leaves the range the instrument allows.
    """
    touch_px = top.ask_px if side > 0 else top.bid_px
    px = instrument.price(touch_px, side) + instrument.tick_px * (slip_ticks if side > 0 else -slip_ticks)
    return px if px > ZERO or instrument.allows_negative_px else None
