"""What can be wrong with stored rows, told by looking at a whole file: the closed list, and the counting.

Owns gaps, repeats, order, crossed quotes, price relations, outliers and clocks of a series of rows.  Whether a single
event is credible while trading is ``engine.quality``'s; this looks back at a file and may take its time.  Everything is
vectorised and of bounded memory: rows come in tables, in order of time.
"""

from __future__ import annotations

import enum
from collections import Counter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.data.holes import Holes
from engine.data.repeats import Repeats
from engine.data.sessions import Market

Floats = npt.NDArray[np.float64]

SNAPSHOT_FLAG: Final = 32
"""Bit of ``flags`` on a row of an initial snapshot (Databento's F_SNAPSHOT)."""
SPIKE_SCALES: Final = 40.0
"""A price that leaves and comes back: by this many times the median move, and by ``SPIKE_BPS`` at least.  Measured: of
1.9 M prints of SPY in a week 58 are so far off (reported late, or at an average), of 61,344 candles of SOL one."""
SPIKE_BPS: Final = 50.0
JUMP_LOG: Final = 0.4
"""|ln(price / price before)|: splits (2:1 is 0.69) and the largest days of single stocks are above it."""
_MOVES_MIN: Final = 100
"""Moves from which a median move is taken for one."""


class Outcome(enum.StrEnum):
    """What an import does with a row that has the defect."""

    KEPT = "kept"
    DROPPED = "dropped"
    REMARK = "remark"
    """Nothing is wrong; whoever uses the data should know."""


class Defect(msgspec.Struct, frozen=True):
    outcome: Outcome
    meaning: str


def _kept(meaning: str) -> Defect:
    return Defect(Outcome.KEPT, meaning)


def _dropped(meaning: str) -> Defect:
    return Defect(Outcome.DROPPED, meaning)


def _remark(meaning: str) -> Defect:
    return Defect(Outcome.REMARK, meaning)


DEFECTS: Final[dict[str, Defect]] = {
    "no_time": _dropped("rows without a time"),
    "no_value": _dropped("rows in which a number that every row needs is missing, NaN or infinite"),
    "undated": _dropped("raw messages without a receive time (`--received TIME` stores them at that time)"),
    "repeated_bars": _dropped("bars that repeat an earlier one of the same time, value for value"),
    "conflicting_bars": _dropped("bars of a time that has one already, with other values; the first stays"),
    "stored_already": _dropped("rows that the catalogue has, value for value, from another source"),
    "differs_from_stored": _dropped("bars of a time that the catalogue has with other values; the stored one stays"),
    "ambiguous_time": _kept("local times of the hour that autumn repeats, taken for the first of the two"),
    "non_monotonic": _kept("rows with a time before that of the row above; sorted (stable) unless received in order"),
    "duplicates": _kept("rows equal to an earlier row of the same time; on the US tape these are prints of their own"),
    "crossed": _kept("bid above ask (of the close, for quote bars); the quality gate drops them when they are used"),
    "locked": _kept("bid equal to ask"),
    "bad_ohlc": _kept("high below, or low above, another price of the bar"),
    "not_positive": _kept("prices of zero or less"),
    "bad_size": _kept("sizes or volumes below zero"),
    "zero_volume": _kept("bars in which nothing was traded"),
    "outliers": _kept("prices that leave by more than 40 median moves and 50 bps, and come back with the next row"),
    "jumps": _kept("moves from one row to the next of more than 0.4 in ln (up 49 %, down 33 %): a split, or news"),
    "suspicious": _kept("rows that the vendor itself marks as suspicious"),
    "missing_bars": _kept("bars that the session should have, in holes of less than a day"),
    "long_holes": _kept("holes of a day or more of open hours, such as between separate recordings"),
    "off_grid": _kept("bars that do not start on a multiple of their interval after the first one"),
    "silences": _kept("an hour or more of open hours without a row"),
    "broken_chain": _kept("book updates that do not go on where the one before ended: messages are missing"),
    "clock_behind": _kept("rows of a recorder whose clock runs behind the venue's (median of recv - ts below -1 ms)"),
    "label_unclear": _kept("bars of which the source does not say whether the time is their start or their end"),
    "volume_unit": _kept("bars whose source says that their volume is not in base units (shares, contracts)"),
    "published_early": _kept("values published before their period ended: a forecast, or columns mixed up"),
    "published_at_midnight": _kept(
        "values all published at midnight: if these are days, written as times, each is known too early; write days"
    ),
    "stored_before": _remark("rows that an earlier import of this very file has stored; they are as they were"),
    "no_venue_time": _remark("rows whose time is the receiver's: the venue gave none"),
    "session_holes": _remark("holes that a closed market explains: nights, weekends, holidays"),
    "snapshot_rows": _remark("rows of the initial snapshot of an order book, with times from before the recording"),
    "published_by_day": _remark("values of which the day of publication is known only: they count from its end"),
    "naive_time": _remark("times without a zone, taken for UTC (`--tz` names another)"),
}
"""By name; the order is that of reports."""

REMARKS: Final = frozenset(name for name, defect in DEFECTS.items() if defect.outcome is Outcome.REMARK)


class Examination:
    """Counts the defects of one series; ``add`` its rows in order of time, then ``finish``.

    ``after``: the examination of the rows before these, so that a hole between the two is seen.
    """

    def __init__(self, kind: str, market: Market, interval_ns: int = 0, *, after: Examination | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self.lag_ns: int | None = None
        """Median of ``recv_ns - ts_ns``: of the median of each table, for tables of equal size the same thing."""
        self._kind = kind
        self._interval_ns = interval_ns
        self._holes = Holes(kind, market, interval_ns)
        self._repeats = Repeats()
        self._lags: list[float] = []
        self._venue_time = False
        self._received = False
        self._prices: Floats = np.zeros(0)
        self._move = 0.0
        self._last_update: int | None = None
        if after is not None:
            self._holes.follow(after._holes)
            self._prices, self._move, self._last_update = after._prices, after._move, after._last_update

    def add(self, table: Any) -> None:
        """Rows with columns of the kind (``engine.data.kinds``), with or without the optional ones."""
        if not table.num_rows:
            return
        columns = {name for name in table.schema.names if table.column(name).null_count < table.num_rows}
        self.rows += table.num_rows
        self._counts("duplicates", self._repeats.add(table))
        if self._kind == "frames":
            return
        self._clock(table, columns)
        self._quotes(table, columns)
        self._bars(table, columns)
        self._words(table, columns)
        self._chain(table, columns)
        times = _ints(table, "ts_ns")
        if "flags" in columns:
            early = (_ints(table, "flags") & SNAPSHOT_FLAG) != 0
            self._counts("snapshot_rows", early)
            times = times[~early]
        self._holes.add(times)
        self._moves(table, columns)

    def finish(self) -> Counter[str]:
        """All counts that are not zero."""
        self._counts("duplicates", self._repeats.finish())
        self.counts += self._holes.finish()
        if self._lags:
            self.lag_ns = int(np.median(np.array(self._lags)))
            if self.lag_ns < -1_000_000:
                self._counts("clock_behind", self.rows)
        if self._received and not self._venue_time:
            self._counts("no_venue_time", self.rows)
        return +self.counts

    def _counts(self, name: str, what: Any) -> None:
        self.counts[name] += int(what.sum()) if isinstance(what, np.ndarray) else int(what)

    def _clock(self, table: Any, columns: set[str]) -> None:
        if "recv_ns" not in columns:
            return
        lag = _ints(table, "recv_ns") - _ints(table, "ts_ns")
        self._received = True
        self._venue_time = self._venue_time or bool(lag.any())
        self._lags.append(float(np.median(lag)))

    def _quotes(self, table: Any, columns: set[str]) -> None:
        pair = next((pair for pair in _BID_ASK if columns.issuperset(pair)), None)
        if pair is not None:
            bid, ask = _floats(table, pair[0]), _floats(table, pair[1])
            self._counts("crossed", bid > ask)
            self._counts("locked", bid == ask)
        prices = [name for name in _PRICES if name in columns]
        if prices and self._kind != "exogenous":
            low = np.fmin.reduce([_floats(table, name) for name in prices])
            self._counts("not_positive", low <= 0.0)
        sizes = [name for name in _SIZES if name in columns]
        if sizes:
            self._counts("bad_size", np.fmin.reduce([_floats(table, name) for name in sizes]) < 0.0)

    def _bars(self, table: Any, columns: set[str]) -> None:
        bad = np.zeros(table.num_rows, np.bool_)
        for side in ("", "bid_", "ask_"):
            names = [f"{side}{name}" for name in ("open", "high", "low", "close")]
            if columns.issuperset(names):
                first, high, low, last = (_floats(table, name) for name in names)
                bad |= (high < np.maximum(first, last)) | (low > np.minimum(first, last)) | (high < low)
        self._counts("bad_ohlc", bad)
        if self._kind == "bars" and "volume" in columns:
            self._counts("zero_volume", _floats(table, "volume") == 0.0)
        if self._kind == "exogenous":
            self._counts("published_early", _ints(table, "ts_ns") < _ints(table, "period_end_ns"))

    def _words(self, table: Any, columns: set[str]) -> None:
        if "suspicious" in columns:
            flags = table.column("suspicious").combine_chunks().fill_null(False)
            self._counts("suspicious", flags.to_numpy(zero_copy_only=False))

    def _moves(self, table: Any, columns: set[str]) -> None:
        """Spikes and jumps of the price; the last two prices are carried over to the next table."""
        prices = self._price(table, columns)
        if prices is None:
            return
        good = prices > 0.0
        judged = max(self._prices.size - 1, 0)  # moves between carried prices: the table before counted them
        follows_hole = np.isin(_ints(table, "ts_ns")[good], self._holes.breaks)
        follows_hole = np.concatenate((np.zeros(self._prices.size, np.bool_), follows_hole))
        prices = np.concatenate((self._prices, prices[good]))
        self._prices = prices[-2:]
        moves = np.diff(np.log(prices))
        if moves.size <= judged:
            return
        sizes = np.abs(moves)
        self._counts("jumps", ((sizes > JUMP_LOG) & ~follows_hole[1:])[judged:])
        some = sizes[sizes > 0.0]
        if some.size >= _MOVES_MIN:
            self._move = float(np.median(some))
        if not self._move or moves.size < 2:
            return
        least = np.minimum(sizes[:-1], sizes[1:])
        back = (moves[:-1] * moves[1:] < 0.0) & (np.abs(moves[:-1] + moves[1:]) < 0.5 * least)
        self._counts("outliers", back & (least > max(SPIKE_SCALES * self._move, SPIKE_BPS / 1e4)))

    def _price(self, table: Any, columns: set[str]) -> Floats | None:
        """The series whose moves are looked at; None for kinds whose rows are not one price after another."""
        if self._kind in ("trades", "bars"):
            return _floats(table, "price" if self._kind == "trades" else "close")
        pair = next((pair for pair in _BID_ASK if columns.issuperset(pair)), None)
        return (_floats(table, pair[0]) + _floats(table, pair[1])) / 2.0 if pair else None

    def _chain(self, table: Any, columns: set[str]) -> None:
        """A message's ``prev_update_id`` is the ``last_update_id`` of the one before; where a venue gives none (null or
        negative), its ``first_update_id`` is one more than that."""
        if self._kind != "book_deltas" or not columns.issuperset(("first_update_id", "last_update_id")):
            return
        first, last = _ints(table, "first_update_id"), _ints(table, "last_update_id")
        before = np.concatenate(([last[0] if self._last_update is None else self._last_update], last[:-1]))
        previous = first - 1
        if "prev_update_id" in columns:
            said = _ints(table, "prev_update_id", missing=-1)
            previous = np.where(said >= 0, said, previous)
        self._counts("broken_chain", (last != before) & (previous != before))
        self._last_update = int(last[-1])


_BID_ASK: Final = (("bid", "ask"), ("bid_close", "ask_close"), ("bid_price_1", "ask_price_1"))
_PRICES: Final = (
    *("price", "bid", "ask", "open", "high", "low", "close", "bid_price_1", "ask_price_1"),
    *(f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close")),
)
_SIZES: Final = ("size", "volume", "bid_size", "ask_size", "bid_size_1", "ask_size_1")


def _floats(table: Any, name: str) -> Floats:
    values: Floats = table.column(name).to_numpy()
    return values


def _ints(table: Any, name: str, missing: int = 0) -> npt.NDArray[np.int64]:
    column = table.column(name)
    if column.null_count:
        column = column.fill_null(missing)
    values: npt.NDArray[np.int64] = column.to_numpy()
    return values


def examined(table: Any, kind: str, market: Market, interval_ns: int = 0) -> Counter[str]:
    """The defects of rows that are all in memory, in order of time."""
    examination = Examination(kind, market, interval_ns)
    examination.add(pa.table(table) if isinstance(table, dict) else table)
    return examination.finish()
