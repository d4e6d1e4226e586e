"""Results that are too good to be true until somebody says why."""

from __future__ import annotations

from dataclasses import dataclass

DIRECTION_MAX = 0.6
SHARPE_MAX = 3.0


@dataclass(frozen=True)
class Suspicion:
    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        return (
            f"{self.what} is {self.value:.3g}, more than {self.limit:g}: look for leakage (overlapping labels, a "
            "scaler or threshold fitted on test rows, prices restated later)"
        )


def suspicions(direction: dict[str, float], sharpe: float | None) -> list[Suspicion]:
    """``direction``: accuracy given a true move, by forecast; ``sharpe``: annualised, of the strategy that is shown."""
    found = [
        Suspicion(f"the direction accuracy of {name}", value, DIRECTION_MAX)
        for name, value in direction.items()
        if value > DIRECTION_MAX
    ]
    if sharpe is not None and sharpe > SHARPE_MAX:
        found.append(Suspicion("the Sharpe ratio", sharpe, SHARPE_MAX))
    return found
