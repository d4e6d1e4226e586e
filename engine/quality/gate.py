"""The quality gate of one instrument: judges its market events in order, live and over stored arrays alike.

Owns the record and the door into compiled code; the rules are ``engine.quality.kernel``'s, what follows from a verdict
is the caller's.  Fails closed: what cannot be judged is dropped.
"""

from __future__ import annotations

from decimal import Decimal
from math import inf, isfinite, nan
from typing import Final, Protocol
from zlib import adler32, crc32

import numpy as np
import numpy.typing as npt

from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.quality import kernel
from engine.quality import layout as at
from engine.quality.compiled import batch_function, step_function
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import ACCEPTED, BAD_SIZE, DROPPED, GATE_FAILED, NOT_FINITE, NOT_POSITIVE

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

_QUOTE, _TRADE, _BAR, _BOOK = kernel.QUOTE, kernel.TRADE, kernel.BAR, kernel.BOOK
_BROKEN: Final = DROPPED + 4 * GATE_FAILED
_EXACT: Final = 9_007_199_254_740_881
"""The largest prime that a float64 counts to: ids longer than that keep their neighbours apart."""
DEFAULT: Final = Tolerances()


class Rules(Protocol):
    """What the gate asks of an instrument; ``engine.instruments.Instrument`` says it."""

    @property
    def allows_negative_px(self) -> bool: ...

    @property
    def has_quote_sizes(self) -> bool: ...

    @property
    def tick_px(self) -> Decimal: ...


class QualityGate:
    """Judges the events of one instrument.  Each method returns ``verdict + 4 * issue`` (``engine.quality.verdicts``);
    0 is an accepted event of which there is nothing to say.  No method raises."""

    __slots__ = ("_floor_px", "_s", "_step")

    def __init__(self, instrument: Rules, tolerances: Tolerances = DEFAULT) -> None:
        self._step = step_function()
        self._s = s = np.zeros(at.SLOTS, np.float64)
        s[at.OUTLIER_Z] = tolerances.outlier_z
        s[at.OUTLIER_FRACTION] = tolerances.outlier_bps * 1e-4
        s[at.CONFIRM_NS] = tolerances.confirm_ns
        s[at.CONFIRM_RUN] = tolerances.confirm_run
        s[at.FUTURE_NS] = tolerances.future_ns
        s[at.STALE_NS] = tolerances.stale_ns
        s[at.LATE_NS] = tolerances.late_ns
        s[at.OFFSET_MAX_NS] = tolerances.clock_offset_ns_max
        s[at.BLIND_NS] = tolerances.blind_ns
        s[at.VOLUME_Z] = tolerances.volume_z
        s[at.VOLUME_RATIO] = tolerances.volume_ratio
        s[at.ID_NEWEST] = -1.0
        s[at.REFERENCE_PX] = nan
        self.redefine(instrument)

    def redefine(self, instrument: Rules) -> None:
        """The instrument's rules became known or changed; what was learned of its market stays."""
        s = self._s
        s[at.PX_FLOOR] = self._floor_px = -inf if instrument.allows_negative_px else 0.0
        s[at.HAS_SIZES] = 1.0 if instrument.has_quote_sizes else 0.0
        s[at.TICK_PX] = float(instrument.tick_px)

    # --- one event ------------------------------------------------------------------------------------------------

    def quote(self, quote: Quote) -> int:
        """Best prices of the venue, or those that a change of its book made."""
        try:
            return self._step(
                self._s,
                _QUOTE,
                quote.bid_px,
                quote.bid_qty,
                quote.ask_px,
                quote.ask_qty,
                quote.ts_event_ns,
                quote.ts_recv_ns,
            )
        except Exception:
            return self._broken()

    def trade(self, trade: Trade) -> int:
        """A public trade; a price near the last accepted quote needs no second one."""
        try:
            name = trade.trade_id
            # Most venues count their trades: ``id_key`` without the call.
            key = float(name) if len(name) < 16 and name.isdecimal() else id_key(name)
            return self._step(self._s, _TRADE, trade.px, trade.qty, key, 0.0, trade.ts_event_ns, trade.ts_recv_ns)
        except Exception:
            return self._broken()

    def bar(self, bar: Bar) -> int:
        """A candle of history; never suspect, because it cannot wait for its successor."""
        try:
            self._s[at.NEXT_INTERVAL_NS] = bar.interval_ns
            self._s[at.NEXT_VOLUME] = bar.volume_qty
            return self._step(
                self._s,
                _BAR,
                bar.open_px,
                bar.high_px,
                bar.low_px,
                bar.close_px,
                bar.ts_event_ns,
                bar.ts_recv_ns,
            )
        except Exception:
            return self._broken()

    def refer(self, reference_px: float) -> None:
        """The price that others see for the next quote or trade: one within ``outlier_bps`` of it is believed."""
        self._s[at.REFERENCE_PX] = reference_px

    def expect(self, px: float) -> None:
        """Where this market was when it was last seen, before anything of it has come: a first quote or trade far from
        there is held back until others agree, like any other.  Of several the last one counts."""
        s = self._s
        if isfinite(px) and px > self._floor_px and s[at.QUOTES + at.HAS_NEWEST] == s[at.TRADES + at.HAS_NEWEST] == 0.0:
            s[at.QUOTES + at.LAST_PX] = s[at.TRADES + at.LAST_PX] = s[at.BID_PX] = s[at.ASK_PX] = px
            s[at.QUOTES + at.HAS_PX] = s[at.TRADES + at.HAS_PX] = 1.0

    @property
    def expected_px(self) -> float:
        """The last accepted middle of a quote, else trade; NaN before the first, or what ``expect`` was told."""
        s = self._s
        for stream in (at.QUOTES, at.TRADES):
            if s[stream + at.HAS_PX] != 0.0:
                return float(s[stream + at.LAST_PX])
        return nan

    def delta(self, delta: BookDelta) -> int:
        """Numbers and time of a book change; the best prices it makes are judged as a quote."""
        try:
            floor_px = self._floor_px
            for _, px, qty in delta.changes:
                if not (floor_px < px < inf and 0.0 <= qty < inf):
                    return self._bad_level(px, qty, delta.ts_recv_ns)
            return self._step(self._s, _BOOK, 0.0, 0.0, 0.0, 0.0, delta.ts_event_ns, delta.ts_recv_ns)
        except Exception:
            return self._broken()

    def snapshot(self, snapshot: BookSnapshot) -> int:
        """As ``delta``, of all levels."""
        try:
            floor_px = self._floor_px
            for levels in (snapshot.bids, snapshot.asks):
                for px, qty in levels:
                    if not (floor_px < px < inf and 0.0 <= qty < inf):
                        return self._bad_level(px, qty, snapshot.ts_recv_ns)
            return self._step(self._s, _BOOK, 0.0, 0.0, 0.0, 0.0, snapshot.ts_event_ns, snapshot.ts_recv_ns)
        except Exception:
            return self._broken()

    def is_plausible(self, quote: Quote) -> bool:
        """Whether the best prices of a book may be shown of which the time alone was refused (``verdicts.is_shown``).
        Counts nothing: the change that made them is counted."""
        try:
            code = self._step(
                self._s, kernel.SHOWN, quote.bid_px, quote.bid_qty, quote.ask_px, quote.ask_qty, 0, quote.ts_recv_ns
            )
        except Exception:
            return False
        return code == ACCEPTED

    def _bad_level(self, px: float, qty: float, recv_ns: int) -> int:
        if not (-inf < px < inf and -inf < qty < inf):
            issue = NOT_FINITE
        else:
            issue = NOT_POSITIVE if px <= self._floor_px else BAD_SIZE
        return self._step(self._s, kernel.NOTE, DROPPED + 4.0 * issue, 0.0, 0.0, 0.0, 0, recv_ns)

    def _broken(self) -> int:
        """A value of a foreign type, or a defect of ours: dropped, and counted without an hour."""
        self._s[at.TOTAL + at.COUNT_VERDICT + DROPPED] += 1.0
        self._s[at.TOTAL + at.COUNT_ISSUE + GATE_FAILED] += 1.0
        return _BROKEN

    # --- whole arrays ---------------------------------------------------------------------------------------------

    def judge_quotes(
        self,
        ts_ns: Int64Array,
        recv_ns: Int64Array,
        bid_px: Float64Array,
        ask_px: Float64Array,
        bid_qty: Float64Array | None = None,
        ask_qty: Float64Array | None = None,
    ) -> Codes:
        """(N,) codes of N quotes in order: those that ``quote`` would have given one by one."""
        return self._batch(_QUOTE, ts_ns, recv_ns, bid_px, bid_qty, ask_px, ask_qty, None)

    def judge_trades(
        self,
        ts_ns: Int64Array,
        recv_ns: Int64Array,
        px: Float64Array,
        qty: Float64Array,
        keys: Float64Array | None = None,
    ) -> Codes:
        """As ``judge_quotes``.  ``keys``: ``id_key`` of each trade id; None where the source has no ids."""
        keys = np.full(len(px), -1.0) if keys is None else keys
        return self._batch(_TRADE, ts_ns, recv_ns, px, qty, keys, None, None)

    def judge_bars(
        self,
        ts_ns: Int64Array,
        recv_ns: Int64Array,
        open_px: Float64Array,
        high_px: Float64Array,
        low_px: Float64Array,
        close_px: Float64Array,
        volume_qty: Float64Array,
        interval_ns: int,
    ) -> Codes:
        """As ``judge_quotes``, of candles of one interval; ``ts_ns`` may be their start or their end."""
        self._s[at.NEXT_INTERVAL_NS] = interval_ns
        return self._batch(_BAR, ts_ns, recv_ns, open_px, high_px, low_px, close_px, volume_qty)

    def _batch(self, kind: int, ts_ns: Int64Array, recv_ns: Int64Array, *columns: Float64Array | None) -> Codes:
        n = len(ts_ns)
        codes = np.zeros(n, np.uint8)
        absent = np.full(n, nan)
        given = [np.require(absent if column is None else column, np.float64, ["C", "W"]) for column in columns]
        times = [np.require(column, np.int64, ["C", "W"]) for column in (ts_ns, recv_ns)]
        if any(len(column) != n for column in (*given, *times)):
            raise ValueError("columns of different lengths")
        batch_function()(self._s, kind, *given, *times, codes)
        return codes

    # --- what it knows --------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Float64Array:
        """All judgements so far: three verdicts, then each issue (``layout.COUNT_ISSUE``)."""
        return self._s[at.TOTAL : at.TOTAL + at.COUNT_SLOTS]

    def counts_since(self, first_hour: int) -> Float64Array:
        """The same of the hours from ``first_hour`` (since 1970, of receive time) on, of the last 48."""
        buckets = self._s[at.BUCKETS :].reshape(at.HOURS, at.HOUR_SLOTS)
        wanted = buckets[:, at.HOUR_NUMBER] > first_hour
        found: Float64Array = buckets[wanted, at.HOUR_COUNTS :].sum(axis=0)
        return found

    @property
    def newest_hour(self) -> int:
        """Hours since 1970 of the newest judgement; -1 before the first."""
        return int(self._s[at.BUCKETS :].reshape(at.HOURS, at.HOUR_SLOTS)[:, at.HOUR_NUMBER].max()) - 1

    def clock_offset_ns(self) -> dict[str, float]:
        """Receive clock less venue clock by stream, least delay included; streams that nothing was learned of are not
        there.  Quotes and trades differ where only one of them has venue times."""
        return {
            name: float(min(self._s[stream + at.DELAY_MIN_NS], self._s[stream + at.DELAY_BEFORE_NS]))
            for name, stream in (("quotes", at.QUOTES), ("trades", at.TRADES))
            if self._s[stream + at.CLOCK_SEEN]
        }


def id_key(trade_id: str) -> float:
    """A trade id as the gate compares it: itself where it is all digits, else a hash that is the same on each run; -1
    without one."""
    if not trade_id:
        return -1.0
    # Digits only: to ``float`` every hexadecimal id like 12e34567 is infinity, all of them one id.
    if trade_id.isdecimal():
        return float(trade_id) if len(trade_id) < 16 else float(int(trade_id) % _EXACT)
    text = trade_id.encode("utf-8", "surrogatepass")
    return float(crc32(text) << 20 | adler32(text) & 0xFFFFF)
