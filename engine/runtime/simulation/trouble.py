"""What goes wrong with the machine that a daemon runs on: its clock, its disk, its power, its operator.

Owns what each timed kind of the machine does and how long it lasts.  When it happens is drawn elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from engine.events import Halted, Reduced
from engine.runtime.simulation.machine import Machine

STEPS_S = (-3600.0, -1.0, 0.2, 60.0)
"""By which a wall clock is wrong until somebody sets it right."""
SLEEPS_S = (5.0, 60.0, 600.0)


class Trouble:
    """Of one machine.  ``loop_s``: blocked loops last between these."""

    def __init__(self, machine: Machine, rng: random.Random, set_venue_clock: Callable[[int], None]) -> None:
        self._machine = machine
        self._random = rng
        self._set_venue_clock = set_venue_clock

    def acts(self) -> dict[str, Callable[[], object]]:
        """By the names of kinds; False where there was nothing that it could happen to."""
        machine = self._machine
        found: dict[str, Callable[[], object]] = {
            "killed": lambda: machine.crash(torn=False),
            "killed_torn_tail": lambda: machine.crash(torn=True),
            "second_daemon": machine.start_another,
            "journal_damaged": lambda: machine.spoil("A7"),
            "journal_of_another_release": lambda: machine.spoil("A15"),
            "stopped": machine.stop,
            "halted": lambda: machine.order(Halted),
            "reduced": lambda: machine.order(Reduced),
            "frozen": lambda: machine.freeze(self._random.uniform(1.0, 40.0), asleep=False),
            "suspended": lambda: machine.freeze(
                self._random.choice(SLEEPS_S) * self._random.uniform(0.5, 1.5), asleep=True
            ),
            "disk_full": lambda: machine.fill_disk(self._random.uniform(10.0, 200.0)),
            "sync_failed": machine.break_disk,
            "clock_stepped": self._step_clock,
            "venue_clock_off": lambda: self._set_venue_clock(int(self._random.uniform(-10.0, 10.0) * 1e9)),
        }
        if machine.options.fsync == "always":  # otherwise nothing was promised
            found["power_cut"] = lambda: machine.crash(torn=False, power=True)
        return found

    def _step_clock(self) -> None:
        clock, loop = self._machine.clock, self._machine.loop
        step_ns = int(self._random.choice(STEPS_S) * 1e9)
        clock.step_ns += step_ns

        def set_right() -> None:
            clock.step_ns -= step_ns

        self._machine.until_healed(loop.call_later(self._random.uniform(30.0, 300.0), set_right), set_right)
