"""Pictures of a study: which settings mattered, how the best score came about, and how all trials lie in the space."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from engine.durable import write_atomically
from engine.errors import DataError

HISTORY, IMPORTANCE, PARALLEL = "history.png", "importance.png", "parallel.png"
_DPI = 90
_TREES = 64


def importances(study: optuna.Study) -> dict[str, float]:
    """Shares of the score's variance by setting, the greatest first (fANOVA: F. Hutter, H. Hoos, K. Leyton-Brown 2014).

    Empty where it cannot be told: fewer than two trials trained to their end, or all with one score.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < 2 or len({trial.value for trial in done}) < 2:
        return {}
    found = optuna.importance.get_param_importances(study, evaluator=_evaluator())
    return {key: float(share) for key, share in found.items()}


def draw(study: optuna.Study, folder: Path, metric: str) -> list[str]:
    """The pictures that the trials allow; their names."""
    import matplotlib as mpl

    mpl.use("Agg")
    from optuna.visualization import matplotlib as pictures

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    wanted: dict[str, Callable[[], Any]] = {}
    if done:
        wanted[HISTORY] = lambda: pictures.plot_optimization_history(study, target_name=metric)
    if importances(study):
        wanted[IMPORTANCE] = lambda: pictures.plot_param_importances(study, evaluator=_evaluator(), target_name=metric)
        wanted[PARALLEL] = lambda: pictures.plot_parallel_coordinate(study, target_name=metric)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in wanted.items():
            _write(folder / name, make())
    return list(wanted)


def _evaluator() -> Any:
    return optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=0)


def _write(path: Path, axes: Any) -> None:
    from matplotlib import pyplot

    figure = axes.figure
    figure.set_size_inches(9, 5)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, bbox_inches="tight")
    pyplot.close(figure)
    try:
        write_atomically(path, content.getvalue(), 0o644)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", do="make room") from None
