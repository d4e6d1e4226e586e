"""How models stand, in words: for ``status``, and once in the log whenever one does not simply serve any more.

Owns the words.  The standings are ``engine.standings``'.
"""

from __future__ import annotations

from typing import Any

from engine.alarms import STOP
from engine.carried import CarriedAlarm
from engine.core import TradingCore
from engine.lanes import seats_of
from engine.seats import CHAMPION, WARMING, Seat


def standing_lines(core: TradingCore) -> dict[str, dict[str, str]]:
    """By instrument and role: version, state, size and why."""
    lines = {
        name: {_role(lane.warming is seat, seat): _line(seat) for seat in seats_of(lane)}
        for name, lane in core.lanes.items()
    }
    for name, of_lane in lines.items():
        if why := core.trust.why_vacant(name):
            of_lane.setdefault(CHAMPION, f"nobody: {why}")
    return {name: of_lane for name, of_lane in lines.items() if of_lane}


def standing_of(core: TradingCore, instrument: str, version: str) -> str:
    """How a version stands on an instrument."""
    found = (seat for seat in seats_of(core.lanes[instrument]) if seat.version == version)
    return "; ".join(_line(seat) for seat in found) or f"{version} stands nowhere now"


def alarm_lines(core: TradingCore) -> dict[str, str]:
    """What has stopped a version or sized it down, by source, until it is cleared.

    Also of versions that have left their seat: a stop holds when they come back."""
    return {
        f"{one.model} on {one.instrument}, {one.source}": f"{_worded(one)}{': ' + one.text if one.text else ''}"
        for one in core.serving.standings.alarms.carried()
    }


class ModelWatch:
    """Of one session; ``look`` is called about once a second."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], str] = {}
        self._given_up: set[tuple[str, str]] = set()
        self._waiting: set[tuple[str, str]] = set()
        self._vacant: set[str] = set()

    def look(self, core: TradingCore, log: Any) -> None:
        """Say what has changed since the last look: an error where trading on a model has ended."""
        now: dict[tuple[str, str], str] = {}
        for name, lane in core.lanes.items():
            for seat in seats_of(lane):
                key = (name, _role(lane.warming is seat, seat))
                now[key] = f"{seat.version} {seat.state} {seat.factor}"
                before = self._said.get(key)
                if before is None and seat.serves and seat.factor == 1.0 and seat is lane.seat:
                    continue  # as it was assigned
                if before != now[key]:
                    waits = seat.state == WARMING
                    tell = log.info if waits else log.warning if seat.serves else log.error
                    tell("model", instrument=name, role=key[1], standing=_line(seat))
        for key in self._said.keys() - now.keys():
            log.warning("model", instrument=key[0], role=key[1], standing="nobody any more")
        vacant = {name for name in core.lanes if core.trust.why_vacant(name)}
        for name in sorted(vacant - self._vacant):
            log.error(
                "no model serves: strategies that use one enter nothing, exits go on",
                instrument=name,
                why=core.trust.why_vacant(name),
                do="promote a version: python run.py models promote NAME VERSION",
            )
        self._vacant = vacant
        self._said = now
        for told, stuck, how in (
            (self._given_up, core.flattening.given_up, "could not be closed"),
            (self._waiting, core.flattening.waiting, "is not closed yet"),
        ):
            for key in stuck.keys() - told:
                text = f"a position {how} while its model does not serve: look at it"
                log.error(text, strategy=key[0], instrument=key[1], why=stuck[key])
            told.clear()
            told.update(stuck)


def _role(is_warming: bool, seat: Seat) -> str:
    return f"next {seat.role}" if is_warming else seat.role


def _line(seat: Seat) -> str:
    size = "" if seat.factor == 1.0 else f", sizes times {seat.factor:g}"
    share = f", share {seat.share:g}" if seat.share else ""
    return f"{seat.version} {seat.state}{share}{size}{': ' + seat.reason if seat.reason else ''}"


def _worded(alarm: CarriedAlarm) -> str:
    return "stopped" if alarm.action == STOP else f"sizes times {alarm.factor:g}"
