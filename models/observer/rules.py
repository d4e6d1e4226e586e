"""What is looked at, from when on it is an alarm, and what is then done: pure functions of figures.

Owns the rules of watching (``models.watch``).  Promotion and demotion are ``models.observer.rollout``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

Action = Literal["alert", "size_down", "stop", "none"]
Source = Literal["psi", "adwin_inputs", "adwin", "calibration", "hits", "volatility", "skew", "output", "latency"]

SOURCES: Final = get_args(Source)
OF_THE_MARKET: Final = ("psi", "adwin_inputs", "output")
"""Sources that say nothing for the model before, which reads the same market."""
CLEAR: Final = "clear"


@dataclass(frozen=True)
class WatchRules:
    """Limits, and by source what is done beyond them.  ``factor``: what ``size_down`` leaves of a size."""

    window_rows: int = 5_000
    reference_rows: int = 2_000
    psi_max: float = 0.25
    psi_columns: int = 3
    adwin_delta: float = 0.002
    adwin_columns: int = 3
    ece_max: float = 0.1
    matured_min: int = 500
    hits_short_max: float = 0.1
    variance_ratio_max: float = 2.0
    late_share_max: float = 0.05
    skew_every: int = 50
    skew_max: int = 3
    factor: float = 0.5
    psi: Action = "alert"
    adwin_inputs: Action = "alert"
    adwin: Action = "alert"
    calibration: Action = "alert"
    hits: Action = "alert"
    volatility: Action = "alert"
    skew: Action = "alert"
    output: Action = "alert"
    latency: Action = "alert"

    @property
    def skew_window(self) -> int:
        """Comparisons that count: those of about ``window_rows`` rows, and enough of them to raise the alarm."""
        return max(self.window_rows // self.skew_every, 10 * self.skew_max)

    def action_of(self, source: Source) -> Action:
        """What is to be done about an alarm of that source."""
        found: Action = getattr(self, source)
        return found


@dataclass(frozen=True)
class Alarm:
    """Something is beyond its limit on an instrument: ``source`` names which, ``text`` says it with figures."""

    source: Source
    text: str


def alarms(figures: Mapping[str, Any], rules: WatchRules) -> list[Alarm]:
    """What is beyond its limit, of the figures of one version on one instrument (``models.observer.track``)."""
    found: list[Alarm] = []
    psi: Mapping[str, float] = figures.get("psi", {})
    beyond = sorted(((value, name) for name, value in psi.items() if value > rules.psi_max), reverse=True)
    if len(beyond) >= rules.psi_columns:
        named = ", ".join(f"{name} {value:.2f}" for value, name in beyond[:3])
        found.append(Alarm("psi", f"{len(beyond)} of {len(psi)} inputs have a PSI over {rules.psi_max:g}: {named}"))
    changed: Sequence[str] = figures.get("inputs_changed", ())
    if len(changed) >= rules.adwin_columns:
        text = f"ADWIN saw {len(changed)} inputs change within {rules.window_rows:,} rows: {', '.join(changed[:3])}"
        found.append(Alarm("adwin_inputs", text))
    output = figures.get("output_psi")
    if output is not None and output > rules.psi_max:
        against = f" against {figures['output_against']}" if "output_against" in figures else ""
        found.append(Alarm("output", f"the forecast has a PSI of {output:.2f}{against}, over {rules.psi_max:g}"))
    if figures.get("loss_rose") and "errors_beyond" in figures:
        share = f"{figures['errors_beyond']:.0%} of late are beyond what one in ten was on validation rows"
        found.append(Alarm("adwin", f"the errors of its returns grew: {share}"))
    elif figures.get("loss_rose"):
        found.append(Alarm("adwin", f"its log-loss rose, to {figures.get('loss_recent', 0.0):.4f} of late"))
    if figures.get("miscalibrated") and figures.get("matured", 0) >= rules.matured_min:
        of_late = f"{figures['ece']:.3f} of late" if "ece" in figures else "beyond it"
        if "coverage" in figures:
            of_late = f"{figures['coverage']:.0%} of late came within what nine in ten did on validation rows"
        found.append(Alarm("calibration", f"its calibration error is over {rules.ece_max:g} beyond chance: {of_late}"))
    for short in figures.get("hits_short", ())[-1:]:
        least, most = (0.5 + 0.5 * short[name] for name in ("from", "to"))
        sure = f"{short['rows']:,} predictions of {least:.0%} to {most:.0%} that share no row"
        found.append(Alarm("hits", f"of {sure} {short['hit_rate']:.0%} came true, {short['said']:.0%} was said"))
    if "variance_recent" in figures:
        times = f"{figures['variance_recent']:.2f} times the predicted over {figures['variance_labels']:,} labels"
        limits = f"{1.0 / rules.variance_ratio_max:.2g} to {rules.variance_ratio_max:g}"
        found.append(Alarm("volatility", f"the realised variance is {times} that share no row, beyond {limits}"))
    recent, late = figures.get("late_of", 0), figures.get("late_recent", 0)
    if recent >= min(rules.matured_min, rules.window_rows) and late > rules.late_share_max * recent:
        found.append(Alarm("latency", f"{late:,} of the last {recent:,} predictions were late"))
    skewed = figures.get("skewed_recent", 0)
    if skewed >= rules.skew_max:
        text = f"{skewed} of the last {figures.get('skewed_of', 0)} predictions differ when made again of rebuilt rows"
        found.append(Alarm("skew", f"{text}: {figures.get('skew_worst', '')}".rstrip(": ")))
    return found


class Standing:
    """Which alarms stand for one version on one instrument, so that each is told when it begins and when it ends."""

    def __init__(self) -> None:
        self._told: dict[str, Action] = {}
        self._cleared: dict[str, int] = {}
        """Sources that were cleared while they stood: predictions by then."""

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self._told)

    @property
    def holds(self) -> str:
        """A source whose alarm stops it or sizes it down; empty where none does."""
        return next((source for source, action in self._told.items() if action != "alert"), "")

    def on_record(self, source: str, action: str, predictions: int) -> None:
        """An alarm of the record, whoever told it.  ``predictions``: of the version by then.

        What was raised there counts as told.  What was cleared is told anew when it has gone and comes again, or when
        it is still there after ``window_rows`` further predictions.
        """
        if action == CLEAR:
            for one in SOURCES if not source else (source,):
                if self._told.pop(one, None) is not None:
                    self._cleared[one] = predictions
        elif source in SOURCES and action in ("alert", "size_down", "stop"):
            self._told[source] = cast(Action, action)
            self._cleared.pop(source, None)

    def changes(
        self, found: list[Alarm], rules: WatchRules, predictions: int = 0
    ) -> list[tuple[str, Action | Literal["clear"], str]]:
        """``(source, action, text)`` to tell: what is new, and with ``clear`` what ended by itself.

        What sized a model down or stopped it is not cleared by itself: an operator looks first.  ``predictions`` of the
        version until now.
        """
        told: list[tuple[str, Action | Literal["clear"], str]] = []
        present = {alarm.source: alarm for alarm in found}
        self._cleared = {
            source: at
            for source, at in self._cleared.items()
            if source in present and predictions - at < rules.window_rows
        }
        for source, alarm in present.items():
            action = rules.action_of(source)
            if source not in self._told and source not in self._cleared and action != "none":
                self._told[source] = action
                told.append((source, action, alarm.text))
        for known, action in list(self._told.items()):
            if known not in present and action == "alert":
                del self._told[known]
                told.append((known, "clear", "within its limit again"))
        return told
