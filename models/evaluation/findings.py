"""The tables of an outcome, from forecasts that are scored already.

Owns what is shown of which forecast; nothing here fits or chooses anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation import breakdown, conformal
from models.evaluation.baselines.garch import lack_of_returns
from models.evaluation.calibration import reliability, tempered
from models.evaluation.comparison import (
    Verdict,
    by_period,
    diebold_mariano,
    horizon_in_periods,
    model_confidence_set,
    verdict,
    verdict_of_interval,
    verdict_on_figure,
)
from models.evaluation.description import EpochLine
from models.evaluation.draws import Draws, Estimate, mean_estimate
from models.evaluation.importance import Importance, of_trees, permutation, some_rows
from models.evaluation.ledger import Line, Opening
from models.evaluation.losses import log_losses
from models.evaluation.metrics import per_class
from models.evaluation.outcome import (
    ClassRow,
    Comparison,
    CoverageRow,
    Curve,
    FigureVerdict,
    ForecastScores,
    GroupRow,
    Outcome,
    RiskRow,
    SeedSpread,
    SelectionRow,
    SignalRow,
)
from models.evaluation.ranking import average_precision, precision_recall_curve, roc_curve
from models.evaluation.rows import Rows
from models.evaluation.run_folder import RunFolder
from models.evaluation.scoring import LOSS, Choices, Scored
from models.evaluation.selection import Selection, judge_selection
from models.evaluation.selective import risk_coverage
from models.evaluation.signals import judge_signals
from models.evaluation.suspicion import suspicions

Float64 = npt.NDArray[np.float64]
_EXPLAINED_ROWS = 1000
_EXPLAINED_DRAWS = 500
_TREES_ADD = {"classes": "log-odds", "variance": "log variance", "return": "log return"}


@dataclass(frozen=True)
class Beside:
    """What a run holds beside rows and predictions.  It is read and judged before the test is opened: what is wrong
    with it costs no opening.  ``opened``: by the evaluation that the run has already, on whichever ledger."""

    epochs: list[EpochLine]
    importance: list[Importance]
    selection: Selection | None
    opened: Line | None

    @classmethod
    def of(cls, run: RunFolder) -> Beside:
        """Raises ``DataError`` for what cannot be read, or for too few periods of a strategy."""
        trials = run.trials()
        judged = None if trials is None else judge_selection(trials.returns, trials.chosen, trials.periods_per_year)
        return cls(run.epochs(), run.importance(), judged, run.opened())

    def before(self, opening: Opening) -> tuple[str, ...]:
        """Runs that opened rows of this test before, by the ledger, and this one where another ledger has it."""
        known, own = list(opening.earlier), self.opened
        if own is not None and own not in known and own.counts_against(opening.line):
            known.append(own)
        return tuple(line.run for line in known)


class Findings:
    """What is known once all is scored; makes the tables of the outcome."""

    def __init__(
        self,
        run: RunFolder,
        beside: Beside,
        choices: Choices,
        train: Rows,
        validation: Rows,
        said: Float64,
        test: Rows,
        scored: list[Scored],
        best: Scored,
        draws: Draws,
        seed: int,
    ) -> None:
        self.run, self.beside, self.choices = run, beside, choices
        self.train, self.validation, self.said = train, validation, said
        self.test, self.scored, self.best, self.draws, self.seed = test, scored, best, draws, seed
        self.data, self.task = run.data, run.data.task
        self.ours = [one for one in scored if one.role != "baseline"]
        self.shown = [one for one in self.ours if one.role != "stacked"][
            -1
        ]  # the average of the seeds, or the only one
        self.skipped: list[str] = []
        if self.task.kind == "variance" and (lack := lack_of_returns(train, len(self.data.instruments))):
            self.skipped.append(lack)

    def outcome(self, opening: Opening, ledger: str, commit: str, explained: str) -> Outcome:
        selection = self.selection()
        direction = {
            one.name: one.estimates["direction_accuracy"].value
            for one in self.scored
            if "direction_accuracy" in one.estimates
        }
        doubts = suspicions(direction, selection.sharpe if selection else None)
        losses = {one.name: by_period(one.loss, self.draws) for one in self.scored}
        in_set = model_confidence_set(losses, self.draws.block, seed=self.seed)
        data, classes = self.data, self.task.kind == "classes"
        return Outcome(
            run=self.run.path.resolve().name,
            task=self.task.name,
            kind=self.task.kind,
            primary=self.task.primary,
            loss=LOSS[self.task.kind],
            network=data.network,
            parameters=data.parameters,
            seeds=data.seeds,
            rows={part: info.rows for part, info in data.parts.items()},
            periods={part: (_day(info.first_ns), _day(info.last_ns)) for part, info in data.parts.items()},
            opening=opening.line,
            opened_before_by=self.beside.before(opening),
            ledger=ledger,
            commit=commit,
            block=self.draws.block,
            drawn_by=self.draws.by,
            draws=len(self.draws.counts),
            scores=[self.row(one, in_set[one.name]) for one in self.scored],
            best_baseline=self.best.name,
            comparisons=self.comparisons(losses),
            figures=self.figures(),
            classes=self.class_rows() if classes else [],
            confusion=self.confusion() if classes else [],
            roc=self.curves(roc_curve) if classes else [],
            precision_recall=self.curves(precision_recall_curve) if classes else [],
            reliability=self.reliability() if classes else [],
            risk_coverage=self.risk()[0] if classes else [],
            risk=self.risk()[1] if classes else {},
            signals=self.signals() if self.task.signal else [],
            coverage=self.coverage(),
            groups=self.groups(),
            importance=self.importance(),
            selection=selection,
            suspicions=[str(doubt) for doubt in doubts],
            explained=explained,
            skipped=self.skipped,
            test_of=data.test_of,
        )

    def figures(self) -> list[FigureVerdict]:
        """The network against what was measured on the same rows; on other rows a score says nothing of another."""
        ours, found = self.ours[0].estimates, []
        for one in self.task.figures:
            if one.metric in ours:
                on_figure = verdict_on_figure(one.metric, ours[one.metric], one.value)
                said: Verdict = "not compared" if self.data.test_of else on_figure
                found.append(FigureVerdict(one.name, one.metric, one.value, one.source, said))
        return found

    def row(self, one: Scored, set_p: float) -> ForecastScores:
        return ForecastScores(
            one.name,
            one.role,
            {name: estimate.metric for name, estimate in one.estimates.items()},
            {name: SeedSpread(spread.mean, spread.sd, spread.worst) for name, spread in one.seeds.items()},
            one.temperatures,
            one.thresholds,
            set_p,
        )

    def comparisons(self, losses: dict[str, Float64]) -> list[Comparison]:
        """Ours against every baseline by the primary metric, and by the loss where that is another."""
        loss, found = LOSS[self.task.kind], []
        horizon = horizon_in_periods(self.draws, self.test.instrument, self.task.horizon_rows)
        for one in self.ours:
            for other in self.scored:
                if other.role != "baseline":
                    continue
                p = diebold_mariano(losses[one.name], losses[other.name], horizon).p
                for metric in dict.fromkeys((self.task.primary, loss)):
                    difference = one.estimates[metric] - other.estimates[metric]
                    dm_p = p if metric == loss else None
                    found.append(
                        Comparison(one.name, other.name, metric, difference.metric, verdict(metric, difference), dm_p)
                    )
        return found

    def class_rows(self) -> list[ClassRow]:
        said = self.shown.said
        if said is None:
            return []
        return [
            ClassRow(
                str(row["class"]),
                int(row["rows"]),
                int(row["said"]),
                float(row["precision"]),
                float(row["recall"]),
                float(row["f1"]),
            )
            for row in per_class(self.test.classes, said, self.task.classes)
        ]

    def confusion(self) -> list[list[int]]:
        """Truth in rows, said in columns."""
        count = len(self.task.classes)
        if self.shown.said is None:
            return []
        flat = np.bincount(self.test.classes * count + self.shown.said, minlength=count * count)
        return [[int(value) for value in row] for row in flat.reshape(count, count)]

    def curves(self, of: Callable[[Float64, Float64], tuple[Float64, Float64]]) -> list[Curve]:
        """Ours by class (the second of two), and the best baseline's."""
        classes = self.task.classes
        numbers = [1] if len(classes) == 2 else range(len(classes))
        found = []
        for number in numbers:
            up = (self.test.classes == number).astype(np.float64)
            for one in (self.shown, self.best):
                x, y = of(up, one.forecast[:, number])
                found.append(Curve(f"{classes[number]}, {one.name}", _floats(x), _floats(y)))
        return found

    def reliability(self) -> list[Curve]:
        classes = self.task.classes
        found = []
        for number in [1] if len(classes) == 2 else range(len(classes)):
            up = (self.test.classes == number).astype(np.float64)
            bins = reliability(up, self.shown.forecast[:, number])
            said, happened = tuple(one[0] for one in bins), tuple(one[1] for one in bins)
            found.append(Curve(classes[number], said, happened))
        return found

    def risk(self) -> tuple[list[Curve], dict[str, RiskRow]]:
        """Error of the likeliest class by the share of rows answered; a signal's too, whatever its threshold."""
        curves, areas = [], {}
        for one in (self.shown, self.best):
            wrong = (one.forecast.argmax(axis=1) != self.test.classes).astype(np.float64)
            found = risk_coverage(one.forecast.max(axis=1), wrong)
            curves.append(Curve(one.name, tuple(found.coverage), tuple(found.risk)))
            areas[one.name] = RiskRow(found.area, found.random, found.best)
        return curves, areas

    def signals(self) -> list[SignalRow]:
        """Of every forecast that ever says so, at its threshold; a network's of its average (or only seed)."""
        found = []
        for one in (self.shown, *(one for one in self.scored if one.role == "baseline")):
            judged = None
            if one.said is not None:
                judged = judge_signals(self.test, one.said, self.task.horizon_s, self.draws)
            if judged is None:
                continue
            against = verdict_of_interval("precision", judged.precision, self.task.break_even)
            pays = against if self.task.break_even else "not compared"
            found.append(SignalRow(one.name, judged.rows, judged.episodes, judged.precision, pays))
        return found

    def coverage(self) -> list[CoverageRow]:
        """Of the seeds' average (or the only seed)."""
        groups = self.regimes()
        if self.task.kind == "classes":
            sets = conformal.class_sets((self.validation.classes, self._validation_forecast()), self.shown.forecast)
            found = conformal.class_coverage(self.test.classes, sets, groups)
        else:
            into: Callable[[Float64], Float64] = np.log if self.task.kind == "variance" else np.asarray
            forecast = self.said[:, :, 0].mean(axis=0)
            ends = conformal.intervals((into(self.validation.label), into(forecast)), into(self.shown.forecast))
            found = conformal.interval_coverage(into(self.test.label), ends, groups)
        return [CoverageRow(**asdict(one)) for one in found]

    def _validation_forecast(self) -> Float64:
        """What the seeds' average says of validation rows, calibrated as on the test."""
        pairs = zip(self.said, self.choices.temperatures, strict=True)
        each = np.stack([tempered(one, t) for one, t in pairs])
        return tempered(each.mean(axis=0), self.choices.averaged_temperature) if len(each) > 1 else each[0]

    def regimes(self) -> npt.NDArray[np.str_] | None:
        column = self.task.columns.regime
        return breakdown.regimes(self.test, self.train, self.data.features, column) if column else None

    def groups(self) -> dict[str, list[GroupRow]]:
        """By symbol, month and regime, against the best baseline."""
        names = {
            "symbol": breakdown.symbols(self.test, self.data.instruments),
            "month": breakdown.months(self.test),
            "regime": self.regimes(),
        }
        return {
            kind: [
                GroupRow(one.name, one.rows, one.loss, one.difference, self.ranked(groups == one.name))
                for one in breakdown.by_group(groups, self.ours[0].loss, self.best.loss, self.draws)
            ]
            for kind, groups in names.items()
            if groups is not None
        }

    def ranked(self, own: npt.NDArray[np.bool_]) -> tuple[float, float] | None:
        """PR-AUC of a signal on some rows, ours and the best baseline's; None where it never happened there."""
        up = (self.test.classes[own] == 1).astype(np.float64)
        if not self.task.signal or not up.any():
            return None
        ours, theirs = (average_precision(up, one.forecast[own, 1]) for one in (self.shown, self.best))
        return ours, theirs

    def importance(self) -> list[Importance]:
        """What the trainer explained of the network, then the trees; on validation rows only."""
        found = list(self.beside.importance)
        fitted: list[Any] = [*self.choices.classifiers, *self.choices.forecasters]
        trees = next((one for one in fitted if one.name == "LightGBM"), None)
        if trees is None or trees.model is None:
            return found
        chosen = np.zeros(len(self.validation), bool)
        chosen[some_rows(len(self.validation), _EXPLAINED_ROWS, self.seed)] = True
        some = self.validation.where(chosen)
        added = _TREES_ADD[self.task.kind]
        found.append(of_trees("LightGBM", trees.model, some.features, self.data.features, added))
        draws = Draws.cut(some.ts_ns, self.task.horizon_s, seed=self.seed, draws=_EXPLAINED_DRAWS)

        def loss(x: npt.NDArray[np.float32]) -> Estimate:
            said = trees.predict(Rows(some.instrument, some.ts_ns, some.label, x, some.past_label, some.series))
            if self.task.kind == "classes":
                return mean_estimate(log_losses(some.classes, said), draws)
            return mean_estimate((some.label - said) ** 2, draws)

        unit = "growth of log-loss" if self.task.kind == "classes" else "growth of mean square"
        every = len(self.validation)
        found.append(
            permutation("LightGBM", some.features, self.data.features, loss, unit, of_rows=every, seed=self.seed)
        )
        return found

    def selection(self) -> SelectionRow | None:
        found = self.beside.selection
        if found is None:
            self.skipped.append("profit, deflated Sharpe and PBO: pending, the run has no back-test of a strategy")
            return None
        return SelectionRow(**asdict(found), passed=found.passed)


def _day(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def _floats(values: Float64) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
