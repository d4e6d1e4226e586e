"""What an observer says at a look: alarms and weights for the daemon, verdicts, and who could not go on.

As text each is the line of ``log/observer.log``.
"""

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

    def __str__(self) -> str:
        return f"{self.action} for {self.model} on {self.instrument}, {self.source}: {self.text}"


class Weighed(NamedTuple):
    """Weights of a mixture's members, as ``engine.events.ModelWeighed``."""

    instrument: str
    model: str
    weights: tuple[float, ...]
    reason: str

    def __str__(self) -> str:
        weights = ", ".join(f"{weight:.4g}" for weight in self.weights)
        return f"weights of {self.model} on {self.instrument}: {weights} ({self.reason})"


class Judged(NamedTuple):
    """What the tests said of a challenger."""

    model: str
    champion: str
    role: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.model} ({self.role}) beside {self.champion}: {self.verdict.why}"


class Unsettled(NamedTuple):
    """A stop that could not be carried out in the registry and is tried again; the daemon has heard of it."""

    alarm: Alarmed

    def __str__(self) -> str:
        return f"still to be done: {self.alarm}"


class Ended(NamedTuple):
    """A version that is not run here any more, and why; those that serve go on."""

    model: str
    why: str

    def __str__(self) -> str:
        return f"{self.model} is not run any more: {self.why}"


Told: TypeAlias = Alarmed | Judged | Weighed | Unsettled | Ended
