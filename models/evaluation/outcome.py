"""What an evaluation found, as ``evaluation.json`` holds it and the report shows it."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from models.evaluation.comparison import Verdict
from models.evaluation.importance import Importance
from models.evaluation.ledger import Line
from models.manifest import Metric

Role = Literal["network", "averaged", "stacked", "baseline"]
OUTCOME = "evaluation.json"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class SeedSpread(_Section, frozen=True):
    mean: float
    sd: float
    worst: float


class ForecastScores(_Section, frozen=True):
    """``metrics`` of a network are means over its seeds; ``averaged`` is one forecast, the mean of them; ``stacked`` is
    one with baselines.

    ``set_p``: p-value in the model confidence set.  ``temperature`` and ``threshold`` come from validation rows.
    """

    name: str
    role: Role
    metrics: dict[str, Metric]
    seeds: dict[str, SeedSpread] = {}
    temperatures: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    set_p: float | None = None


class Comparison(_Section, frozen=True):
    """``difference``: ours minus theirs, paired on the same dates.  ``dm_p``: of Diebold and Mariano on the loss."""

    ours: str
    theirs: str
    metric: str
    difference: Metric
    verdict: Verdict
    dm_p: float | None = None


class FigureVerdict(_Section, frozen=True):
    name: str
    metric: str
    figure: float
    source: str
    verdict: Verdict


class Curve(_Section, frozen=True):
    """A line of a chart."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class ClassRow(_Section, frozen=True):
    name: str
    rows: int
    said: int
    precision: float
    recall: float
    f1: float


class CoverageRow(_Section, frozen=True):
    level: float
    coverage: float
    size: float
    singletons: float | None
    singleton_accuracy: float | None
    by_group: dict[str, float]


class GroupRow(_Section, frozen=True):
    """``pr_auc``: of a signal, ours and the best baseline's."""

    name: str
    rows: int
    loss: float
    difference: Metric
    pr_auc: tuple[float, float] | None = None


class SelectionRow(_Section, frozen=True):
    trials: int
    sharpe: float
    psr: float
    sharpe_by_luck: float
    dsr: float
    pbo: float | None
    passed: bool


class SignalRow(_Section, frozen=True):
    """``precision``: of the first row of each episode; ``verdict``: against the precision that pays, if it is told."""

    name: str
    rows: int
    episodes: int
    precision: Metric
    verdict: Verdict


class RiskRow(_Section, frozen=True):
    area: float
    random: float
    best: float


class Outcome(_Section, frozen=True):
    """``suspicions`` fail the evaluation unless ``explained`` says why; ``selection`` is None while no strategy ran.
    ``test_of``: as in ``RunData``."""

    run: str
    task: str
    kind: str
    primary: str
    loss: str
    network: str
    parameters: int
    seeds: tuple[int, ...]
    rows: dict[str, int]
    periods: dict[str, tuple[str, str]]
    opening: Line
    opened_before_by: tuple[str, ...]
    ledger: str
    commit: str
    block: int
    drawn_by: str
    draws: int
    scores: list[ForecastScores]
    best_baseline: str
    comparisons: list[Comparison]
    figures: list[FigureVerdict]
    classes: list[ClassRow]
    confusion: list[list[int]]
    roc: list[Curve]
    precision_recall: list[Curve]
    reliability: list[Curve]
    risk_coverage: list[Curve]
    risk: dict[str, RiskRow]
    signals: list[SignalRow]
    coverage: list[CoverageRow]
    groups: dict[str, list[GroupRow]]
    importance: list[Importance]
    selection: SelectionRow | None
    suspicions: list[str]
    explained: str
    skipped: list[str]
    seconds: float = 0.0
    test_of: str = ""

    @property
    def reused(self) -> bool:
        return bool(self.opened_before_by)

    @property
    def told_of_reuse(self) -> str:
        """By which runs, and how often."""
        runs = ", ".join(f"{name} ({count}x)" for name, count in sorted(Counter(self.opened_before_by).items()))
        return f"opened before by {runs}"

    @property
    def suspicious(self) -> bool:
        return bool(self.suspicions) and not self.explained

    @property
    def headline(self) -> Comparison:
        """The network against the best baseline by the primary metric."""
        return next(one for one in self.comparisons if one.theirs == self.best_baseline and one.metric == self.primary)
