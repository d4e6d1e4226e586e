"""What is asked of a running daemon about its models: alarms, weights, and the figures of whoever watches them.

Owns the reading of requests, and what was told last of each model, for ``status`` and ``/metrics``.  What follows from
an alarm is the core's to decide (``engine.standings``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from engine.core import TradingCore
from engine.errors import ConfigError
from engine.events import ModelAlarmed, ModelWeighed
from engine.intents import writable
from engine.lanes import seats_of
from engine.runtime import logs

ALARM, WEIGH, REPORT = "model_alarm", "model_weigh", "model_report"
COMMANDS: Final = (ALARM, WEIGH, REPORT)
ACTIONS: Final = ("alert", "size_down", "stop", "clear")
MEMBERS_MAX: Final = 64
DIGITS_MIN: Final = 4
"""Of a version, for an operator who does not type all of them."""
TEXT_MAX: Final = 300
"""Characters of an alarm's words."""
MODELS_MAX: Final = 64
"""Of which figures are kept; more are counted as left out."""
FORGET_NS: Final = 300 * 10**9
"""A model that was not told of for so long is not watched any more: each is told of every ten seconds."""
BEHIND: Final = "behind_s"
"""Since when the record was not read to its end."""
FIGURES: Final = (
    BEHIND,
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
    "return_rmse_bps",
    "return_skill",
    "miscalibration",
    "calibration_slope",
    "coverage",
    "errors_beyond",
    "compared",
    "skewed",
    "variances",
    "variance_ratio",
    "qlike",
    "latency_p50_us",
    "latency_p99_us",
)
"""Names that a report may have: they become labels of a metric."""
HITS: Final = "hits"
"""Of a report: by confidence, how many predictions' outcome is known, and the share that came true."""
CONFIDENCES: Final = ("0", "0.1", "0.2", "0.4", "0.6")
"""Lower edges of a confidence ``|2 p - 1|``: they become labels of a metric too."""
BY_RULES: Final = "by_rules"
"""Of an alarm that nobody has looked at: what its source has stopped or sized down before is not its to take back."""
WORDS: Final = {"role": 20, "verdict": 600}
"""Names of its texts, and how long they may be."""


class Hits(NamedTuple):
    """Of predictions of one confidence: ``rows`` whose outcome is known, and the share of them that came true."""

    rows: float
    hit_rate: float


class ModelRequests:
    """Of one session.  ``take`` gives the inputs to put on record, none where a request changes nothing."""

    def __init__(self, core: TradingCore) -> None:
        self._core = core
        self._log = logs.get_logger("models")
        self.figures: dict[tuple[str, str], dict[str, float]] = {}
        """By instrument and version, as told last."""
        self.hits: dict[tuple[str, str], dict[str, Hits]] = {}
        """The same by confidence (``CONFIDENCES``)."""
        self.words: dict[tuple[str, str], dict[str, str]] = {}
        self._told_ns: dict[tuple[str, str], int] = {}
        self.left_out = 0

    def take(
        self, command: str, arguments: Mapping[str, Any], who: str, now_ns: int
    ) -> tuple[ModelAlarmed | ModelWeighed, ...]:
        """An alarm without an instrument is one for each on which the model stands.  Raises ``ConfigError`` for what
        cannot be meant like that."""
        name = str(arguments.get("instrument", ""))
        model = writable(str(arguments.get("model", "")))[:200]
        if not model:
            raise ConfigError("a request about no model", expected="NAME@VERSION")
        instruments = self._instruments(name, everywhere=command == ALARM)
        if command == REPORT:
            self._keep(instruments[0], model, arguments, now_ns)
            return ()
        if command == WEIGH:
            weights = _weights(arguments.get("weights"))
            reason = writable(str(arguments.get("reason", "")))[:200]
            return (ModelWeighed(now_ns, now_ns, instruments[0], model, weights, reason),)
        meant = self._standing(model, instruments, also_alarmed=arguments.get("action") == "clear")
        return tuple(self._alarm(one, version, arguments, who, now_ns) for one, version in meant)

    def _instruments(self, name: str, *, everywhere: bool) -> list[str]:
        """Those that ``BTC/USD@coinbase`` or, where only one venue has it, ``BTC/USD`` means; all for no name."""
        lanes = list(self._core.lanes)
        if everywhere and not name:
            return lanes
        found = [one for one in lanes if one == name] or [one for one in lanes if one.partition("@")[0] == name]
        if len(found) != 1:
            raise ConfigError(f"instrument {name!r} is not in this session", expected=", ".join((found or lanes)[:5]))
        return found

    def _standing(self, model: str, instruments: list[str], *, also_alarmed: bool) -> list[tuple[str, str]]:
        """Instrument and version of what ``model`` means: the first digits of the version are enough.

        An alarm about a version that stands nowhere would be told as done and stop nobody; but what was stopped and
        has left its seat is stopped when it comes back, unless that is cleared before.
        """
        name, _, digits = model.partition("@")
        standing = [(one, seat.version) for one in instruments for seat in seats_of(self._core.lanes[one])]
        if also_alarmed:
            versions = self._core.serving.standings.alarms.versions
            standing += [(one, version) for one in instruments for version in versions(one)]
        found = [(one, version) for one, version in standing if version == model]
        if not found and len(digits) >= DIGITS_MIN:
            found = [(one, version) for one, version in standing if version.startswith(f"{name}@{digits}")]
        if len({version for _, version in found}) != 1:
            there = f"on {instruments[0]}" if len(instruments) == 1 else "in this session"
            known = ", ".join(dict.fromkeys(version for _, version in found or standing)) or "none: no model stands"
            raise ConfigError(
                f"model {model!r} is {'several versions' if found else 'no model that stands'} {there}", expected=known
            )
        return list(dict.fromkeys(found))

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
        text = writable(str(arguments.get("text", "")))[:TEXT_MAX]
        alarm = ModelAlarmed(now_ns, now_ns, instrument, model, source, action, factor, text)
        held = self._core.serving.standings.alarms.weakened_by(alarm) if arguments.get(BY_RULES) else ""
        if held:
            raise ConfigError(f"{action} of {model} is not taken: it is {held}", expected="a person who clears that")
        full = self._core.serving.standings.alarms.why_full(alarm)
        if full:
            raise ConfigError(f"the alarm is not taken: {full}", do="look at them in status, and clear what is over")
        tell = self._log.warning if action in ("alert", "clear") else self._log.error
        tell("a model's alarm", action=action, source=source, instrument=instrument, model=model, text=text, who=who)
        return alarm

    def _keep(self, instrument: str, model: str, arguments: Mapping[str, Any], now_ns: int) -> None:
        key = instrument, model
        for gone in [one for one, at_ns in self._told_ns.items() if now_ns - at_ns > FORGET_NS]:
            del self.figures[gone], self.hits[gone], self.words[gone], self._told_ns[gone]
        if key not in self.figures and len(self.figures) >= MODELS_MAX:
            self.left_out += 1
            return
        told = arguments.get("figures")
        if not isinstance(told, Mapping):
            raise ConfigError("a report without figures", expected="a number by name")
        hits = _hits(arguments.get(HITS, []))
        self.figures[key] = {name: _number(name, told[name]) for name in FIGURES if name in told}
        self.hits[key] = hits
        said = {name: writable(str(arguments.get(name, "")))[:most] for name, most in WORDS.items()}
        self.words[key] = {name: text for name, text in said.items() if text}
        self._told_ns[key] = now_ns

    def status(self) -> dict[str, Any]:
        """Of each model that is watched, the figures that people look at first."""
        found: dict[str, Any] = {}
        for (instrument, model), figures in self.figures.items():
            told: dict[str, Any] = {**self.words[instrument, model], **figures}
            if hits := self.hits[instrument, model]:
                told[HITS] = {edge: one._asdict() for edge, one in hits.items()}
            found[f"{model} on {instrument}"] = told
        return found


def _weights(told: Any) -> tuple[float, ...]:
    if not isinstance(told, list) or not 1 <= len(told) <= MEMBERS_MAX:
        raise ConfigError("weights of no members", expected=f"1 to {MEMBERS_MAX} numbers")
    weights = tuple(_number("a weight", one) for one in told)
    if min(weights) < 0.0 or not sum(weights) > 0.0:
        raise ConfigError(f"weights {list(weights)}", expected="none below 0, and not all 0")
    return weights


def _hits(told: Any) -> dict[str, Hits]:
    """By the edges that are known; others are left out."""
    if not isinstance(told, list) or not all(isinstance(one, Mapping) for one in told):
        raise ConfigError("hits of nothing", expected="edge, rows and hit rate of each confidence")
    by_edge = {f"{_number('an edge', one.get('from')):g}": one for one in told}
    return {
        edge: Hits(_number("rows", one.get("rows")), _number("hit_rate", one.get("hit_rate")))
        for edge, one in by_edge.items()
        if edge in CONFIDENCES
    }


def _number(what: str, told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise ConfigError(f"{what} is {told!r}", expected="a number")
    return float(told)
