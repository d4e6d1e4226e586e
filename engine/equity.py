"""Equity, and what losses are measured from: its first value, its peak, and where the day began."""

from __future__ import annotations

from decimal import Decimal

ZERO = Decimal(0)


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

    def _shift(self, worth: Decimal, equity: Decimal | None) -> None:
        """What has come or gone (``worth``) and is neither profit nor loss moves all of them; ``equity`` is what there
        is with it, None while nobody can say.

        A fall from the peak is told as a share of it (``max_drawdown_bps``), and stays that share: who takes most of
        the money out has lost no more by it, and who pays in has won nothing back.
        """
        if self.equity_peak is not None:
            before = None if equity is None else equity - worth
            if equity is None or before is None or equity <= ZERO or before <= ZERO:
                self.equity_peak += worth
            else:
                self.equity_peak = self.equity_peak * equity / before
        if self.equity_day_start is not None:
            self.equity_day_start += worth
        if self.equity_start is not None:
            self.equity_start += worth
