"""What a consolidated price says of itself: the answer of ``engine.ports.View.consolidated``.

Owns the values only; ``consolidator`` makes them.
"""

from __future__ import annotations

import msgspec

from engine.events import Bar


class Source(msgspec.Struct, frozen=True):
    """One venue's part in a consolidated price at one moment.

    ``status``: ``live`` has a vote; ``unseen``, ``refused``, ``broken``, ``one_sided``, ``mute``, ``late``, ``wild``,
    ``locked`` or the defect of its last quote has none (docs/aggregator.md).  ``mid_px`` is NaN before its first quote.
    ``age_ns`` counts from when its quote was true, ``delay_ns`` is by how much that quote came later than the venue's
    fastest.  ``clock_offset_ns``: receive time less venue time, least delay included.  ``quality``: share in [0, 1] of
    its recent quotes that were fit to vote.
    """

    instrument: str
    venue: str
    status: str
    mid_px: float
    age_ns: int
    delay_ns: int
    clock_offset_ns: int
    quality: float


class Consolidated(msgspec.Struct, frozen=True):
    """The price of one instrument over several venues at ``ts_ns`` (receive time), with who made it.

    Prices and sizes (base units) are NaN without a voter; sizes also where a member's feed gives none.
    ``dispersion_bps``: highest less lowest voter's mid, of the median; ``robust_std_bps``: 1.4826 times the median
    absolute deviation, of the median.  ``confidence`` in [0, 1] (``engine.consolidated.confidence``).  ``suspect``: the
    voters are farther apart than the definition's ``wild_bps``, or there is none.  ``bar``: the last finished one.
    """

    instrument: str
    ts_ns: int
    voters: int
    bid_px: float
    bid_qty: float
    ask_px: float
    ask_qty: float
    mid_px: float
    dispersion_bps: float
    robust_std_bps: float
    confidence: float
    suspect: bool
    sources: tuple[Source, ...]
    bar: Bar | None = None
