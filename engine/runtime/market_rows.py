"""Market events of a journal as tables of stored data.

Owns which kind and series an event belongs to and what its columns are.  Reading the journal and publishing are
``engine.runtime.compaction``'s.

What the built-in exchange makes up is stored under a venue of its own (``coinbase_sandbox``): nobody can mistake it for
a market's prices, and no model learns from both unknowingly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from math import isnan
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.venues import INVENTED

TIE_NS: Final = 1_000_000
"""Receive times that are closer than this to the one before are moved behind it; more is a clock that was set back."""
_BOOK_SIDES: Final = {1: "bid", -1: "ask"}
_AGGRESSORS: Final = {1: "buy", -1: "sell", 0: None}

MarketRecord = Quote | Trade | BookSnapshot | BookDelta | Bar


class Target(NamedTuple):
    """Where an event's rows go: arguments of ``engine.data.staging.Batch.writer``."""

    venue: str
    symbol: str
    kind: str
    interval_ns: int
    instrument: str


class ReceiptOrder:
    """Gives events receive times that tell the order in which the session had them.

    All messages of one read from a socket have one receive time: a trade and the quote that it led to, two books'
    changes.  Rows lie in a file for each series, so that this order, which every model is served, would be lost: an
    event of another series than the one before is stored a nanosecond after it, and so is each change of a book, since
    rows of equal times are one.
    """

    def __init__(self, after_ns: int = 0) -> None:
        """``after_ns``: the last receive time that is stored."""
        self._last_ns = after_ns
        self._series: tuple[type, str] | None = None

    def placed(self, event: MarketRecord) -> MarketRecord:
        """``event`` itself, or with a receive time a few nanoseconds later; bars are stored without one."""
        if isinstance(event, Bar):
            return event
        series = (type(event), event.instrument)
        recv_ns = event.ts_recv_ns
        least_ns = self._last_ns
        if series != self._series or isinstance(event, BookDelta | BookSnapshot):
            least_ns += 1
        if least_ns - TIE_NS < recv_ns < least_ns:
            recv_ns = least_ns
            event = msgspec.structs.replace(event, ts_recv_ns=recv_ns)
        self._last_ns, self._series = recv_ns, series
        return event


class MarketRows:
    """Collects events; ``tables`` gives them as one table a series and forgets them.  ``rows`` counts what is held.

    ``invented``: the market was the built-in exchange's.
    """

    def __init__(self, *, invented: bool) -> None:
        self._ending = INVENTED if invented else ""
        self._held: dict[tuple[type, str, int], list[Any]] = {}
        self.rows = 0

    def add(self, event: MarketRecord) -> None:
        interval_ns = event.interval_ns if isinstance(event, Bar) else 0
        self._held.setdefault((type(event), event.instrument, interval_ns), []).append(event)
        self.rows += 1

    def tables(self) -> Iterator[tuple[Target, Any]]:
        """Series and rows, in the order in which the events came."""
        for (kind, instrument, interval_ns), events in self._held.items():
            name, make = _KINDS[kind]
            pair, _, venue = instrument.rpartition("@")
            venue += self._ending
            target = Target(venue, pair, name, interval_ns, f"{pair}@{venue}")
            table = make(events)
            if table.num_rows:
                yield target, table
        self._held.clear()
        self.rows = 0


def _times(events: list[Any]) -> dict[str, Any]:
    return {
        "ts_ns": pa.array([event.ts_event_ns for event in events], pa.int64()),
        "recv_ns": pa.array([event.ts_recv_ns for event in events], pa.int64()),
    }


def _sizes(values: list[float]) -> Any:
    """A size that the feed does not give is NaN in an event, and none in a table."""
    return pa.array([None if isnan(value) else value for value in values], pa.float64())


def _quotes(events: list[Quote]) -> Any:
    return pa.table(
        _times(events)
        | {
            "bid": [event.bid_px for event in events],
            "bid_size": _sizes([event.bid_qty for event in events]),
            "ask": [event.ask_px for event in events],
            "ask_size": _sizes([event.ask_qty for event in events]),
        }
    )


def _trades(events: list[Trade]) -> Any:
    return pa.table(
        _times(events)
        | {
            "price": [event.px for event in events],
            "size": [event.qty for event in events],
            "side": pa.array([_AGGRESSORS.get(event.aggressor) for event in events], pa.string()),
            "trade_id": pa.array([event.trade_id or None for event in events], pa.string()),
        }
    )


def _bars(events: list[Bar]) -> Any:
    return pa.table(
        {
            # An event has the end of the bar, a stored bar its start.
            "ts_ns": pa.array([event.ts_event_ns - event.interval_ns for event in events], pa.int64()),
            "interval_ns": pa.array([event.interval_ns for event in events], pa.int64()),
            "open": [event.open_px for event in events],
            "high": [event.high_px for event in events],
            "low": [event.low_px for event in events],
            "close": [event.close_px for event in events],
            "volume": [event.volume_qty for event in events],
        }
    )


def _repeated(events: list[Any], counts: list[int]) -> dict[str, Any]:
    """The times of an event on each of its rows."""
    made = _times(events)
    at = pa.array(list(chain.from_iterable(repeat(number, count) for number, count in enumerate(counts))), pa.int64())
    return {name: column.take(at) for name, column in made.items()}


def _deltas(events: list[BookDelta]) -> Any:
    changes = [change for event in events for change in event.changes]
    return pa.table(
        _repeated(events, [len(event.changes) for event in events])
        | {
            "side": pa.array([_BOOK_SIDES[side] for side, _, _ in changes], pa.string()),
            "price": pa.array([px for _, px, _ in changes], pa.float64()),
            "size": pa.array([qty for _, _, qty in changes], pa.float64()),
        }
    )


def _snapshots(events: list[BookSnapshot]) -> Any:
    rows = [
        (side, level, px, qty)
        for event in events
        for side, levels in (("bid", event.bids), ("ask", event.asks))
        for level, (px, qty) in enumerate(levels, start=1)
    ]
    return pa.table(
        _repeated(events, [len(event.bids) + len(event.asks) for event in events])
        | {
            "side": pa.array([row[0] for row in rows], pa.string()),
            "level": pa.array([row[1] for row in rows], pa.int64()),
            "price": pa.array([row[2] for row in rows], pa.float64()),
            "size": pa.array([row[3] for row in rows], pa.float64()),
        }
    )


_KINDS: Final[dict[type, tuple[str, Any]]] = {
    Quote: ("quotes", _quotes),
    Trade: ("trades", _trades),
    Bar: ("bars", _bars),
    BookDelta: ("book_deltas", _deltas),
    BookSnapshot: ("book_snapshots", _snapshots),
}
