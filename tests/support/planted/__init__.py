"""Defects to plant: each makes the product wrong in one way, as somebody might by mistake.

Used by tests that show that the simulation sees them; never imported by anything else.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.planted import models, orders, risk, sessions

Plant = Callable[[pytest.MonkeyPatch], None]

PLANTED: dict[str, Plant] = {
    plant.__name__: plant for part in (orders, sessions, risk, models) for plant in part.PLANTS
}
