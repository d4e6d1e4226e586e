"""What those who watch a model have said of it: the alarms that stand, by instrument and version.

Owns which alarm holds when several sources have raised one, and what the next session is told.  What follows from it is
``engine.standings``'.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

import msgspec

from engine.carried import CarriedAlarm
from engine.events import ModelAlarmed

ALERT, SIZE_DOWN, STOP, CLEAR = "alert", "size_down", "stop", "clear"
ACTIONS = (ALERT, SIZE_DOWN, STOP, CLEAR)
SOURCES_MAX = 32
"""Sources of one version; whoever would raise an alarm as one more is refused.  A first stop is taken all the same."""


class Alarms:
    """One writer: the core.  A stop stands above all; of several factors the smallest holds: sources that look at the
    same market are not independent of each other."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], dict[str, CarriedAlarm]] = {}

    def why_full(self, event: ModelAlarmed) -> str:
        """Why there is no room for one, asked before it is put on record; empty where there is.

        What is on record is always taken and never forgotten to make room, so that a stop holds whatever comes after
        it.  Versions need no limit of their own: only those that stand on an instrument get alarms, and what sizes
        them down ends when they leave it.  Stops stay, a few for each version that somebody or something has stopped.
        """
        sources = self._standing.get((event.instrument, event.model), {})
        if event.action not in (SIZE_DOWN, STOP) or event.source in sources or len(sources) < SOURCES_MAX:
            return ""
        if event.action == STOP and not self.stop_of(event.instrument, event.model):
            return ""
        return f"{len(sources)} sources have raised alarms against it already"

    def weakened_by(self, event: ModelAlarmed) -> str:
        """What the same source has done to a version that ``event`` would undo in part or whole; empty for nothing.
        Rules may have had another action then."""
        known = self._standing.get((event.instrument, event.model), {}).get(event.source)
        left_by = {CLEAR: 2.0, STOP: -1.0, SIZE_DOWN: event.factor}.get(event.action)
        if known is None or left_by is None or left_by <= _left_by(known):
            return ""
        return f"{'stopped' if known.action == STOP else 'sized down'} by {_worded(known)}"

    def take(self, event: ModelAlarmed) -> str:
        """Note one; returns what is wrong with it, empty for nothing."""
        if event.action not in ACTIONS:
            return f"action {event.action!r}, expected one of {', '.join(ACTIONS)}"
        if event.action == SIZE_DOWN and not (isfinite(event.factor) and 0.0 <= event.factor <= 1.0):
            return f"factor {event.factor}, expected 0 to 1"
        key = (event.instrument, event.model)
        if event.action == CLEAR:
            sources = self._standing.get(key, {})
            for source in [event.source] if event.source else list(sources):
                sources.pop(source, None)
            if not sources:
                self._standing.pop(key, None)
        elif event.action != ALERT:
            self._put(CarriedAlarm(event.instrument, event.model, event.source, event.action, event.factor, event.text))
        return ""

    def _put(self, alarm: CarriedAlarm) -> None:
        sources = self._standing.setdefault((alarm.instrument, alarm.model), {})
        sources.pop(alarm.source, None)
        sources[alarm.source] = alarm

    def stop_of(self, instrument: str, model: str) -> str:
        """Why a version is stopped on an instrument; empty where it is not."""
        for alarm in self._standing.get((instrument, model), {}).values():
            if alarm.action == STOP:
                return f"stopped by {_worded(alarm)}"
        return ""

    def factor_of(self, instrument: str, model: str) -> tuple[float, str]:
        """What is left of the size of entries, and why."""
        found = [one for one in self._standing.get((instrument, model), {}).values() if one.action == SIZE_DOWN]
        if not found:
            return 1.0, ""
        least = min(found, key=lambda one: one.factor)
        return least.factor, f"sized down by {_worded(least)}"

    def forget(self, instrument: str, model: str) -> bool:
        """The version serves there no more: what sized it down is no matter of another turn of it.  A stop is, until
        somebody clears it: whoever brings the version back need not know of it.  Whether anything has ended."""
        sources = self._standing.get((instrument, model), {})
        ended = [source for source, alarm in sources.items() if alarm.action != STOP]
        for source in ended:
            del sources[source]
        if not sources:
            self._standing.pop((instrument, model), None)
        return bool(ended)

    def versions(self, instrument: str) -> list[str]:
        """Those that alarms stand against there."""
        return [model for name, model in self._standing if name == instrument]

    def inherit(self, instrument: str, model: str) -> bool:
        """What stands against other versions of its name stands against ``model`` in their place; of what one source
        has said of several, the strictest.  Whether anything did."""
        name = model.partition("@")[0]
        others = [one for one in self._standing if one[0] == instrument and one[1] != model]
        found = [self._standing.pop(one) for one in others if one[1].partition("@")[0] == name]
        for sources in found:
            for alarm in sources.values():
                own = self._standing.get((instrument, model), {}).get(alarm.source)
                if own is None or _left_by(alarm) < _left_by(own):
                    self._put(msgspec.structs.replace(alarm, model=model))
        return bool(found)

    def carried(self) -> tuple[CarriedAlarm, ...]:
        return tuple(one for sources in self._standing.values() for one in sources.values())

    def restore(self, carried: Iterable[CarriedAlarm]) -> None:
        self._standing.clear()
        for alarm in carried:
            self._put(alarm)


def _left_by(alarm: CarriedAlarm) -> float:
    """Of the size of entries; less than nothing where it stops."""
    return -1.0 if alarm.action == STOP else alarm.factor


def _worded(alarm: CarriedAlarm) -> str:
    return f"{alarm.source or 'whoever watches'}{': ' + alarm.text if alarm.text else ''}"
