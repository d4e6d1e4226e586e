"""The port of a venue's past: finished bars and public trades, in pages that are whole.

Owns the contract between a venue's own code (``connectors/<venue>/archive.py``) and the download, which stores what
comes (``connectors.download``).  A venue that can tell its past implements ``VenueHistory`` and is named in
``config.histories``; nothing else has to know it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
import pyarrow as pa

from engine.instruments import Instrument


class Page(msgspec.Struct, frozen=True):
    """Everything the venue has of ``[start_ns, end_ns)`` by ``ts_ns``: oldest first, each row once, nothing unfinished.

    ``rows`` has the columns of its data kind (``engine.data.kinds``) that the venue fills.  ``dropped`` counts rows of
    the answer that are no market data (a price that is no positive number, a candle off its grid), ``conflicts`` rows
    that two overlapping answers told differently (the first is in ``rows``), ``cut`` the seconds in which the venue
    has more trades than it gives.
    """

    start_ns: int
    end_ns: int
    rows: pa.Table
    dropped: int = 0
    conflicts: int = 0
    cut: int = 0


class VenueHistory(Protocol):
    """One venue's past.  Between ``start`` and ``stop`` everything else may be called; calls do not overlap.

    Whatever cannot be had raises ``VenueError`` with one line; a limit on requests is waited for, not told.
    """

    @property
    def name(self) -> str:
        """The venue as it stands in instrument ids."""
        ...

    @property
    def requests(self) -> int:
        """Requests sent so far, refused and repeated ones included."""
        ...

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        """Lengths of bars that the venue makes, shortest first."""
        ...

    async def start(self) -> None:
        """Reach the venue and read its clock."""
        ...

    async def stop(self) -> None:
        """Close everything; safe to call twice and after a failed start."""
        ...

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of ``BTC/USD``; the error for an unknown symbol names the nearest ones."""
        ...

    def settled_ns(self, interval_ns: int) -> int:
        """The greatest ``end_ns`` that may be asked for now: what begins before it is finished and will not grow.

        ``interval_ns`` is the length of bars, 0 for trades.
        """
        ...

    def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """Bars whose start lies in ``[start_ns, end_ns)``; the pages follow each other without hole or overlap."""
        ...

    def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """Public trades of ``[start_ns, end_ns)``; the pages follow each other without hole or overlap."""
        ...
