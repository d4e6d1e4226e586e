"""What a finished session says about itself: ``summary.json`` and ``series.json`` in its folder.

Owns their shape, that no secret gets into them, and a bounded way to collect the series while the session runs.  Who
counts is the core; who draws is ``engine.runtime.report``.  Money stays ``Decimal`` and is written as plain JSON
numbers, digit for digit.
"""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from engine.errors import DataError
from engine.quality.report import QualityLine
from engine.runtime.redaction import redactor

SUMMARY_FILE: Final = "summary.json"
SERIES_FILE: Final = "series.json"

_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles in microseconds; None when nothing was measured."""

    p50: float | None = None
    p99: float | None = None


class PositionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument at the end: signed quantity, average entry price; realised profit, fees, and what funding and
    interest have earned or, below zero, cost (portfolio currency)."""

    qty: Decimal
    avg_px: Decimal
    realised: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)


class OpenOrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was not known to be over when the session ended.  ``side`` is +1 or -1; ``state`` as in
    ``engine.order_states``; quantities in base units.  ``venue_order_id`` is empty where the venue never told one."""

    client_order_id: str
    venue_order_id: str
    venue: str
    instrument: str
    side: int
    state: str
    qty: Decimal
    leaves_qty: Decimal


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The object that ``paper --json`` prints.  Counts are of the whole session.

    ``equity`` is in ``currency``, None where a price or rate was missing at the end; ``rejected`` counts intents that
    risk refused plus orders that the venue refused, ``rejections`` splits them by reason, ``drops`` splits ``dropped``
    (market events not used) by reason.  ``quarantined`` names strategies that failed, with what they raised.
    ``state`` is the risk state at the end.  ``open_orders`` are the oldest of the ``open_order_count`` orders that may
    still live at their venues, ``unknown_order_count`` of which have an outcome that nobody knows.  ``warnings`` are
    lines for a person: what is left to be done by hand, why nothing was done (``engine.runtime.remarks``), what was odd
    about the data.  ``quality`` is what the quality gate found, by instrument.
    """

    session: str
    ticks: int
    predictions: int
    intents: int
    orders: int
    fills: int
    rejected: int
    positions: dict[str, PositionLine]
    equity: Decimal | None
    tick_to_order_us: Latency
    late_predictions: int
    dropped: int
    state: str
    started_ns: int
    ended_ns: int
    config_hash: str
    code_hash: str
    models: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    rejections: dict[str, int] = {}
    quarantined: dict[str, str] = {}
    drops: dict[str, int] = {}
    currency: str = "USD"
    equity_start: Decimal | None = None
    fees: Decimal | None = None
    funding: Decimal | None = None
    venue: str = ""
    feed: str = ""
    stopped_by: str = ""
    open_orders: tuple[OpenOrderLine, ...] = ()
    open_order_count: int = 0
    unknown_order_count: int = 0
    warnings: tuple[str, ...] = ()
    quality: dict[str, QualityLine] = {}


class FillPoint(msgspec.Struct, frozen=True, array_like=True):
    """One fill on the price chart.  ``side`` is +1 for a buy, -1 for a sell; ``fee`` in the currency it was paid in."""

    ts_ns: int
    instrument: str
    side: int
    qty: float
    px: float
    fee: float
    strategy: str


class SessionSeries(msgspec.Struct, frozen=True, kw_only=True):
    """What the report draws.  ``equity`` and each of ``mids`` hold ``(ts_ns, value)``; ``latency`` holds
    ``(upper edge in us, count)`` of the tick-to-order histogram's buckets, ascending."""

    equity: list[tuple[int, float | None]] = []
    mids: dict[str, list[tuple[int, float | None]]] = {}
    fills: list[FillPoint] = []
    latency: list[tuple[float, int]] = []


class BoundedSeries:
    """A series of at most ``limit`` points however long the session: when full, every other point goes and from then
    on half as many are taken.  The newest point is always part of ``points``."""

    def __init__(self, limit: int = 5000) -> None:
        if limit < 2:
            raise ValueError(f"limit {limit} is below 2")
        self._limit = limit
        self._stride = 1
        self._count = 0
        self._points: list[tuple[int, float | None]] = []
        self._last: tuple[int, float | None] | None = None

    def add(self, ts_ns: int, value: float) -> None:
        """Take a point; a value that is not finite makes a gap in the line."""
        self._last = (ts_ns, value if math.isfinite(value) else None)
        if self._count % self._stride == 0:
            if len(self._points) >= self._limit:
                self._points = self._points[::2]
                self._stride *= 2
            if self._count % self._stride == 0:
                self._points.append(self._last)
        self._count += 1

    @property
    def points(self) -> list[tuple[int, float | None]]:
        if self._last is None or (self._points and self._points[-1] == self._last):
            return list(self._points)
        return [*self._points, self._last]


def encode(value: SessionSummary | SessionSeries) -> bytes:
    """One line of JSON."""
    return _encoder.encode(value)


def redacted(summary: SessionSummary) -> SessionSummary:
    """The summary without secrets: reasons come from venues and from user code, and are shown, written and drawn."""
    plain = msgspec.to_builtins(summary, builtin_types=(Decimal,))
    return msgspec.convert(_clean(plain), SessionSummary)


def _clean(value: Any) -> Any:
    """Texts and keys by their look; numbers and the shape stay."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {redactor.text(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def read_summary(folder: Path) -> SessionSummary:
    """Raises ``DataError`` when the session has none (it still runs, or was killed) or it is damaged."""
    return _read(folder / SUMMARY_FILE, SessionSummary)


def read_series(folder: Path) -> SessionSeries:
    """The series of a session; empty ones where it wrote none.  Raises ``DataError`` when the file is damaged."""
    path = folder / SERIES_FILE
    return _read(path, SessionSeries) if path.exists() else SessionSeries()


_T = TypeVar("_T", SessionSummary, SessionSeries)


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist",
            expected="a session that has ended",
            do="a session that was killed has no summary: run replay on it",
        ) from None
    except (msgspec.DecodeError, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({error})", expected="a session's own file", do="do not edit it"
        ) from None
