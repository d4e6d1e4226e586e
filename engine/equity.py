"""Equity, and what losses are measured from: its first value, its peak, and where the day began."""

from __future__ import annotations

from decimal import Decimal


class Equity:
    """In portfolio currency.  Written by the portfolio that it is a part of."""

    def __init__(self) -> None:
        self.equity: Decimal | None = None
        """At the last valuation; None when something then had no price or no rate."""
        self.equity_start: Decimal | None = None
        """The first valuation of the session."""
        self.equity_peak: Decimal | None = None
        self.day = -1
        """UTC day of ``equity_day_start``, in days since 1970; -1: none yet."""
        self.equity_day_start: Decimal | None = None

    def _take(self, equity: Decimal, day: int) -> None:
        """What a valuation has found, on this UTC day."""
        if self.equity_start is None:
            self.equity_start = equity
        if self.equity_peak is None or equity > self.equity_peak:
            self.equity_peak = equity
        if day != self.day:
            self.day = day
            self.equity_day_start = equity

    def _shift(self, worth: Decimal) -> None:
        """What has come or gone and is neither profit nor loss moves all of them."""
        if self.equity_peak is not None:
            self.equity_peak += worth
        if self.equity_day_start is not None:
            self.equity_day_start += worth
        if self.equity_start is not None:
            self.equity_start += worth
