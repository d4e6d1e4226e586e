"""Two models on the same rows: what one lost and won more than the other, span of time by span of time.

Owns the spans and what they show.  A span is at least twice as long as a label, and only what is known within it
counts: no two spans share an outcome, so each is a value of its own (``models.observer.betting``).  Memory is of fixed
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from models.observer.betting import Evidence
from models.observer.losses import LOSS_GAP_MAX

DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True)
class Gap:
    """A mean of ``spans`` spans, and how sure it is that the challenger is better, or worse (e-values)."""

    value: float
    spans: int
    better: float
    worse: float

    def text(self, unit: str) -> str:
        evidence = f"evidence {self.better:.3g} for and {self.worse:.3g} against"
        return f"{self.value:+.4g} {unit}, {self.spans:,} spans, {evidence}"


class Open(msgspec.Struct):
    """Sums of the span that is not over."""

    at: int = -1
    rows: int = 0
    loss_gap: float = 0.0
    profit_gap_bps: float = 0.0
    signals: int = 0


class Paired(msgspec.Struct):
    """Of one challenger beside one champion.  ``span_ns``: it grows to twice the longest label.

    ``profit_max_bps``: a difference of profit in a span, for each instrument, that is beyond it counts as that.  A gain
    may; nobody is to be promoted by a loss that was cut (``beyond``).  ``loss_gap_max``: of one row, nats.
    """

    span_ns: int
    profit_max_bps: float = 100.0
    rows: int = 0
    signals: int = 0
    """Of the challenger, whose outcome is known."""
    champion_signals: int = 0
    profit_bps: float = 0.0
    """Of all signals of the challenger."""
    instruments: list[str] = msgspec.field(default_factory=list)
    open: Open = msgspec.field(default_factory=Open)
    losses: Evidence = msgspec.field(default_factory=Evidence)
    profits: Evidence = msgspec.field(default_factory=Evidence)
    beyond: int = 0
    """Spans in which the challenger lost more than the bound."""
    days: int = 0
    """Of UTC, in which something of a span was; the ``first_day`` and the ``last_day`` of them, since 1970."""
    first_day: int = -1
    last_day: int = -1
    loss_gap_max: float = LOSS_GAP_MAX

    def lost(self, instrument: str, made_ns: int, known_ns: int, *, challenger: float, champion: float) -> None:
        """Losses of one row on which both spoke (``models.observer.losses.compared_loss``), and when that was made and
        known."""
        self._on(instrument)
        self.rows += 1
        self.reach(known_ns - made_ns)
        if self._counts(made_ns, known_ns):
            self.open.rows += 1
            self.open.loss_gap += challenger - champion

    def won(
        self,
        instrument: str,
        made_ns: int,
        known_ns: int,
        profit_bps: float,
        *,
        challenger: bool,
        both: bool = True,
    ) -> None:
        """What a signal of one of the two was worth after cost; ``both`` were asked when it was made, else it is in no
        span.

        One that was open over a break or an outcome that was late is in no span, and makes none longer.
        """
        self._on(instrument)
        if challenger:
            self.signals += 1
            self.profit_bps += profit_bps
        else:
            self.champion_signals += 1
        if self._counts(made_ns, known_ns) and both:
            self.open.signals += 1
            self.open.profit_gap_bps += profit_bps if challenger else -profit_bps

    def reach(self, label_ns: int) -> None:
        """A label of one of the two took that long."""
        if 2 * label_ns <= self.span_ns:
            return
        while 2 * label_ns > self.span_ns:
            self.span_ns *= 2
        self.open = Open()

    def followed_by(self, later: Paired) -> Paired:
        """What was found before, and what was found after it apart from it."""
        return Paired(
            span_ns=max(self.span_ns, later.span_ns),
            profit_max_bps=self.profit_max_bps,
            rows=self.rows + later.rows,
            signals=self.signals + later.signals,
            champion_signals=self.champion_signals + later.champion_signals,
            profit_bps=self.profit_bps + later.profit_bps,
            instruments=list(dict.fromkeys([*self.instruments, *later.instruments])),
            losses=self.losses.followed_by(later.losses),
            profits=self.profits.followed_by(later.profits),
            beyond=self.beyond + later.beyond,
            days=self.days + later.days - (later.days > 0 and self.last_day >= later.first_day),
            first_day=self.first_day if self.days else later.first_day,
            last_day=max(self.last_day, later.last_day),
            loss_gap_max=self.loss_gap_max,
        )

    def loss_gap(self) -> Gap | None:
        """Mean loss of the challenger less the champion's, nats a row; None before a span is over."""
        held = self.losses
        if not held.count:
            return None
        return Gap(-held.mean * self.loss_gap_max, held.count, held.for_above, held.for_below)

    def profit_gap_bps(self) -> Gap | None:
        """Profit of the challenger less the champion's, a span and instrument."""
        held = self.profits
        if not held.count or not self.signals:
            return None
        return Gap(held.mean * self.profit_max_bps, held.count, held.for_above, held.for_below)

    def _counts(self, made_ns: int, known_ns: int) -> bool:
        """Whether what was made then and is known now lies in one span; the span before is over by now.

        What came late for a span that is over opens it no more.
        """
        at = known_ns // self.span_ns
        if at < self.open.at:
            return False
        if at > self.open.at:
            self._end()
            self.open = Open(at)
        return made_ns // self.span_ns == at

    def _end(self) -> None:
        """The open span is over: what it shows counts."""
        done = self.open
        if done.rows or done.signals:
            self._count_day(done.at * self.span_ns // DAY_NS)
        if done.rows:
            self.losses.add(-done.loss_gap / done.rows / self.loss_gap_max)
        if done.rows or done.signals:
            share = done.profit_gap_bps / max(len(self.instruments), 1) / self.profit_max_bps
            self.beyond += share < -1.0
            self.profits.add(share)

    def _count_day(self, day: int) -> None:
        if day > self.last_day:
            self.days += 1
            self.first_day = day if self.first_day < 0 else self.first_day
            self.last_day = day

    def _on(self, instrument: str) -> None:
        if instrument not in self.instruments:
            self.instruments.append(instrument)
