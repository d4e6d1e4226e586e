"""What is kept of a finished entry: ``docs/results/TASK/ENTRY/outcome.json``, small, and readable without its run.

Owns the type, the file, and what of an evaluation goes into it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.description import Environment
from models.evaluation.ledger import Line
from models.evaluation.outcome import Comparison, FigureVerdict, ForecastScores, Outcome, SignalRow
from models.evaluation.period_losses import PeriodLosses
from models.manifest import Metric

OUTCOME: Final = "outcome.json"
CONFIG: Final = "config.yaml"


class KeptForecast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One evaluated forecast.  ``forecast``: its name in a run of several, else empty; ``origin``: of a walk-forward,
    else 0.  ``symbols_above``: of a signal, in how many instruments its PR-AUC was above the best baseline's, and of
    how many."""

    forecast: str
    origin: int
    task: str
    kind: str
    primary: str
    loss: str
    rows: dict[str, int]
    periods: dict[str, tuple[str, str]]
    opening: Line
    opened_before_by: tuple[str, ...]
    commit: str
    scores: list[ForecastScores]
    best_baseline: str
    comparisons: list[Comparison]
    figures: list[FigureVerdict]
    signals: list[SignalRow]
    suspicions: list[str]
    explained: str
    block: int
    drawn_by: str
    losses: PeriodLosses
    symbols_above: tuple[int, int] | None = None

    @property
    def headline(self) -> Comparison:
        """The network against the best baseline by the primary metric."""
        return next(one for one in self.comparisons if one.theirs == self.best_baseline and one.metric == self.primary)

    def metric(self, forecast: str, name: str) -> Metric | None:
        """A score of a forecast; None where it has none."""
        return next((one.metrics.get(name) for one in self.scores if one.name == forecast), None)


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished entry.  ``validation``: scores of the best epochs, mean over seeds; ``sources``: sha256 by file;
    ``seconds``: of training, all seeds."""

    task: str
    entry: str
    network: str
    parameters: int
    seeds: tuple[int, ...]
    config_sha256: str
    fingerprints: tuple[str, ...]
    sources: dict[str, str]
    environment: Environment
    validation: dict[str, float]
    epochs: int
    seconds: float
    forecasts: list[KeptForecast]

    def same_as(self, config_sha256: str, sources: dict[str, str]) -> bool:
        """Whether that configuration on that data is what was run."""
        return (self.config_sha256, self.sources) == (config_sha256, sources)


def kept_forecast(outcome: Outcome, losses: PeriodLosses, forecast: str, origin: int) -> KeptForecast:
    """Without curves, groups and importance: pictures and the run's report have those."""
    ranked = [row.pr_auc for row in outcome.groups.get("symbol", []) if row.pr_auc is not None]
    own: dict[str, Any] = {
        name: getattr(outcome, name)
        for name in KeptForecast.__struct_fields__
        if name not in ("forecast", "origin", "losses", "symbols_above", "comparisons")
    }
    own["scores"] = [msgspec.structs.replace(one, temperatures=(), thresholds=()) for one in outcome.scores]
    names = [one.name for one in outcome.scores if one.role != "baseline"]
    return KeptForecast(
        forecast=forecast,
        origin=origin,
        losses=losses.only([*names, outcome.best_baseline]),
        symbols_above=(sum(ours > theirs for ours, theirs in ranked), len(ranked)) if ranked else None,
        comparisons=[one for one in outcome.comparisons if one.metric == outcome.primary or one.dm_p is not None],
        **own,
    )


def place(folder: Path, task: str, entry: str) -> Path:
    """Where the entry's results are kept."""
    return folder / task / entry


def read(folder: Path, task: str, entry: str) -> Kept | None:
    """None where it has not been run.  Raises ``DataError`` for a file that cannot be read."""
    path = place(folder, task, entry) / OUTCOME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} cannot be read: {error}", do="bring it back, or remove it to run it again") from None


def write(folder: Path, kept: Kept, config: bytes) -> None:
    """The configuration first: an outcome that is there is whole.  Raises ``DataError``."""
    own = place(folder, kept.task, kept.entry)
    try:
        own.mkdir(parents=True, exist_ok=True)
        write_atomically(own / CONFIG, config, 0o644)
        write_atomically(own / OUTCOME, msgspec.json.format(msgspec.json.encode(kept), indent=0) + b"\n", 0o644)
    except OSError as error:
        raise DataError(f"{own} cannot be written: {error.strerror}", do="make room") from None
