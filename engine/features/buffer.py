"""The rolling feature window of one instrument: market events in, a ``(W, F)`` view for the model out.

Owns the state record, the window ring, the cutting of time bars and what "warm" means.  The arithmetic is compiled
(``engine.features.fused``); the model and the strategy only read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.events import Bar, MarketEvent, Quote, Trade
from engine.features import layout as at
from engine.features import record, tape
from engine.features.fused import kernel_for, loop
from engine.features.spec import FeatureSpec
from engine.features.surroundings import NEVER_NS, Surroundings
from engine.instruments import Instrument
from engine.ports import Float32Array

_HISTORY_BAR = tape.HISTORY_BAR
_TROUBLE = (TypeError, ValueError, OverflowError)
"""What a value of the wrong type raises on its way into the kernel: such an event is refused like any other bad one."""


class FeatureBuffer:
    """Implements ``engine.ports.Features`` for one instrument.

    ``update`` is called by the core with accepted market events only, in order.  It never raises: what the kernel
    cannot use is counted in ``rejected`` (bad numbers), ``late`` (older than the open time bar, or a candle older than
    the newest row) or ``revised`` (the newest row's candle again, with other numbers).  A row that was made stands: the
    model has seen it.

    Raises ``DataError`` at construction when the instrument does not give what a column needs.
    """

    def __init__(self, spec: FeatureSpec, instrument: Instrument) -> None:
        lacking = spec.lacking(instrument)
        if lacking:
            raise DataError(
                f"{instrument.id} cannot feed {', '.join(lacking)} of feature spec {spec.name!r}",
                expected="an instrument that gives what the columns need",
                do="use a spec made for it, such as quote40",
            )
        self.spec = spec
        self.instrument = instrument
        kernel = kernel_for(spec)
        self._step = kernel.step
        self._private = kernel.private
        self._values = kernel.values
        self._index = {name: kernel.values + i for i, name in enumerate(spec.columns)}
        self._w = spec.window
        self._s = np.zeros(kernel.state_slots, np.float64)
        # The same slots: NumPy takes twice as long to write one number.
        self._cells: Any = self._s.data
        self._ring = np.full(2 * self._w * len(spec.columns), np.nan, np.float32)
        # All W windows exist once: handing one out is an index.
        table = self._ring.reshape(2 * self._w, len(spec.columns))
        self._views = tuple(table[i : i + self._w] for i in range(self._w))
        self._interval_ns = spec.sampling.interval_ns if spec.sampling.kind == "time_bar" else 0
        self._lateness_ns = spec.sampling.lateness_ns
        self._wants_trades = "trades" in spec.requires
        self._hole_ns = spec.gap.hole_ns_max
        # Where holes are passed over, the bars tell when one is too long.
        self._silence_ns = 0 if self._hole_ns else spec.gap.silence_ns_max
        self._outside: Surroundings | None = None
        if spec.peers or spec.series or {"depth", "sessions"} & spec.requires:
            self._outside = Surroundings(spec, instrument, self._s, (kernel.peers, kernel.series), self._put)
        self._compiled = kernel.compiled
        # A candle's volume is traded quantity; where no trades exist the venue counts price updates, as the spec does.
        self._takes_history = self._interval_ns > 0 and (spec.volume == "trades") == instrument.has_trades
        self.rows = 0
        """Rows made since construction."""
        self.rejected = 0
        self.late = 0
        self.revised = 0
        self.restarts = 0
        self.reason_before_gap = ""
        """Why it was not warm when the feed last broke; empty when it was."""
        self.on_bar: Callable[[], None] | None = None
        """Called after each time bar that became a row: one update may complete several."""
        self._gap_reason = ""
        self._bar_start_ns: int | None = None
        self._bar_partial = False
        self._last_end_ns: int | None = None
        self._last_event_ns: int | None = None
        self._flat_rows = 0
        record.configure(self._s, spec, allows_negative_px=instrument.allows_negative_px)
        self._clear()

    def _clear(self) -> None:
        """Forget everything that older events left, configuration apart."""
        record.forget(self._s, self._private, self._values)
        self._ring.fill(np.nan)
        self._warm = False
        self._bar_start_ns = None
        self._last_end_ns = None
        self._last_event_ns = None
        self._flat_rows = 0
        if self._outside is not None:
            self._outside.restore()

    # --- events ---------------------------------------------------------------------------------------------------

    def update(self, event: MarketEvent) -> bool:
        """Take in an accepted market event; True when it completed a new row (several, after bars without quotes)."""
        # Hot path: attribute access and one call into compiled code; everything rare is behind _refused and _timed.
        if self._outside is not None and self._outside.take(event, self._open_end_ns()):
            return False
        if type(event) is Quote:
            if self._interval_ns:
                return self._timed(event)
            try:
                code = self._step(
                    self._s, self._ring, 0, event.bid_px, event.bid_qty, event.ask_px, event.ask_qty, event.ts_event_ns
                )
            except _TROUBLE:
                code = -1
            if code > 0:
                self.rows += 1
                self._warm = code == 2
                return True
            return code < 0 and self._refused(event, code)
        if type(event) is Trade:
            if not self._wants_trades:
                return False
            if self._interval_ns:
                return self._timed(event)
            try:
                code = self._step(self._s, self._ring, 1, event.px, event.qty, event.aggressor, 0.0, event.ts_event_ns)
            except _TROUBLE:
                code = -1
            if code > 0:
                return self._made(code)
            return code < 0 and self._refused(event, code)
        if type(event) is Bar:
            return self._history(event)
        return False

    def on_timer(self, now_ns: int) -> bool:
        """Close time bars whose end plus the declared lateness has passed; True when that made a row."""
        if self._bar_start_ns is None:
            return False
        before = self.rows
        self._close_bars(now_ns - self._lateness_ns)
        return self.rows > before

    def mark_gap(self, reason: str, of: str = "") -> None:
        """The feed had a hole: indicators restart, and the buffer is not warm until W clean rows have passed.

        ``of``: the hole is in the feed of that other instrument; only what it costs becomes unknown.
        """
        if of:
            if self._outside is not None:
                self._outside.lose(of)
            return
        if self._outside is not None:
            self._outside.forget()
        self._restart(reason)

    def _restart(self, reason: str) -> None:
        """Too much time lies between two rows; nothing was lost, so the book's levels still hold."""
        self.reason_before_gap = self.reason
        self._gap_reason = reason or "gap in the feed"
        self.restarts += 1
        self._clear()

    def _put(self, kind: int, block: int, value: float, period_s: float, ts_ns: int) -> None:
        self._step(self._s, self._ring, kind, float(block), value, period_s, 0.0, ts_ns)

    def _open_end_ns(self) -> int:
        """When the open time bar ends; far away where there is none."""
        return NEVER_NS if self._bar_start_ns is None else self._bar_start_ns + self._interval_ns

    def _feed(self, event: Quote | Trade) -> int:
        try:
            if type(event) is Quote:
                return self._step(
                    self._s, self._ring, 0, event.bid_px, event.bid_qty, event.ask_px, event.ask_qty, event.ts_event_ns
                )
            assert type(event) is Trade
            return self._step(self._s, self._ring, 1, event.px, event.qty, event.aggressor, 0.0, event.ts_event_ns)
        except _TROUBLE:
            return tape.REJECTED

    def _refused(self, event: Quote | Trade, code: int) -> bool:
        """The kernel took nothing: a bad event is counted, after a silence everything starts anew with this event."""
        if code == tape.SILENCE:
            self._restart_after_silence()
            code = self._feed(event)
        if code == tape.REJECTED:
            self.rejected += 1
        return self._made(code)

    def _made(self, code: int) -> bool:
        if code > 0:
            self.rows += 1
            self._warm = code == tape.WARM_ROW
            return True
        return False

    def _restart_after_silence(self) -> None:
        self._restart(f"no event for more than {self._silence_ns / 1e9:g} s")

    # --- time bars ------------------------------------------------------------------------------------------------

    def _timed(self, event: Quote | Trade) -> bool:
        """Close the bars that end at or before this event, then take it into the open one.

        A timer closes the others that are due when it is received; a recording has none, and neither may the rows
        depend on how often there is one.
        """
        ts_ns = event.ts_event_ns
        if not record.is_plausible(event):
            self.rejected += 1
            return False
        silence = self._silence_ns
        if silence and self._last_event_ns is not None and ts_ns - self._last_event_ns > silence:
            # The open bar goes too: nobody knows what it missed.
            self._restart_after_silence()
        before = self.rows
        self._close_bars(max(ts_ns, event.ts_recv_ns - self._lateness_ns))
        if self._bar_start_ns is not None and ts_ns < self._bar_start_ns:
            self.late += 1
            return self.rows > before
        if self._bar_start_ns is None:
            self._bar_start_ns = ts_ns - ts_ns % self._interval_ns
            self._bar_partial = ts_ns != self._bar_start_ns
        if self._hole_ns and self._last_end_ns is not None and self._s[at.HAS_OPEN] == 0.0:
            start_ns = self._bar_start_ns
            if self._check_hole(start_ns):
                # The market was closed, not the feed: this bar was seen from its beginning.
                self._bar_start_ns, self._bar_partial = start_ns, False
        self._last_event_ns = ts_ns
        if self._feed(event) == tape.REJECTED:
            self.rejected += 1
        return self.rows > before

    def _close_bars(self, until_ns: int) -> None:
        """Close the open bar, and each that follows it, where it ends then or earlier."""
        while self._bar_start_ns is not None and until_ns >= self._bar_start_ns + self._interval_ns:
            self._close_bar(self._bar_start_ns)
            if self._hole_ns and self._bar_start_ns is not None:
                # Nothing happened in those up to then, and so they make no rows: a weekend of them is one step.
                self._bar_start_ns += max((until_ns - self._bar_start_ns) // self._interval_ns, 0) * self._interval_ns

    def _close_bar(self, start_ns: int) -> None:
        """End the open bar: a row, or nothing when its beginning was not seen, or a restart when rows are missing."""
        end_ns = start_ns + self._interval_ns
        if self._outside is not None:
            self._outside.release(end_ns)
        happened = self._s[at.HAS_OPEN] != 0.0
        if self._hole_ns:
            if not happened:
                # No row; whether the hole is too long shows when the next bar comes.
                self._bar_start_ns, self._bar_partial = end_ns, False
                return
        elif self._last_end_ns is not None and self._last_end_ns != start_ns:
            missing = (start_ns - self._last_end_ns) // self._interval_ns
            self._restart(f"{missing} bars are missing between history and feed")
            return
        self._bar_start_ns = end_ns
        if self._bar_partial:
            self._bar_partial = False
            # Directly after history the bar stays: its close is exact, and its part before our start is not knowable.
            if self._last_end_ns is None:
                self._step(self._s, self._ring, tape.DROP_BAR, 0.0, 0.0, 0.0, 0.0, end_ns)
                return
        if not happened:
            self._flat_rows += 1
            if self._flat_rows > self.spec.gap.flat_rows_max:
                self._restart(f"no quote for {self._flat_rows} bars")
                return
        else:
            self._flat_rows = 0
        if self._outside is not None:
            self._outside.move_session(end_ns)
        if self._made(self._step(self._s, self._ring, tape.CLOSE_BAR, 0.0, 0.0, 0.0, 0.0, end_ns)):
            self._last_end_ns = end_ns
            if self.on_bar is not None:
                self.on_bar()

    def _check_hole(self, start_ns: int) -> bool:
        """Restart where the bar that begins then lies too far behind the newest row."""
        hole_ns = start_ns - (self._last_end_ns or start_ns)
        if hole_ns <= self._hole_ns:
            return False
        self._restart(f"no bar for {hole_ns / 1e9:g} s, longer than the {self._hole_ns / 1e9:g} s declared")
        return True

    def _history(self, bar: Bar) -> bool:
        """A candle of the venue's history becomes a row where it continues the rows there are."""
        if not self._takes_history or bar.interval_ns != self._interval_ns:
            return False
        end_ns = bar.ts_event_ns
        before_ns = self._last_end_ns
        if before_ns is None or end_ns != before_ns + self._interval_ns or self._bar_start_ns is not None:
            # Anything but the candle after the newest row's, with no live bar open.
            if not self._fits(bar):
                return False
            self._check_continuation(end_ns)
        if self._outside is not None:
            self._outside.release(end_ns)
        try:
            self._cells[at.BAR_VOLUME] = bar.volume_qty
            code = self._step(
                self._s, self._ring, _HISTORY_BAR, bar.open_px, bar.high_px, bar.low_px, bar.close_px, end_ns
            )
        except _TROUBLE:
            code = tape.REJECTED
        if code <= 0:
            # A hole by another name: the next candle does not continue the last one.
            self.rejected += 1
            return False
        self.rows += 1
        self._warm = code == 2
        self._last_end_ns = end_ns
        if self.on_bar is not None:
            self.on_bar()
        return True

    def _fits(self, bar: Bar) -> bool:
        """Whether a candle comes after the newest row and before the live bar that is open; counted where not."""
        end_ns = bar.ts_event_ns
        if self._last_end_ns is not None and end_ns == self._last_end_ns and self._differs(bar):
            self.revised += 1
            return False
        behind = self._last_end_ns is not None and end_ns <= self._last_end_ns
        if behind or (self._bar_start_ns is not None and end_ns > self._bar_start_ns):
            self.late += 1
            return False
        return True

    def _check_continuation(self, end_ns: int) -> None:
        """Restart where the candle that ends then does not continue the newest row."""
        if self._last_end_ns is None:
            return
        hole_ns = end_ns - self._interval_ns - self._last_end_ns
        if self._hole_ns and hole_ns >= 0:
            self._check_hole(end_ns - self._interval_ns)
        elif hole_ns:
            self._restart(f"history lacks {max(hole_ns // self._interval_ns, 1)} bars")

    def _differs(self, bar: Bar) -> bool:
        """Whether the newest row was made of other prices."""
        s, pos = self._s, int(self._s[at.POS])
        seen = (s[at.OPEN + pos], s[at.HIGH + pos], s[at.LOW + pos], s[at.CLOSE + pos], s[at.VOLUME + pos])
        return seen != (bar.open_px, bar.high_px, bar.low_px, bar.close_px, bar.volume_qty)

    # --- recordings -----------------------------------------------------------------------------------------------

    def continues(self, ts_ns: int) -> bool:
        """Whether ``feed`` may take an event of that time: a candle only directly after the one before it."""
        if not self._interval_ns:
            return True
        return self._takes_history and self._last_end_ns is not None and ts_ns == self._last_end_ns + self._interval_ns

    def feed(self, events: tuple[Any, Any, Any], begin: int, out: tuple[Any, Any, Any, Any, Any]) -> tuple[int, int]:
        """``update`` for many events: kinds, numbers and times, and where their rows go (``engine.features.loops``).

        All of them lie in one session (``session_changes``).  Returns the number of the first event not taken, which is
        then ``update``'s, and how many rows were made.
        """
        made = np.zeros(1, np.int64)
        if self._outside is not None:
            self._outside.move_session(int(events[2][begin]))
        taken = loop()(self._compiled, self._s, self._ring, *events, begin, *out, made, self._values)
        rows = int(made[0])
        if rows:
            self.rows += rows
            self._warm = bool(out[3][rows - 1])
        if self._interval_ns and taken > begin:
            self._last_end_ns = int(events[2][taken - 1])
        return taken, rows

    def session_changes(self, ts_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Places in a sequence of times at which another session begins; none where no column asks for sessions."""
        sessions = None if self._outside is None else self._outside.sessions
        return np.empty(0, np.int64) if sessions is None else sessions.changes(ts_ns)

    def newest_values(self) -> npt.NDArray[np.float64]:
        """(F,) float64 values of the newest row; a view."""
        return self._s[self._values :]

    # --- what others read -----------------------------------------------------------------------------------------

    def window(self) -> Float32Array:
        """The last W rows, oldest first, shape ``(W, F)`` float32, C-contiguous; a view, valid until the next update.

        Rows before the first are NaN; ``warm`` says whether there are any.
        """
        return self._views[self.rows % self._w]

    @property
    def state_bytes(self) -> int:
        """What this instrument takes: its record and its window ring, bytes."""
        return int(self._s.nbytes + self._ring.nbytes)

    @property
    def follows(self) -> tuple[str, ...]:
        """Ids of the other instruments that the columns read."""
        return self.spec.peers

    @property
    def awaits(self) -> tuple[str, ...]:
        """Names of the published series that the columns read."""
        return self.spec.series

    @property
    def warm(self) -> bool:
        """True when the last W rows are all finite in every column."""
        return self._warm

    @property
    def reason(self) -> str:
        """Why it is not warm; empty when it is."""
        if self._warm:
            return ""
        have, need = int(self._s[at.ROWS]), self.spec.rows_to_warm
        if have < need:
            text = "waiting for the first row" if have == 0 else f"warming up: {have} of {need} rows"
            return f"{self._gap_reason}; {text}" if self._gap_reason else text
        empty = [name for name, slot in self._index.items() if not math.isfinite(self._s[slot])]
        if empty:
            return f"no value for {', '.join(empty)}"
        return f"{int(self._s[at.CLEAN])} of {self._w} clean rows"

    def latest(self, column: str) -> float:
        """The newest value of a column, float64; NaN before its first.  Raises ``KeyError`` for unknown names."""
        return float(self._s[self._index[column]])

    @property
    def row_ts_ns(self) -> int:
        """Venue time of the newest row (the end of a time bar); 0 before the first."""
        return int(self._s[at.ROW_S]) * 1_000_000_000 + int(self._s[at.ROW_NS])

    @property
    def mid_px(self) -> float:
        """Close of the newest row; NaN before the first."""
        return float(self._s[at.CLOSE + int(self._s[at.POS])]) if self._s[at.ROWS] > 0.0 else math.nan

    @property
    def range_px(self) -> tuple[float, float]:
        """Highest and lowest price of the newest row; NaN before the first."""
        if self._s[at.ROWS] <= 0.0:
            return math.nan, math.nan
        pos = int(self._s[at.POS])
        return float(self._s[at.HIGH + pos]), float(self._s[at.LOW + pos])
