"""What the raw outputs of a network mean: one number, a class, several tasks or several horizons.

Owns the widths and the reading.  Every network ends in ``(B, O)``; the head decides what O is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Head = Literal["regression", "binary", "three_class", "regime", "multi_task", "multi_horizon"]

CLASSES = ("down", "flat", "up")
"""Of ``three_class``, in the order of the columns."""
REGIMES = ("bear", "sideways", "bull", "volatile")
"""Of ``regime``, and of ``multi_task`` in the order of its last four columns."""
_OUTPUTS: dict[str, int] = {
    "regression": 1,
    "binary": 1,
    "three_class": len(CLASSES),
    "regime": len(REGIMES),
    "multi_task": 2 + len(REGIMES),
}


def output_count(head: Head, horizons: int = 1) -> int:
    """Raw outputs of a head; ``horizons`` counts those of ``multi_horizon``.  Raises ``ConfigError``."""
    if head == "multi_horizon":
        if horizons < 1:
            raise ConfigError(f"head multi_horizon with {horizons} horizons", expected="1 or more")
        return horizons
    if head not in _OUTPUTS:
        raise ConfigError(f"unknown head {head!r}", expected=f"one of {', '.join((*_OUTPUTS, 'multi_horizon'))}")
    return _OUTPUTS[head]


def split_tasks(raw: Tensor) -> dict[str, Tensor]:
    """Raw outputs ``(..., 6)`` of ``multi_task``: ``return (..., 1)``, ``log_variance (..., 1)`` and the logits
    ``regime (..., 4)``."""
    return {"return": raw[..., :1], "log_variance": raw[..., 1:2], "regime": raw[..., 2:]}


def forecasts(head: Head, raw: Tensor) -> dict[str, Tensor]:
    """Raw outputs as what they forecast; classes and regimes as probabilities.

    ``volatility`` is the root of the variance, so always positive.
    """
    if head == "binary":
        return {"p_up": raw.sigmoid()}
    if head == "three_class":
        return {"classes": raw.softmax(-1)}
    if head == "regime":
        return {"regime": raw.softmax(-1)}
    if head == "multi_task":
        tasks = split_tasks(raw)
        return {
            "return": tasks["return"],
            "volatility": (0.5 * tasks["log_variance"]).exp(),
            "regime": tasks["regime"].softmax(-1),
        }
    return {"return": raw}
