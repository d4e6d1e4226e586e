"""Whoever looks after models while a daemon runs: offers, canaries, alarms, answers that come later.

Owns what is told to the daemon of its models, and which version the next session begins with.  When something happens
is drawn elsewhere, what a version answers is ``models``'.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from engine.events import ModelAlarmed, ModelOffered, ProviderChanged
from engine.lanes import seats_of
from engine.ports import Assignment
from engine.runtime.simulation.loop import Killed
from engine.runtime.simulation.machine import Machine
from engine.runtime.simulation.models import ABSENT, VERSIONS, Row, facts_of, spec_of, version_of
from engine.seats import CANARY, CHAMPION, OLDER

SHARES = (0.1, 0.25, 0.5)
SOURCES = ("psi", "calibration", "skew")
ACTIONS = ("alert", "size_down", "size_down", "stop", "stop")
FOLLOWS_S = 5.0
"""How often what a daemon serves is compared with what it should."""
EXPIRING_SHARE = 0.25
"""Of offers: they are of a version that is meant for a while only."""


class Rollout:
    """Of one machine.  ``is_late()``: whether this answer off the loop takes long."""

    def __init__(
        self, machine: Machine, rng: random.Random, instruments: Sequence[str], is_late: Callable[[], bool]
    ) -> None:
        self._machine = machine
        self._random = rng
        self._instruments = tuple(instruments)
        self._is_late = is_late
        self._canaries: dict[str, tuple[Assignment, float]] = {}
        self._following: asyncio.TimerHandle | None = None
        self._made = 0
        self._champions = {name: self._version() for name in self._instruments}
        self._answered_s: dict[tuple[str, str], float] = {}

    def champions(self) -> dict[str, Assignment]:
        """Who serves when a session begins."""
        return dict(self._champions)

    def acts(self) -> dict[str, Callable[[], object]]:
        """By the names of kinds; False where no daemon trades."""
        return {
            "model_offered": self._promote,
            "canary_offered": self._try_canary,
            "older_offered": lambda: self._offer(OLDER, self._version()),
            "model_taken": self._take_away,
            "offer_refused": self._offer_nonsense,
            "model_alarmed": self._alarm,
            "provider_lost": self._lose_provider,
        }

    def follow(self) -> None:
        """A session that begins is told of canaries, as whoever watches the registry does; until ``heal``."""
        daemon = self._machine.daemon
        for name, (wanted, share) in self._canaries.items():
            lane = None if daemon is None or not daemon.is_trading else daemon.core.lanes.get(name)
            if lane is None or lane.seat is None or lane.canary is not None or lane.seat.version == wanted.model:
                continue
            self._offer(CANARY, wanted, share, name)
        self._following = self._machine.loop.call_later(FOLLOWS_S, self.follow)

    def heal(self) -> None:
        """Somebody healthy is to serve everywhere, against whom nothing is said."""
        if self._following is not None:
            self._following.cancel()
        for name in self._instruments:
            self._champions[name] = self._version(expires=False)
            self._insist(name)

    def _insist(self, name: str) -> None:
        """Until a session that can be told has the champion that it is to have."""
        daemon, wanted = self._machine.daemon, self._champions[name]
        lane = daemon.core.lanes.get(name) if daemon is not None and daemon.is_trading else None
        seat = None if lane is None else lane.seat
        if seat is None or seat.version != wanted.model:
            self._offer(CHAMPION, wanted, instrument=name)
        elif seat.serves and lane is not None and lane.warming is None:  # else one offered before takes over yet
            return
        self._tell(ModelAlarmed, name, wanted.model, "", "clear")
        self._machine.loop.call_later(FOLLOWS_S, self._insist, name)

    # --- answers off the loop -----------------------------------------------------------------------------------------

    def asked(self, row: Row) -> None:
        """The answer comes in the process that asked, in the order of the rows."""
        daemon, loop, machine = self._machine.daemon, asyncio.get_running_loop(), self._machine
        if daemon is None:
            return
        seconds = self._random.uniform(1.0, 30.0) if self._is_late() else self._random.uniform(0.001, 0.05)
        key = (row.instrument, row.model)
        when_s = self._answered_s[key] = max(loop.time() + seconds, self._answered_s.get(key, 0.0))

        def answer() -> None:
            if daemon.is_trading and not machine.is_frozen:
                daemon.publish(row.answer(machine.clock.now_ns()))

        loop.call_at(when_s, answer)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _version(self, *, expires: bool = True) -> Assignment:
        number, expires_ns = self._random.randrange(VERSIONS), 0
        if expires and self._random.random() < EXPIRING_SHARE:
            self._made += 1
            number += self._made * VERSIONS
            expires_ns = self._machine.clock.now_ns() + int(self._random.uniform(60.0, 900.0) * 1e9)
        version = version_of(number)
        return Assignment(version, spec_of(version), facts_of(version, expires_ns))

    def _promote(self) -> bool:
        name = self._random.choice(self._instruments)
        self._champions[name] = wanted = self._version()
        return self._offer(CHAMPION, wanted, instrument=name)

    def _try_canary(self) -> bool:
        name, share = self._random.choice(self._instruments), self._random.choice(SHARES)
        wanted, _ = self._canaries[name] = self._version(), share
        return self._offer(CANARY, wanted, share, name)

    def _offer(self, role: str, wanted: Assignment, share: float = 0.0, instrument: str = "") -> bool:
        name = instrument or self._random.choice(self._instruments)
        return self._tell(ModelOffered, name, role, wanted.model, wanted.spec, wanted.facts, share, "drawn")

    def _take_away(self) -> bool:
        role, name = self._random.choice((CHAMPION, CANARY, CANARY, OLDER)), self._random.choice(self._instruments)
        if role == CANARY:
            self._canaries.pop(name, None)
        if not self._tell(ModelOffered, name, role, "", "", (), 0.0, "drawn"):
            return False
        if role == CHAMPION:
            back_s = self._random.uniform(30.0, 300.0)
            self._machine.loop.call_later(back_s, lambda: self._offer(CHAMPION, self._champions[name], instrument=name))
        return True

    def _offer_nonsense(self) -> bool:
        wanted, draw = self._version(), self._random.random()
        if draw < 0.4:
            return self._offer(self._random.choice((CHAMPION, CANARY)), Assignment(ABSENT, wanted.spec, ()), 0.5)
        if draw < 0.6:
            return self._offer(CANARY, wanted, self._random.choice((0.9, float("nan"), -0.1)))
        if draw < 0.8:
            return self._offer("shadow", wanted)
        return self._offer(CHAMPION, Assignment(wanted.model, "{}", ()), instrument="LTC/USD@coinbase")

    def _alarm(self) -> bool:
        daemon, name = self._machine.daemon, self._random.choice(self._instruments)
        if daemon is None or not daemon.is_trading or name not in daemon.core.lanes:
            return False
        versions = [seat.version for seat in seats_of(daemon.core.lanes[name])] or [version_of(0)]
        version, source = self._random.choice(versions), self._random.choice(SOURCES)
        action, factor = self._random.choice(ACTIONS), self._random.choice((0.0, 0.25, 0.5))
        told = self._tell(ModelAlarmed, name, version, source, action, factor, "drawn")
        if told and self._random.random() < 0.7:
            self._machine.loop.call_later(
                self._random.uniform(20.0, 400.0), lambda: self._tell(ModelAlarmed, name, version, source, "clear")
            )
        return told

    def _lose_provider(self) -> bool:
        return self._tell(ProviderChanged, self._version().model, "cuda", "cpu", "drawn")

    def _tell(self, kind: type, *fields: object) -> bool:
        daemon = self._machine.daemon
        if daemon is None or not daemon.is_trading or self._machine.is_frozen:
            return False
        now_ns = self._machine.clock.now_ns()
        with suppress(Killed):  # what it is told may be its end
            daemon.publish(kind(now_ns, now_ns, *fields))
        return True
