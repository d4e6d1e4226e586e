"""What an observer says at a look: alarms and weights for the daemon, verdicts, and who could not go on."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from models.observer.rollout import Verdict


class Alarmed(NamedTuple):
    """What the daemon is to be told, as ``engine.events.ModelAlarmed``."""

    instrument: str
    model: str
    source: str
    action: str
    factor: float
    text: str


class Weighed(NamedTuple):
    """Weights of a mixture's members, as ``engine.events.ModelWeighed``."""

    instrument: str
    model: str
    weights: tuple[float, ...]
    reason: str


class Judged(NamedTuple):
    """What the tests said of a challenger."""

    model: str
    champion: str
    role: str
    verdict: Verdict


class Unsettled(NamedTuple):
    """A stop that could not be carried out in the registry and is tried again; the daemon has heard of it."""

    alarm: Alarmed


class Ended(NamedTuple):
    """A version that is not run here any more, and why; those that serve go on."""

    model: str
    why: str


Told: TypeAlias = Alarmed | Judged | Weighed | Unsettled | Ended
