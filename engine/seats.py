"""Who serves an instrument: one model in one role, and how far it is trusted.

Owns a seat's state.  Who takes a seat, and what follows from its state, is ``engine.serving``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.ports import Assignment, Features, Model

CHAMPION, CANARY, OLDER = "champion", "canary", "older"
"""Roles, as in ``engine.events.ModelOffered``."""
SERVING, WARMING, BROKEN, EXPIRED, STOPPED, GONE = "serving", "warming", "broken", "expired", "stopped", "gone"
"""States, as in ``engine.events.ModelStanding``."""
ASYNCHRONOUS: Final = "asynchronous"
"""Fact of a model whose answers come as ``PredictionMade``: a replay then knows that the call itself gives none."""


class Seat:
    """A model on an instrument.  Written by ``engine.serving`` alone; a view shows it (``engine.ports.ServedModel``).

    ``predict``, ``reset`` and ``weigh`` are the model's own, looked up once; the last two are None where it has none.
    ``features`` make the rows that it is asked about.
    """

    __slots__ = (
        "assignment",
        "factor",
        "features",
        "model",
        "predict",
        "reason",
        "reset",
        "role",
        "state",
        "version",
        "weigh",
    )

    def __init__(self, role: str, assignment: Assignment, model: Model, features: Features | None) -> None:
        self.role = role
        self.assignment = assignment
        self.version = assignment.model
        self.model = model
        self.features = features
        self.state = SERVING
        self.reason = ""  # why it is in that state, where it does not simply serve
        self.factor = 1.0
        self.predict = model.predict
        self.reset: Callable[[str, str], None] | None = _capability(model, "reset")
        self.weigh: Callable[[tuple[float, ...]], None] | None = _capability(model, "weigh")


def _capability(model: Model, name: str) -> Any:
    return getattr(model, name, None)
