"""Plain integers that the core counts in; metrics read them at scrape time, so that counting costs an addition."""

from __future__ import annotations

import re

WORDS_MAX = 48
"""Distinct words of others that one table counts by; venues name some thirty reasons."""
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,47}(_\d{3})?").fullmatch
"""A reason such as ``INSUFFICIENT_FUND`` or ``http_503``.  Free text, numbers and ids are none."""


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
        self.asked = 0  # predictions that were asked for and answered later, or not at all
        self.stale_predictions = 0  # answers that came when nobody waited for them any more
        self.swaps = 0  # models that took another's place
        self.refused_offers = 0  # models that were offered and could not serve
        self.provider_changes = 0
        self.standings: dict[str, int] = {}  # changes of how models stand, by the state they came to
        self.alarms: dict[str, int] = {}  # that were raised against models, by action
        self.intents = 0
        self.orders = 0
        self.cancels = 0
        self.edits = 0  # orders that were asked to be changed in place
        self.fills = 0
        self.external_fills = 0
        self.external_orders = 0
        self.group_exits = 0  # orders sent because the price of an exit that waited here was reached
        self.exit_retries = 0  # of those, after one that closed nothing
        self.conflicting_fills = 0  # executions told again with other values; the first ones stand
        self.corrections = 0  # executions that the venue has taken back or changed
        self.fundings = 0  # funding and interest that venues have paid or charged
        self.unknown_corrections = 0  # of executions too old to be known: not booked
        self.rejected: dict[str, int] = {}  # by risk check
        self.venue_rejected: dict[str, int] = {}  # by the venue's reason, see ``add_word``
        self.unreadable: dict[str, int] = {}  # account facts that were not booked, by defect
        self.dropped: dict[str, int] = {}  # market events by issue
        self.suspect: dict[str, int] = {}  # market events held back, by issue
        self.remarked: dict[str, int] = {}  # market events used all the same, by issue
        self.unknown_outcomes = 0
        self.adjustments = 0  # balances that were not as booked
        self.gaps = 0
        self.clock_steps = 0  # of the wall clock, a machine that slept among them
        self.standstills = 0  # nothing was handled for long: the account has to be confirmed
        self.core_errors = 0

    @staticmethod
    def add_word(table: dict[str, int], word: str) -> None:
        """Count by a word that comes from outside.  The table becomes metric labels, so it is bounded: what is no
        single word, and every new one beyond ``WORDS_MAX``, counts as ``other``; the record has the text."""
        if word not in table and (len(table) >= WORDS_MAX or not _WORD(word)):
            word = "other"
        table[word] = table.get(word, 0) + 1

    @staticmethod
    def add(table: dict[str, int], key: str) -> None:
        table[key] = table.get(key, 0) + 1
