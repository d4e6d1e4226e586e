"""Whether the strategies of an instrument can work with a version that is offered: its features have the columns that
they read, its facts what they take from them.

Owns the question, which is asked before the version takes a seat: a strategy that found out later would be quarantined
by the very model that was to help it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.asking import Asking
from engine.lanes import Lane, StrategySlot
from engine.ports import Assignment, Features


class Suitability:
    """Of one core."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def of_columns(self, lane: Lane, features: Features) -> str:
        """Which columns strategies would miss, where these become the features that they read; empty for none."""
        missing = [column for column in self._needed(lane) if not _has(features, column)]
        return f"its features have no {', '.join(missing)}, which strategies here read" if missing else ""

    def of_facts(self, slots: Iterable[StrategySlot], instrument: str, new: Assignment, old: Assignment | None) -> str:
        """Why a strategy cannot take a version's facts; empty where all can.  Each is told them, and then those of
        ``old`` again, by which it goes on (None: nobody serves)."""
        if old is not None and old.facts == new.facts:
            return ""
        told, found = [], ""
        for slot in slots:
            if slot.alive and not found:
                why = self._asking.try_model(slot, instrument, new.facts)
                found = f"strategy {slot.name} cannot work with it: {why}" if why else ""
                told.append(slot)
        if old is not None:
            for slot in told:
                self._asking.tell_model(slot, instrument, old.facts)
        return found

    def _needed(self, lane: Lane) -> Sequence[str]:
        """By what strategies declare (``feature_columns``); where one does not, what has been read as well."""
        needed: dict[str, None] = {}
        for slot in lane.slots:
            columns = slot.feature_columns
            needed.update(dict.fromkeys(sorted(lane.reading.columns) if columns is None else columns))
        return tuple(needed)


def _has(features: Features, column: str) -> bool:
    try:
        features.latest(column)
    except KeyError:
        return False
    return True
