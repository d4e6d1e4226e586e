"""Plain integers that the core counts in; metrics read them at scrape time, so that counting costs an addition."""

from __future__ import annotations


class Counters:
    """What happened since the start of the session.  Written by the core and the bus, read by anybody."""

    def __init__(self) -> None:
        self.events = 0
        self.ticks = 0  # accepted quotes, book changes and trades
        self.quotes = 0
        self.trades = 0
        self.rows = 0
        self.predictions = 0
        self.late_predictions = 0
        self.failed_predictions = 0
        self.intents = 0
        self.orders = 0
        self.cancels = 0
        self.fills = 0
        self.external_fills = 0
        self.rejected: dict[str, int] = {}  # by risk check
        self.venue_rejected: dict[str, int] = {}  # by the venue's reason
        self.dropped: dict[str, int] = {}  # market events by defect
        self.unknown_outcomes = 0
        self.gaps = 0
        self.core_errors = 0

    @staticmethod
    def add(table: dict[str, int], key: str) -> None:
        table[key] = table.get(key, 0) + 1
