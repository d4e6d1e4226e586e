"""Bars of the past: made up for before the start, from the market's own trades since then.

Owns bars and how they are asked for.  The same seed gives the same past.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from connectors.robin_stocks.sandbox.errors import Json, detail
from connectors.robin_stocks.sandbox.times import EXTENDED, NS, REGULAR, MarketHours, date_at, iso_seconds
from engine.instruments import Instrument

_FIVE_MIN_NS = 300 * NS
INTERVALS_NS = {
    "5minute": _FIVE_MIN_NS,
    "10minute": 2 * _FIVE_MIN_NS,
    "hour": 12 * _FIVE_MIN_NS,
    "day": 86_400 * NS,
    "week": 7 * 86_400 * NS,
}
SPANS = {"day": 1, "week": 5, "month": 21, "3month": 63, "year": 252, "5year": 1_260}
"""Sessions."""
_FINE_SESSIONS = 21
_STEP_SHARE = 0.0009
"""Usual move within five minutes."""


class Bar(msgspec.Struct):
    begins_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    session: str = "reg"

    def json(self) -> Json:
        return {
            "begins_at": iso_seconds(self.begins_ns),
            "open_price": f"{self.open:.6f}",
            "close_price": f"{self.close:.6f}",
            "high_price": f"{self.high:.6f}",
            "low_price": f"{self.low:.6f}",
            "volume": self.volume,
            "session": self.session,
            "interpolated": False,
        }


def merge(bars: Iterable[Bar], begins_ns: int) -> Bar:
    """Several bars in a row as one."""
    rows = list(bars)
    return Bar(
        begins_ns,
        rows[0].open,
        max(bar.high for bar in rows),
        min(bar.low for bar in rows),
        rows[-1].close,
        sum(bar.volume for bar in rows),
        rows[0].session,
    )


class Chart:
    """Bars of one thing: five minutes long for a month, a day long for five years, both up to the start; then live."""

    def __init__(self, instrument: Instrument, px: Decimal, hours: MarketHours, seed: int, now_ns: int) -> None:
        self._instrument = instrument
        self._px = px
        self._hours = hours
        self._seed = seed
        self._began_ns = now_ns
        self._fine: list[Bar] | None = None
        self._daily: list[Bar] | None = None
        self._live: list[Bar] = []
        self._volume = Decimal(0)

    def add(self, now_ns: int, px: Decimal, volume: Decimal) -> None:
        """A price of now; ``volume`` is all there was since the start."""
        begins_ns = now_ns // _FIVE_MIN_NS * _FIVE_MIN_NS
        traded, self._volume = int(volume - self._volume), volume
        last = self._live[-1] if self._live else None
        if last is None or last.begins_ns != begins_ns:
            self._live.append(Bar(begins_ns, px, px, px, px, traded))
            del self._live[: -_FINE_SESSIONS * 288]
            return
        last.high, last.low, last.close = max(last.high, px), min(last.low, px), px
        last.volume += traded

    def bars(self, interval: str, span: str, bounds: str, now_ns: int) -> list[Bar]:
        """Raises ``ApiError`` 400 for what the venue has no bars of."""
        if interval not in INTERVALS_NS or span not in SPANS or bounds not in ("regular", "extended", "trading"):
            raise detail(400, "Invalid interval, span or bounds.")
        if bounds != "regular" and span != "day":
            raise detail(400, "These bounds need a span of a day.")
        length_ns, sessions = INTERVALS_NS[interval], SPANS[span]
        if length_ns < INTERVALS_NS["day"]:
            if sessions > _FINE_SESSIONS:
                raise detail(400, "This interval is not kept for that span.")
            since_ns = self._opening(min(sessions, _FINE_SESSIONS), bounds, now_ns)
            rows = [bar for bar in (*self._fine_bars(), *self._live) if bar.begins_ns >= since_ns]
            return _merged(rows, length_ns)
        rows = [*self._daily_bars(), *([merge(self._live, self._live[0].begins_ns)] if self._live else [])][-sessions:]
        if interval == "day":
            return rows
        return [merge(rows[at : at + 5], rows[at].begins_ns) for at in range(0, len(rows), 5)]

    def _opening(self, sessions: int, bounds: str, now_ns: int) -> int:
        day = date_at(now_ns)
        if not self._hours.day(day).is_open:
            day = self._hours.next_open(day, -1)
        for _ in range(sessions - 1):
            day = self._hours.next_open(day, -1)
        return self._hours.day(day).spans[REGULAR if bounds == "regular" else EXTENDED].opens_ns

    def _fine_bars(self) -> list[Bar]:
        if self._fine is None:
            starts: list[int] = []
            day = date_at(self._began_ns)
            for _ in range(_FINE_SESSIONS + 1):
                span = self._hours.day(day).spans.get(REGULAR)
                if span is not None:
                    starts += range(span.opens_ns, min(span.closes_ns, self._began_ns), _FIVE_MIN_NS)
                day = self._hours.next_open(day, -1)
            self._fine = self._walk(sorted(starts), _STEP_SHARE, 4_000)
        return self._fine

    def _daily_bars(self) -> list[Bar]:
        if self._daily is None:
            starts, day = [], date_at(self._began_ns)
            for _ in range(SPANS["5year"]):
                day = self._hours.next_open(day, -1)
                starts.append(self._hours.day(day).spans[REGULAR].opens_ns // INTERVALS_NS["day"] * INTERVALS_NS["day"])
            self._daily = self._walk(sorted(starts), 14 * _STEP_SHARE, 300_000)
        return self._daily

    def _walk(self, starts: list[int], share: float, volume: int) -> list[Bar]:
        """A random walk that ends at the price of the start."""
        drawn = random.Random(f"{self._seed}/{self._instrument.id}/{share}")
        closes = [float(self._px)]
        for _ in starts:
            closes.append(max(closes[-1] * (1 + drawn.gauss(0, share)), 2 * float(self._instrument.tick_px)))
        closes.reverse()
        made = []
        for start, before, after in zip(starts, closes, closes[1:], strict=False):
            reach = abs(drawn.gauss(0, share)) * after
            ends = self._on_grid(before), self._on_grid(after)
            high, low = self._on_grid(max(before, after) + reach), self._on_grid(min(before, after) - reach)
            shares = int(volume * drawn.lognormvariate(0, 0.4))
            made.append(Bar(start, ends[0], max(high, *ends), min(low, *ends), ends[1], shares))
        return made

    def _on_grid(self, px: float) -> Decimal:
        return max(self._instrument.tick_px, self._instrument.price(px))


def _merged(rows: list[Bar], length_ns: int) -> list[Bar]:
    """Bars of five minutes as longer ones, each within its own start of the hour."""
    groups: dict[int, list[Bar]] = {}
    for bar in rows:
        groups.setdefault(bar.begins_ns // length_ns * length_ns, []).append(bar)
    return [merge(group, begins_ns) for begins_ns, group in groups.items()]
