"""Promotion and demotion as declared tests: a challenger beside the champion on the same rows.

Owns the rules (``models.rollout``) and the verdict, pure functions of figures.  It may be looked at as often as one
likes: the tests are sequential (``models.observer.betting``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from models.observer.paired import Paired

Said = Literal["promote", "stay", "demote", "wait"]


@dataclass(frozen=True)
class RolloutRules:
    """``signals_min`` of the challenger, whose outcome is known; ``alpha``: how likely a challenger that is not better
    is promoted ever.  That one that is not worse is demoted is as unlikely only where spans are of their own.

    ``days_min``: of UTC on which both were compared, before a promotion: who is better for some hours is better in the
    market of those hours.  ``ece_rise_max``: by how much its calibration error may be above the champion's.
    ``latency_us_max``: of its p99.  ``canary_share`` of the size that a challenger gets before it is champion.
    ``span_s``: losses and profits are added up over spans of that length.  ``profit_max_bps``: as
    ``models.observer.paired`` has it.
    """

    automatic: bool = False
    signals_min: int = 200
    alpha: float = 0.05
    ece_rise_max: float = 0.01
    latency_us_max: float = 1_000.0
    canary_share: float = 0.05
    span_s: float = 60.0
    profit_max_bps: float = 100.0
    days_min: int = 1


@dataclass(frozen=True)
class Verdict:
    """``tests``: each by name with whether it was passed and its figures; ``why``: all of it in a line."""

    said: Said
    tests: dict[str, tuple[bool, str]] = field(default_factory=dict)

    @property
    def why(self) -> str:
        parts = [f"{name} {'passed' if passed else 'failed'}: {text}" for name, (passed, text) in self.tests.items()]
        return f"{self.said}; {'; '.join(parts)}" if parts else self.said

    def plain(self) -> dict[str, Any]:
        tests = {name: {"passed": passed, "figures": text} for name, (passed, text) in self.tests.items()}
        return {"verdict": self.said, "tests": tests}


def judge(
    paired: Paired,
    rules: RolloutRules,
    *,
    ece: float | None,
    champion_ece: float | None,
    latency_p99_us: float | None,
    unlike: str = "",
    withheld: str = "",
) -> Verdict:
    """``unlike``: why its losses cannot be compared with the champion's, ``withheld``: why it does not serve whole now,
    or never could; empty where they can, and where it does.

    ``promote`` when every test is passed, ``demote`` when it is worse beyond chance in loss or in profit (half of
    ``alpha`` each), else ``stay``; ``wait`` before it has the signals that were fixed."""
    if paired.signals < rules.signals_min:
        text = f"{paired.signals:,} signals with an outcome, {rules.signals_min:,} were fixed beforehand"
        return Verdict("wait", {"signals": (False, text), **({"rows": (False, unlike)} if unlike else {})})
    tests: dict[str, tuple[bool, str]] = {"rows": (False, unlike)} if unlike else {}
    enough, too_bad = 1.0 / rules.alpha, 2.0 / rules.alpha
    loss, profit = paired.loss_gap(), paired.profit_gap_bps()
    if loss is None:
        tests["log_loss"] = (False, "no span of rows on which both spoke of the same horizon")
    else:
        tests["log_loss"] = (loss.better >= enough, f"{loss.text('nats a row')}; {enough:g} is enough")
    if profit is None:
        tests["profit"] = (False, "no span with a signal")
    else:
        said = profit.text("bps a span more than the champion after cost")
        cut = f"; {paired.beyond:,} spans beyond the bound: set models.rollout.profit_max_bps higher"
        passed = profit.better >= enough and not paired.beyond
        tests["profit"] = (passed, f"{said}; {enough:g} is enough{cut if paired.beyond else ''}")
    own_bps = paired.profit_bps / max(paired.signals, 1)
    tests["net"] = (own_bps > 0.0, f"{own_bps:+.4g} bps a signal after cost, of {paired.signals:,}")
    rise = None if ece is None or champion_ece is None else ece - champion_ece
    tests["calibration"] = (
        rise is not None and rise <= rules.ece_rise_max,
        "unknown" if rise is None else f"error {ece:.4f}, the champion's {champion_ece:.4f}",
    )
    tests["latency"] = (
        latency_p99_us is not None and latency_p99_us <= rules.latency_us_max,
        "unknown" if latency_p99_us is None else f"p99 {latency_p99_us:.0f} us of {rules.latency_us_max:.0f}",
    )
    if rules.days_min > 1:
        text = f"compared on {paired.days:,} days, {rules.days_min:,} were fixed beforehand"
        tests["days"] = (paired.days >= rules.days_min, text)
    if withheld:
        tests["standing"] = (False, withheld)
    worse = any(gap is not None and gap.worse >= too_bad for gap in (loss, profit))
    if worse:
        return Verdict("demote", tests)
    return Verdict("promote" if all(passed for passed, _ in tests.values()) else "stay", tests)
