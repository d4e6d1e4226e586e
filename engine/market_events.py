"""Facts of the market (float64): prices, trades, books, instruments and what they may be traded for.

Imported from ``engine.events``, where the conventions stand.
"""

from __future__ import annotations

from decimal import Decimal

from engine.event import Event, TradingStatus
from engine.instruments import Instrument


class Quote(Event, frozen=True, array_like=True, gc=False, tag=1):
    """Best bid and offer.  Quantities are NaN where the instrument declares ``has_quote_sizes`` False."""

    instrument: str
    bid_px: float
    bid_qty: float
    ask_px: float
    ask_qty: float


class Trade(Event, frozen=True, array_like=True, gc=False, tag=2):
    """A public trade.  ``aggressor`` is +1 for a buyer, -1 for a seller, 0 where the venue does not say."""

    instrument: str
    px: float
    qty: float
    aggressor: int
    trade_id: str


class BookSnapshot(Event, frozen=True, array_like=True, gc=False, tag=3):
    """The whole book, replacing what was known.  Levels are ``(px, qty)``, best first."""

    instrument: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


class BookDelta(Event, frozen=True, array_like=True, gc=False, tag=4):
    """Level changes ``(side, px, qty)``: side +1 bid, -1 ask; qty is absolute and 0 removes the level."""

    instrument: str
    changes: tuple[tuple[int, float, float], ...]


class Bar(Event, frozen=True, array_like=True, gc=False, tag=5):
    """A finished candle from a venue's history.  ``ts_event_ns`` is the END of the bar; volumes are base units."""

    instrument: str
    interval_ns: int
    open_px: float
    high_px: float
    low_px: float
    close_px: float
    volume_qty: float


class InstrumentDefined(Event, frozen=True, array_like=True, gc=False, tag=6):
    """An instrument's rules became known or changed."""

    definition: Instrument


class InstrumentStatus(Event, frozen=True, array_like=True, gc=False, tag=7):
    instrument: str
    status: TradingStatus


class VenueStatus(Event, frozen=True, array_like=True, gc=False, tag=8):
    venue: str
    status: TradingStatus
    text: str = ""


class RateReported(Event, frozen=True, array_like=True, gc=False, tag=9):
    """One unit of ``currency`` is worth ``rate`` units of the portfolio's currency."""

    currency: str
    rate: Decimal


class Observation(Event, frozen=True, array_like=True, gc=False, tag=10):
    """A value of a published series (fundamental, macro).  ``ts_event_ns`` is its publication, not the period's end."""

    series: str
    value: float
    period_end_ns: int


class SessionScheduled(Event, frozen=True, array_like=True, gc=False, tag=11):
    """Orders trade from ``opens_ns`` on and before ``closes_ns`` (our clock); both 0: nobody says until when.

    ``instrument`` is empty for everything at the venue that has no hours of its own.  ``source``: ``venue``, or
    ``calendar`` where the venue did not say.
    """

    venue: str
    instrument: str
    opens_ns: int
    closes_ns: int
    source: str


MarketEvent = (
    Quote
    | Trade
    | BookSnapshot
    | BookDelta
    | Bar
    | Observation
    | InstrumentDefined
    | InstrumentStatus
    | VenueStatus
    | RateReported
    | SessionScheduled
)

MARKET_TYPES: frozenset[type[Event]] = frozenset({Quote, Trade, BookSnapshot, BookDelta, Bar, Observation})
"""Types that go to the journal's ``market`` stream; everything else goes to ``orders``."""
