"""Recorded markets to rows: the feature buffer of a session, and the prices that labels are made of.

Owns the slice of time and what stands beside the features.  There is no second implementation: a row here is the row
that a session on the same recording has.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from engine.errors import ConfigError
from engine.events import MarketEvent, Observation
from engine.features.buffer import FeatureBuffer
from engine.features.rows import Rows, compute_rows
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.labels import Labels, LabelSpec, label_rows
from models.labels.settings import RowPrices
from models.trainer.recorded import Recorded, Sources
from models.windows.table import Float64, RowTable


class InstrumentRows(NamedTuple):
    """All rows of one instrument, the highest and lowest price of each, (N,) float64, and their length (0: none)."""

    instrument: Instrument
    rows: Rows
    high_px: Float64
    low_px: Float64
    interval_ns: int

    @property
    def prices(self) -> RowPrices:
        rows = self.rows
        return RowPrices(
            rows.ts_recv_ns, rows.mid_px, self.high_px, self.low_px, self.instrument.tick_px, self.interval_ns
        )

    def labelled(self, labels: Mapping[str, LabelSpec]) -> dict[str, Labels]:
        return {name: label_rows(spec, self.prices) for name, spec in labels.items()}


def instrument_rows(
    market: Recorded, spec: FeatureSpec, start_ns: int | None = None, end_ns: int | None = None
) -> InstrumentRows:
    """The rows of one market, of events from ``start_ns`` to before ``end_ns`` (receive time).

    Raises ``DataError`` when the instrument cannot feed the spec.
    """
    highs, lows = array("d"), array("d")

    def note(buffer: FeatureBuffer) -> None:
        high_px, low_px = buffer.range_px
        highs.append(high_px)
        lows.append(low_px)

    rows = compute_rows(spec, market.instrument, between(market.events(), start_ns, end_ns), on_row=note)
    high_px, low_px = np.frombuffer(highs, np.float64), np.frombuffer(lows, np.float64)
    return InstrumentRows(market.instrument, rows, high_px, low_px, spec.sampling.interval_ns)


def in_memory(
    markets: Iterable[Recorded],
    spec: FeatureSpec,
    labels: Mapping[str, LabelSpec],
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> RowTable:
    """The rows of all markets in one table, nothing written."""
    pieces, marks, sources = [], [], []
    for market in markets:
        made = instrument_rows(market, spec, start_ns, end_ns)
        pieces.append(made)
        marks.append(made.labelled(labels))
        sources.append(market.sources)
    starts = np.cumsum([0, *(len(piece.rows.ts_recv_ns) for piece in pieces)])

    def joined(name: str) -> Labels:
        each = [mark[name] for mark in marks]
        last = [np.where(one.known, one.last + start, -1) for one, start in zip(each, starts, strict=False)]
        return Labels(np.concatenate([one.values for one in each]), np.concatenate(last))

    return RowTable(
        spec=spec,
        instruments=tuple(piece.instrument for piece in pieces),
        starts=starts,
        values=np.concatenate([piece.rows.values for piece in pieces]),
        ts_event_ns=np.concatenate([piece.rows.ts_event_ns for piece in pieces]),
        ts_ns=np.concatenate([piece.rows.ts_recv_ns for piece in pieces]),
        close_px=np.concatenate([piece.rows.mid_px for piece in pieces]),
        high_px=np.concatenate([piece.high_px for piece in pieces]),
        low_px=np.concatenate([piece.low_px for piece in pieces]),
        warm=np.concatenate([piece.rows.warm for piece in pieces]),
        sources=once(sources),
        labels={name: joined(name) for name in labels},
    )


def once(sources: Iterable[Sources]) -> Sources:
    """Every source where it comes first: instruments share the files that hold several."""
    return tuple(dict.fromkeys(source for each in sources for source in each))


def between(events: Iterator[MarketEvent], start_ns: int | None, end_ns: int | None) -> Iterator[MarketEvent]:
    """Events of a slice of time, and what was published before it."""
    for event in events:
        if start_ns is not None and event.ts_recv_ns < start_ns and type(event) is not Observation:
            continue
        if end_ns is not None and event.ts_recv_ns >= end_ns:
            return
        yield event


def ns_of(text: str | None, key: str) -> int | None:
    """Nanoseconds of an ISO 8601 time, UTC where it names no zone.  Raises ``ConfigError`` that names the key."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{key} is {text!r}", expected="an ISO 8601 time such as 2014-05-06T00:00:00Z") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000
