"""Which faults there are, and the seeded draw that says when each of them happens.

Owns the table and the draws.  What a fault does to a connection is ``network``'s, to an answer or a stream ``venue``'s;
crashes and clocks are the machine's (``engine.runtime.simulation``).  Each seed draws which faults it has at all: runs
with a few kinds go places that runs with all of them do not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Kind(NamedTuple):
    """``ids``: rows of the reliability list.  ``share``: of the occasions, or ``every_s``: on average."""

    ids: tuple[str, ...]
    share: float = 0.0
    every_s: float = 0.0


REQUEST = {
    "order_cut_before": Kind(("B14",), 0.02),
    "order_cut_after": Kind(("B14",), 0.03),
    "order_error_before": Kind(("B14",), 0.02),
    "order_error_after": Kind(("B14",), 0.03),
    "order_answer_late": Kind(("B14", "B4"), 0.03),
    "order_arrives_late": Kind(("B14",), 0.02),
    "order_limited": Kind(("C7",), 0.02),
    "order_delivered_twice": Kind(("B15",), 0.03),
    "order_refused": Kind((), 0.02),
    "order_forbidden": Kind(("C9",), 0.01),
    "order_unauthorized": Kind(("C8",), 0.01),
    "cancel_cut_before": Kind((), 0.03),
    "cancel_cut_after": Kind((), 0.03),
    "cancel_error_before": Kind((), 0.03),
    "cancel_error_after": Kind((), 0.03),
    "cancel_refused": Kind((), 0.03),
    "cancel_half_refused": Kind((), 0.03),
    "cancel_limited": Kind(("C7",), 0.02),
    "read_cut": Kind((), 0.015),
    "read_error": Kind((), 0.02),
    "read_late": Kind((), 0.01),
    "read_limited": Kind(("C7",), 0.01),
    "read_unauthorized": Kind(("C8",), 0.006),
    "read_truncated": Kind(("C12",), 0.01),
    "read_surprising": Kind(("C13",), 0.006),
    "pages_short": Kind(("C15",), 0.1),
    "orders_listing_lags": Kind(("B16", "B11"), 0.1),
    "fills_listing_lags": Kind((), 0.1),
    "fill_told_otherwise": Kind(("B2",), 0.02),
}
EDIT = {
    "edit_cut_before": Kind(("B13", "B14"), 0.03),
    "edit_cut_after": Kind(("B13", "B14"), 0.03),
    "edit_error_before": Kind(("B13", "B14"), 0.03),
    "edit_error_after": Kind(("B13", "B14"), 0.03),
    "edit_answer_late": Kind(("B13",), 0.03),
    "edit_arrives_late": Kind(("B13", "B14"), 0.03),
    "edit_refused": Kind(("B13",), 0.03),
    "edit_delivered_twice": Kind(("B13",), 0.03),
    "edit_limited": Kind(("C7",), 0.02),
}
"""Of changes of orders in place.  A seed draws apart which of them it has: all else is as it was before them."""
STREAM = {
    "user_message_lost": Kind(("B9", "C5"), 0.02),
    "user_message_twice": Kind(("B1",), 0.03),
    "user_messages_swapped": Kind(("B3",), 0.03),
    "user_end_told_early": Kind(("B5",), 0.5),
    "user_message_garbled": Kind(("C12",), 0.01),
    "user_message_surprising": Kind(("C13",), 0.01),
    "market_message_lost": Kind(("C5",), 0.003),
    "market_message_twice": Kind(("D5",), 0.003),
    "market_messages_swapped": Kind(("D5",), 0.003),
    "market_message_garbled": Kind(("C12",), 0.002),
    "market_message_bad_number": Kind(("D1",), 0.004),
    "market_message_crossed": Kind(("D2",), 0.004),
    "market_message_jumped": Kind(("D3",), 0.004),
}
SUBSCRIPTION = {
    "subscribe_refused": Kind(("C4",), 0.03),
    "subscribe_unconfirmed": Kind(("C4",), 0.03),
}
TIMED = {
    "connections_cut": Kind(("C3",), every_s=400.0),
    "cut_in_message": Kind(("C12",), every_s=500.0),
    "half_open": Kind(("C1",), every_s=900.0),
    "partition": Kind(("C11",), every_s=1500.0),
    "partition_of_an_hour": Kind(("C11", "C17"), every_s=30_000.0),
    "dials_refused": Kind(("C3", "C11"), every_s=1500.0),
    "user_stream_mute": Kind(("C2", "C6"), every_s=900.0),
    "market_stream_mute": Kind(("C2", "D4"), every_s=900.0),
    "key_expired": Kind(("C8",), every_s=2500.0),
    "maintenance": Kind(("C10",), every_s=2500.0),
    "no_order_entry": Kind(("C10",), every_s=2500.0),
    "traded_by_hand": Kind(("C18", "B8"), every_s=1500.0),
    "ordered_by_hand": Kind(("C18", "B8"), every_s=2500.0),
    "deposited": Kind(("C18",), every_s=2500.0),
    "withdrawn": Kind(("C18",), every_s=2500.0),
    "rules_changed": Kind(("D9",), every_s=3000.0),
    "closed_by_venue": Kind(("B20",), every_s=4000.0),
    "overfilled": Kind(("B7",), every_s=2500.0),
}
MACHINE = {
    "killed": Kind((), every_s=1500.0),
    "killed_after_journal": Kind(("A1",), 0.02),
    "killed_after_send": Kind(("A2",), 0.02),
    "killed_before_ack_is_kept": Kind(("A3",), 0.02),
    "killed_in_fill": Kind(("A4",), 0.02),
    "killed_in_reconciliation": Kind(("A5",), 0.03),
    "killed_in_rotation": Kind(("A5",), 0.6),
    "killed_torn_tail": Kind(("A6",), every_s=2500.0),
    "power_cut": Kind(("A6",), every_s=1500.0),
    "journal_damaged": Kind(("A7",), every_s=5000.0),
    "journal_of_another_release": Kind(("A15",), every_s=5000.0),
    "second_daemon": Kind(("A10",), every_s=2500.0),
    "disk_full": Kind(("A8",), every_s=3000.0),
    "sync_failed": Kind(("A8",), every_s=3000.0),
    "disk_slow": Kind(("A9",), 0.03),
    "frozen": Kind(("A13",), every_s=2000.0),
    "suspended": Kind(("C16",), every_s=3000.0),
    "clock_stepped": Kind(("C16",), every_s=1500.0),
    "venue_clock_off": Kind(("C16",), every_s=2500.0),
    "stopped": Kind(("A11",), every_s=2500.0),
    "halted": Kind(("F7",), every_s=1200.0),
    "reduced": Kind((), every_s=2500.0),
    "strategy_broke": Kind(("A14",), 0.0005),
    "guard_failed": Kind(("F5",), every_s=2000.0),
}
MODEL = {
    "model_offered": Kind(("E7",), every_s=500.0),
    "canary_offered": Kind(("E7",), every_s=700.0),
    "older_offered": Kind((), every_s=900.0),
    "model_taken": Kind((), every_s=1500.0),
    "offer_refused": Kind(("E2", "E3"), every_s=2000.0),
    "model_alarmed": Kind(("E10",), every_s=500.0),
    "provider_lost": Kind(("E5",), every_s=2500.0),
    "model_late": Kind(("E4",), 0.1),
    "model_failed": Kind(("E5",), 0.1),
    "model_odd": Kind(("E1",), 0.05),
    "answer_late": Kind(("E4",), 0.02),
}
"""Of models and whoever looks after them.  A seed draws apart which of them it has, too."""
KINDS = REQUEST | STREAM | SUBSCRIPTION | TIMED | MACHINE | EDIT | MODEL


class Faults:
    """One seed's faults, and the network's ``Weather``.  ``now_s`` is virtual time."""

    def __init__(
        self, seed: int, now_s: Callable[[], float], *, only: frozenset[str] | None = None, often: float = 1.0
    ) -> None:
        """``only``: kinds that may happen (default: those that the seed draws); ``often`` times as many of them."""
        self.rng = random.Random(f"faults/{seed}")
        self.enabled = True
        self.fired: Counter[str] = Counter()
        self._by_id: Counter[str] = Counter()
        share = self.rng.choice((0.2, 0.5, 0.8, 1.0))
        drawn = {name for name in KINDS if name not in EDIT and name not in MODEL and self.rng.random() < share}
        apart = random.Random(f"faults/{seed}/edits")
        drawn |= {name for name in EDIT if apart.random() < share}
        of_models = random.Random(f"faults/{seed}/models")
        drawn |= {name for name in MODEL if of_models.random() < share}
        self.kinds = frozenset(drawn if only is None else only)
        self._now_s = now_s
        self._factor = self.rng.choice((0.5, 1.0, 2.0)) * often
        self._often = often
        self._until: dict[str, float] = {}
        self._cut_next = 0

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, group: dict[str, Kind], prefix: str = "") -> str:
        """One of the group's kinds that begin with ``prefix``, or none (empty)."""
        if not self.enabled:
            return ""
        left = self.rng.random()
        for name, kind in group.items():
            if name.startswith(prefix) and name in self.kinds:
                left -= kind.share * self._factor
                if left < 0.0:
                    return name
        return ""

    def wait_s(self, name: str) -> float | None:
        """Until a timed kind happens next; None when this seed has it not."""
        if name not in self.kinds:
            return None
        return self.rng.expovariate(self._often / KINDS[name].every_s)

    def chance(self, name: str) -> bool:
        """Whether ``name`` happens on this occasion; noted if it does."""
        if not self.enabled or name not in self.kinds or self.rng.random() >= KINDS[name].share * self._factor:
            return False
        self.note(name)
        return True

    def share_of(self, name: str) -> float:
        """For a kind that is drawn elsewhere: how often; 0.0 where this seed has it not."""
        return KINDS[name].share * self._often if name in self.kinds else 0.0

    def note(self, name: str) -> None:
        """It happened."""
        self.fired[name] += 1
        self._by_id.update(KINDS[name].ids)

    def count(self, fault_id: str) -> None:
        """A row of the list happened that no kind is made for: it came of others."""
        self._by_id[fault_id] += 1

    def by_id(self) -> dict[str, int]:
        """How often each row of the list happened."""
        return dict(sorted(self._by_id.items()))

    # --- states that last ---------------------------------------------------------------------------------------------

    def last(self, state: str, seconds: float) -> None:
        """``state`` holds for so long from now."""
        self._until[state] = max(self._until.get(state, 0.0), self._now_s() + seconds)

    def holds(self, state: str) -> bool:
        until_s = self._until.get(state)
        return until_s is not None and self._now_s() < until_s

    def cut_soon(self) -> None:
        """The next large piece of data is cut in its middle."""
        self._cut_next = 1

    def heal(self) -> None:
        """No fault from now on, and none that lasts."""
        self.enabled = False
        self._until.clear()
        self._cut_next = 0

    # --- weather ----------------------------------------------------------------------------------------------------

    def opening(self, port: int) -> str:
        if self.holds("partition") or self.holds(f"half_open {port}"):
            return "lost"
        return "refused" if self.holds("refused") else ""

    def delay_s(self, port: int) -> float:  # noqa: ARG002
        return self.rng.uniform(0.0002, 0.004)

    def cut_at(self, port: int, to_server: bool, data: bytes) -> int | None:  # noqa: ARG002
        if self._cut_next and len(data) > 100:
            self._cut_next = 0
            return self.rng.randrange(1, len(data))
        return None
