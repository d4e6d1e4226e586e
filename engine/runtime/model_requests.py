"""What is asked of a running daemon about its models: alarms, weights, and the figures of whoever watches them.

Owns the reading of requests, and what was told last of each model, for ``status`` and ``/metrics``.  What follows from
an alarm is the core's to decide (``engine.serving``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from engine.core import TradingCore
from engine.errors import ConfigError
from engine.events import ModelAlarmed, ModelWeighed
from engine.intents import writable
from engine.runtime import logs

ALARM, WEIGH, REPORT = "model_alarm", "model_weigh", "model_report"
COMMANDS: Final = (ALARM, WEIGH, REPORT)
ACTIONS: Final = ("alert", "size_down", "stop", "clear")
MEMBERS_MAX: Final = 64
MODELS_MAX: Final = 64
"""Of which figures are kept; more are counted as left out."""
FIGURES: Final = (
    "predictions",
    "late",
    "failed",
    "matured",
    "signals",
    "log_loss",
    "hit_rate",
    "ece",
    "profit_bps",
    "psi_worst",
    "psi_beyond",
    "output_psi",
    "input_changes",
    "loss_recent",
    "compared",
    "skewed",
    "variance_ratio",
    "qlike",
    "latency_p50_us",
    "latency_p99_us",
)
"""Names that a report may have: they become labels of a metric."""


class ModelRequests:
    """Of one session.  ``take`` gives the input to put on record, None where a request changes nothing."""

    def __init__(self, core: TradingCore) -> None:
        self._core = core
        self._log = logs.get_logger("models")
        self.figures: dict[tuple[str, str], dict[str, float]] = {}
        """By instrument and version, as told last."""
        self.roles: dict[tuple[str, str], str] = {}
        self.left_out = 0

    def take(
        self, command: str, arguments: Mapping[str, Any], who: str, now_ns: int
    ) -> ModelAlarmed | ModelWeighed | None:
        """Raises ``ConfigError`` for what cannot be meant like that."""
        instrument = str(arguments.get("instrument", ""))
        if instrument not in self._core.lanes:
            raise ConfigError(
                f"instrument {instrument!r} is not in this session", expected=", ".join(list(self._core.lanes)[:5])
            )
        model = writable(str(arguments.get("model", "")))[:200]
        if not model:
            raise ConfigError("a request about no model", expected="NAME@VERSION")
        if command == REPORT:
            self._keep(instrument, model, arguments)
            return None
        if command == WEIGH:
            weights = _weights(arguments.get("weights"))
            reason = writable(str(arguments.get("reason", "")))[:200]
            return ModelWeighed(now_ns, now_ns, instrument, model, weights, reason)
        return self._alarm(instrument, model, arguments, who, now_ns)

    def _alarm(self, instrument: str, model: str, arguments: Mapping[str, Any], who: str, now_ns: int) -> ModelAlarmed:
        action = str(arguments.get("action", ""))
        if action not in ACTIONS:
            raise ConfigError(f"the action is {action!r}", expected=f"one of {', '.join(ACTIONS)}")
        source = writable(str(arguments.get("source", "")))[:40]
        if not source and action != "clear":
            raise ConfigError("an alarm without a source", expected="what was looked at")
        factor = _number("the factor", arguments.get("factor", 1.0))
        if not 0.0 < factor <= 1.0:
            raise ConfigError(f"the factor is {factor:g}", expected="more than 0, at most 1")
        text = writable(str(arguments.get("text", "")))[:300]
        tell = self._log.warning if action in ("alert", "clear") else self._log.error
        tell("a model's alarm", action=action, source=source, instrument=instrument, model=model, text=text, who=who)
        return ModelAlarmed(now_ns, now_ns, instrument, model, source, action, factor, text)

    def _keep(self, instrument: str, model: str, arguments: Mapping[str, Any]) -> None:
        key = instrument, model
        if key not in self.figures and len(self.figures) >= MODELS_MAX:
            self.left_out += 1
            return
        told = arguments.get("figures")
        if not isinstance(told, Mapping):
            raise ConfigError("a report without figures", expected="a number by name")
        self.figures[key] = {name: _number(name, told[name]) for name in FIGURES if name in told}
        self.roles[key] = str(arguments.get("role", ""))[:20]

    def status(self) -> dict[str, Any]:
        """Of each model that is watched, the figures that people look at first."""
        return {
            f"{model} on {instrument}": {"role": self.roles[instrument, model], **figures}
            for (instrument, model), figures in self.figures.items()
        }


def _weights(told: Any) -> tuple[float, ...]:
    if not isinstance(told, list) or not 1 <= len(told) <= MEMBERS_MAX:
        raise ConfigError("weights of no members", expected=f"1 to {MEMBERS_MAX} numbers")
    weights = tuple(_number("a weight", one) for one in told)
    if min(weights) < 0.0 or not sum(weights) > 0.0:
        raise ConfigError(f"weights {list(weights)}", expected="none below 0, and not all 0")
    return weights


def _number(what: str, told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise ConfigError(f"{what} is {told!r}", expected="a number")
    return float(told)
