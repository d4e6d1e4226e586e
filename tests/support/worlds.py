"""Simulated worlds in which running a seed goes wrong: for tests of what runs them.

Apart from tests, because a worker's process imports them by name.
"""

from __future__ import annotations

import os
import time
from typing import Any

from config.simulation import SimulatedOutside, SimulatedWorld

DYING, HANGING, RAISING, SPINNING = 901, 902, 903, 904
"""Seeds."""


class DisturbedWorld(SimulatedWorld):
    """As the real one, but for four seeds."""

    def outside(self, loop: Any, seed: int, *more: Any) -> SimulatedOutside:
        if seed == DYING:
            os._exit(7)
        if seed == HANGING:
            time.sleep(3600.0)
        while seed == SPINNING:
            pass
        if seed == RAISING:
            raise RuntimeError("no outside")
        return super().outside(loop, seed, *more)
