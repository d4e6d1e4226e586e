"""The account as the venue tells it against the books: the venue is right, and each difference is on record.

Owns when an account counts as settled and what is done about a difference.  Questions to the venue are the connector's.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.commands import BalanceAdjusted
from engine.counters import Counters
from engine.events import AccountSettled
from engine.portfolio import Mark, Portfolio
from engine.ports import Recorder
from engine.sanity import amounts_defect


class Reconciliation:
    """Of one core.  ``awaited`` are venues of which the books are an earlier session's until the venue has confirmed
    them: meanwhile no strategy is asked."""

    def __init__(self, *, recorder: Recorder, portfolio: Portfolio, counters: Counters) -> None:
        self._recorder = recorder
        self._portfolio = portfolio
        self._counters = counters
        self.awaited: set[str] = set()
        self.unresolved: dict[str, tuple[str, ...]] = {}
        """Orders of unknown outcome when a venue's account was settled last, by venue."""
        self.missing: dict[str, tuple[str, ...]] = {}
        """Currencies that the books hold and the venue's last listing did not name, by venue."""
        self.settled_ns: dict[str, int] = {}
        """When that was, by venue."""

    def await_venues(self, venues: Iterable[str]) -> None:
        self.awaited.update(venues)

    def settle(self, event: AccountSettled, last_px: Mark) -> str:
        """Compare and adjust.  Returns why entries must stop, empty where they need not: a balance that is missing from
        a listing is not zero, and one that is no number is nothing.

        ``last_px``: what instruments are worth, or were when their markets were believed last: an account is confirmed
        before the first quote comes."""
        defect = amounts_defect(*(total for _, total in event.balances))
        if defect:
            return f"balances of {event.venue} are no numbers ({defect})"
        told = dict(event.balances)
        portfolio, venue = self._portfolio, event.venue
        missing = tuple(name for name in portfolio.told(venue) if name not in told and portfolio.balance(venue, name))
        for currency, total in event.balances:
            booked = portfolio.balance(venue, currency)
            if booked is None or booked == total:
                continue
            self._counters.adjustments += 1
            self._recorder.record(BalanceAdjusted(event.ts_recv_ns, venue, currency, booked, total))
            portfolio.adjust_balance(venue, currency, total, last_px)
        self.missing[venue] = missing
        self.unresolved[venue] = event.unresolved
        self.settled_ns[venue] = event.ts_recv_ns
        self.awaited.discard(venue)
        return f"{venue} does not name its balance of {', '.join(missing)}" if missing else ""
