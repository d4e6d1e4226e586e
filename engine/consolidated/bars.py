"""Time bars of a consolidated price: open, high, low and close of the mid, volume of all venues' trades.

The same cutter serves a session and recorded events.  Owns no price: the consolidator says what it is and when nobody
knows it any more.
"""

from __future__ import annotations

from math import nan

from engine.events import Bar


class BarCutter:
    """Cuts bars ``[k * interval, (k + 1) * interval)`` of receive time.

    - A bar closes at the first price, trade or timer at or after its end, and is kept in ``last`` and ``finished``.
    - Open, high, low and close are of the mids told in it.  A bar in which none was told stands flat at the last
      close as long as the price was in force; one in which it was lost and did not come back is not made.
    - The first bar is dropped: its beginning was not seen.
    """

    def __init__(self, instrument: str, interval_ns: int) -> None:
        """``interval_ns`` above 0."""
        self.instrument = instrument
        self.interval_ns = interval_ns
        self.last: Bar | None = None
        self.finished: list[Bar] | None = None
        """Set to a list by whoever wants every bar; None keeps the last one only."""
        self._end_ns = 0
        self._partial = True
        self._known = False
        self._told = False
        self._open_px = self._high_px = self._low_px = self._close_px = nan
        self._volume_qty = 0.0

    def price(self, mid_px: float, ts_ns: int) -> None:
        """The mid from this time on."""
        if ts_ns >= self._end_ns:
            self.advance(ts_ns)
        if not self._told:
            self._open_px = self._high_px = self._low_px = mid_px
            self._told = True
        elif mid_px > self._high_px:
            self._high_px = mid_px
        elif mid_px < self._low_px:
            self._low_px = mid_px
        self._close_px = mid_px
        self._known = True

    def trade(self, qty: float, ts_ns: int) -> None:
        """A trade that counts; base units."""
        if ts_ns >= self._end_ns:
            self.advance(ts_ns)
        self._volume_qty += qty

    def lose(self, ts_ns: int) -> None:
        """From this time on nobody knows the price."""
        if ts_ns >= self._end_ns:
            self.advance(ts_ns)
        self._known = False

    def advance(self, ts_ns: int) -> None:
        """Close every bar that ends at or before this time."""
        if not self._end_ns:
            self._begin(ts_ns)
            return
        while ts_ns >= self._end_ns:
            self._close()
            if not self._known:
                # Nothing is known of the bars between.
                self._begin(ts_ns)
                self._partial = False
                return
            self._end_ns += self.interval_ns

    def _begin(self, ts_ns: int) -> None:
        self._end_ns = ts_ns - ts_ns % self.interval_ns + self.interval_ns

    def _close(self) -> None:
        if not self._partial and (self._told or self._known):
            if not self._told:
                self._open_px = self._high_px = self._low_px = self._close_px
            self.last = Bar(
                self._end_ns,
                self._end_ns,
                self.instrument,
                self.interval_ns,
                self._open_px,
                self._high_px,
                self._low_px,
                self._close_px,
                self._volume_qty,
            )
            if self.finished is not None:
                self.finished.append(self.last)
        self._partial = False
        self._told = False
        self._volume_qty = 0.0
