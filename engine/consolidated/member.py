"""What is known of one venue's quote for a consolidated instrument: prices, clock, quality, and why it has no vote.

Owns the estimate of the venue's clock offset.  Who votes and what comes of it is ``consolidator``.
"""

from __future__ import annotations

from math import nan

from engine.instruments import Instrument

OFFSET_WINDOW_NS = 60_000_000_000
"""The clock offset is the least ``receive time - venue time`` of the last one to two such windows."""
QUALITY_QUOTES = 64
"""Quotes over which quality forgets: each moves it by a 64th of the way."""

LIVE = "live"
UNSEEN = "unseen"
REFUSED = "refused"
"""Its first quote was out of the band, or its rules changed to something else."""
BROKEN = "broken"
"""Its feed went down or lost messages."""
ONE_SIDED = "one_sided"
"""Nobody bids, or nobody asks, in its book."""
WILD = "wild"
MUTE = "mute"
LATE = "late"


class Member:
    """One venue's instrument.  ``fault`` is empty while its last quote was good; else why it has no vote until the next
    good one: ``unseen``, ``refused``, ``broken``, or the defect of its last quote (``crossed``, ``not_finite``, ...).

    Sizes are turned into base units: times the contract's multiplier, over the price where the contract is inverse.
    """

    __slots__ = (
        "_least_before_ns",
        "_least_ns",
        "_window_end_ns",
        "admitted",
        "aligned_ns",
        "ask_px",
        "ask_qty",
        "at",
        "barred",
        "bid_px",
        "bid_qty",
        "counted",
        "fault",
        "id",
        "in_base_units",
        "inverse",
        "mid_px",
        "offset_ns",
        "quality",
        "recv_ns",
        "scale",
        "venue",
        "votes",
    )

    def __init__(self, instrument: Instrument, at: int) -> None:
        self.at = at
        """Its place in the definition."""
        self.counted = False
        """It was fit to vote at the last count: good and not too old."""
        self.votes = False
        """And not wild: the price is made of it."""
        self.id = instrument.id
        self.venue = instrument.venue
        self.admitted = False
        """Its first quote was compared with the others'."""
        self.barred = False
        """Its rules changed to another instrument's: never admitted while they stay so."""
        self.fault = UNSEEN
        self.bid_px = self.bid_qty = self.ask_px = self.ask_qty = self.mid_px = nan
        self.recv_ns = 0
        self.aligned_ns = 0
        """When this quote would have come with the least delay: what its age counts from."""
        self.offset_ns = 0
        self.quality = 1.0
        self._least_ns = self._least_before_ns = 0
        self._window_end_ns = 0
        self.define(instrument)

    def define(self, instrument: Instrument) -> None:
        """Take the instrument's rules for sizes."""
        self.scale = float(instrument.multiplier)
        self.inverse = instrument.inverse
        self.in_base_units = not self.inverse and self.scale == 1.0

    def base_qty(self, qty: float, px: float) -> float:
        """A size of this venue in base units."""
        return qty * self.scale / px if self.inverse else qty * self.scale

    def take_time(self, ts_event_ns: int, ts_recv_ns: int) -> None:
        """A message of that venue time came at that receive time: estimate the clock's offset, place the quote in time.

        The least difference is the offset plus the least delay, so a message that came later than that was on its way
        for longer: it is as much older.  A clock that steps forward is followed at once, one that steps back within two
        windows.
        """
        behind_ns = ts_recv_ns - ts_event_ns
        if ts_recv_ns >= self._window_end_ns:
            # After a pause of more than a window nothing is known of the clock but this.
            fresh = ts_recv_ns >= self._window_end_ns + OFFSET_WINDOW_NS
            self._least_before_ns = behind_ns if fresh else self._least_ns
            self._least_ns = behind_ns
            self._window_end_ns = ts_recv_ns + OFFSET_WINDOW_NS
            self.offset_ns = min(behind_ns, self._least_before_ns)
        elif behind_ns < self._least_ns:
            self._least_ns = behind_ns
            self.offset_ns = min(self.offset_ns, behind_ns)
        self.recv_ns = ts_recv_ns
        self.aligned_ns = ts_event_ns + self.offset_ns

    def judge(self, good: bool) -> None:
        """Count one quote into ``quality``, the exponentially weighted share of good ones (``QUALITY_QUOTES``)."""
        self.quality += ((1.0 if good else 0.0) - self.quality) / QUALITY_QUOTES
