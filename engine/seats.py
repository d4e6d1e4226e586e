"""Who serves an instrument: one model in one role, and how far it is trusted.

Owns a seat's state and the rules by which it is lost.  Who takes a seat is ``engine.serving``'s, what state it is in
``engine.standings``'.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final, Literal

import msgspec

from engine.ports import Assignment, Features, Model

CHAMPION, CANARY, OLDER = "champion", "canary", "older"
"""Roles, as in ``engine.events.ModelOffered``."""
SERVING, WARMING, BROKEN, EXPIRED, STOPPED, GONE = "serving", "warming", "broken", "expired", "stopped", "gone"
"""States, as in ``engine.events.ModelStanding``."""
ASYNCHRONOUS: Final = "asynchronous"
"""Fact of a model whose answers come as ``PredictionMade``: a replay then knows that the call itself gives none."""
EXPIRES_NS: Final = "expires_ns"
"""Fact of a model that is not to be used from that time on, UTC ns (as a float64: to 256 ns)."""
VACANT: Final = "vacant"
"""Fact of an assignment without a model: one has served there, was taken away, and nobody has taken its place."""
MEMBER: Final = "member."
"""Begin of the facts of several models that serve as one: each names a member."""
NEVER_NS: Final = 2**63 - 1
NEVER_AGO_NS: Final = -1


class ServingRules(msgspec.Struct, frozen=True):
    """When a model is not asked any more, and what then becomes of those who trade on it.

    ``failures_max``: answers in a row that were late or failed, then it is broken; 0: never.  After ``pause_ns`` one
    row is tried.  ``fallback``, while the champion does not serve: ``hold`` keeps what is held (its strategies' exits
    go on), ``flat`` closes what strategies that use a model hold there, ``older`` has the model that was offered as
    older predict.
    """

    failures_max: int = 0
    pause_ns: int = 30_000_000_000
    fallback: Literal["hold", "flat", "older"] = "hold"


class Seat:
    """A model on an instrument.  Written by ``engine.serving`` and ``engine.standings``, what it was asked and has
    answered by ``engine.predicting``; a view shows it (``engine.ports.ServedModel``).

    ``predict``, ``reset`` and ``weigh`` are the model's own, looked up once; the last two are None where it has none.
    ``features`` make the rows that it is asked about; rows before ``until_ns`` need no second look.
    """

    __slots__ = (
        "answered_ns",
        "assignment",
        "beneath",
        "expires_ns",
        "factor",
        "failures",
        "features",
        "has_missed",
        "model",
        "predict",
        "reason",
        "reset",
        "role",
        "share",
        "state",
        "tried_ns",
        "try_ns",
        "until_ns",
        "version",
        "weigh",
        "whole_ns",
    )

    def __init__(
        self, role: str, assignment: Assignment, model: Model, features: Features | None, share: float = 0.0
    ) -> None:
        self.role = role
        self.assignment = assignment
        self.version = assignment.model
        self.model = model
        self.features = features
        self.share = share  # of the size of entries: a canary's
        self.state = SERVING
        self.reason = ""  # why it is in that state, where it does not simply serve
        self.beneath = (SERVING, "")  # while it is stopped: the state that it comes back to, and why it was in that
        self.factor = 1.0  # what alarms leave of the size of entries
        self.failures = 0  # late or failed, in a row
        self.try_ns = 0  # while it is broken: when one row is tried
        self.tried_ns = 0  # of the row that was tried and is not answered; 0 for none
        self.whole_ns = NEVER_AGO_NS  # rows up to then lie behind a hole: their answers are of no use any more
        self.answered_ns = NEVER_AGO_NS  # of the newest row that was answered
        self.has_missed = False  # the next row does not follow on the one that it was asked about before
        self.expires_ns = expiry_of(assignment)
        self.until_ns = self.expires_ns
        self.predict = model.predict
        self.reset: Callable[[str, str], None] | None = _capability(model, "reset")
        self.weigh: Callable[[tuple[float, ...]], None] | None = _capability(model, "weigh")

    @property
    def serves(self) -> bool:
        return self.state == SERVING

    def settle(self) -> None:
        """Whether rows need a second look, after anything that decides it has changed."""
        self.until_ns = self.expires_ns if self.state == SERVING and not self.has_missed else 0

    def lose(self, now_ns: int) -> None:
        """Its rows have a hole: what it was asked before does not follow into what comes."""
        self.whole_ns = now_ns
        self.miss()

    def miss(self) -> None:
        """A row has passed that it was not asked about."""
        if self.reset is not None:
            self.has_missed = True
            self.settle()


def expiry_of(assignment: Assignment) -> int:
    """From when on a model is not to be used, UTC ns.  A date that is no number or infinite is none to trust it by: it
    has come."""
    at_ns = dict(assignment.facts).get(EXPIRES_NS, NEVER_NS)
    return int(at_ns) if isfinite(at_ns) else 0


def is_vacant(assignment: Assignment) -> bool:
    """Whether a model was taken away there, and nobody serves in its place."""
    return not assignment.model and VACANT in dict(assignment.facts)


def has_members(assignment: Assignment) -> bool:
    """Whether it is several models that serve as one: versions of one name then differ by a member or its weight."""
    return any(name.startswith(MEMBER) for name, _ in assignment.facts)


def _capability(model: Model, name: str) -> Any:
    return getattr(model, name, None)
