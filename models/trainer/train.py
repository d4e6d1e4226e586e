"""One training run from settings to bundle; what ``run.py train`` calls.

Owns the order of the steps.  Each step has its own file; the test part is scored after every choice is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.features.spec import FeatureSpec
from models import networks
from models.evaluation.baselines.classifiers import fit_classifiers
from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.losses import log_losses, two_classes
from models.evaluation.metrics import score_binary
from models.manifest import Metric
from models.trainer import dataset
from models.trainer.checks import check_settings
from models.trainer.dataset import Dataset, Part
from models.trainer.settings import TrainSettings, load_settings
from models.trainer.tabular import feature_names, rows_of, task_of
from models.trainer.training_folder import data_folder

ROOT = Path(__file__).resolve().parents[2]


def train(
    config_path: Path | str,
    *,
    out: Path | str | None = None,
    data: Path | str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Train, calibrate, export, check and write a bundle.

    ``out`` is the folder of bundles (default ``models/artifacts``), ``data`` that of the files (default: the variable
    ``KESTREL_DATA``, else ``../shared/data``); a run on a catalogue needs none.
    ``progress(text, share)`` is called along the way.  Returns what ``train --json`` prints.

    Raises ``ConfigError``, ``DataError`` or ``BundleError``.
    """
    started = time.monotonic()
    report = progress or (lambda _text, _share: None)
    settings, config_hash = load_settings(Path(config_path))
    networks.require_torch()
    spec = dataset.feature_spec(settings.features)
    check_settings(settings, spec)
    rows = _rows(settings, spec, data, report)
    counts = {"train": len(rows.train), "validation": len(rows.validation), "test": len(rows.test)}
    head = {"task": settings.task, "name": settings.name, "rows": counts}

    from models.trainer.bundle import write_bundle  # these need torch
    from models.trainer.estimate import with_batch
    from models.trainer.fit import fit_seed
    from models.trainer.run import fit_normaliser_of

    normaliser = fit_normaliser_of(settings, rows)
    settings = with_batch(settings, rows, normaliser.module)
    runs = [fit_seed(rows, settings, normaliser.module, seed, report=report) for seed in settings.fit.seeds]
    best = min(runs, key=lambda run: (run.scores["log_loss"], run.seed))

    validation = rows.validation.every(settings.fit.eval_rows_max)
    entries = settings.entries
    sell, buy = np.quantile(p_up(best, rows, validation), [entries.sell_quantile, entries.buy_quantile])

    report("test", 0.0)
    probabilities, metrics, baselines, strongest = _score_test(rows, settings, spec, best, runs, (sell, buy))
    metrics["validation_log_loss"] = Metric(value=round(best.scores["log_loss"], 6))
    report("test", 1.0)

    levels = np.quantile(probabilities, [0.05, 0.5, 0.95])
    quantiles = {name: round(float(level), 6) for name, level in zip(("p05", "p50", "p95"), levels, strict=True)}
    bundle = write_bundle(
        Path(out) if out is not None else ROOT / "models" / "artifacts",
        settings=settings,
        command=f"python run.py train --config {_shown(Path(config_path))}",
        config_hash=config_hash,
        spec=spec,
        data=rows,
        served=best.served,
        served_seed=best.seed,
        normaliser=normaliser,
        thresholds=(float(sell), float(buy)),
        metrics=metrics,
        baselines=baselines,
        strongest=strongest,
        quantiles=quantiles,
        libraries={name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy", "scikit-learn")},
    )
    plain = msgspec.to_builtins
    return {
        **head,
        "bundle": str(bundle.path),
        "version": bundle.version,
        "metrics": plain(metrics),
        "baselines": plain(baselines),
        "best_baseline": strongest,
        "prediction_quantiles": quantiles,
        "thresholds": {"buy": float(buy), "sell": float(sell)},
        "seconds": round(time.monotonic() - started, 1),
    }


def _rows(
    settings: TrainSettings, spec: FeatureSpec, data: Path | str | None, report: Callable[[str, float], None]
) -> Dataset:
    """Features and labels of all parts."""
    report("features", 0.0)
    rows = dataset.build(settings, spec, data_folder(settings, data))
    report("features", 1.0)
    return rows


def _score_test(
    rows: Dataset,
    settings: TrainSettings,
    spec: FeatureSpec,
    best: Any,
    served: list[Any],
    thresholds: tuple[float, float],
) -> tuple[npt.NDArray[np.floating[Any]], dict[str, Metric], dict[str, dict[str, Metric]], str]:
    """On the test part: what ``best`` says, its metrics and those of the baselines, the strongest of them.

    ``served`` are the modules of all seeds, ``thresholds`` those to sell and to buy at.
    """
    sell, buy = thresholds
    test = rows.test.every(settings.fit.eval_rows_max)
    draws = Draws.cut(test.ts_ns, rows.label_span_s)
    probabilities = p_up(best, rows, test)
    up = rows.targets[test.index, 0]
    metrics = score_binary(up, probabilities, draws)
    scored = score_baselines(rows, test, draws, settings)
    baselines = {name: metric for name, (metric, _) in scored.items()}
    strongest = min(scored, key=lambda name: scored[name][0]["log_loss"].value)
    losses = _losses(up, probabilities) - _losses(up, scored[strongest][1])
    metrics["log_loss_minus_best_baseline"] = mean_estimate(losses, draws).metric
    metrics |= across_seeds([p_up(one, rows, test) for one in served], up)
    metrics |= trading_figures(rows, spec.columns, test, probabilities, float(sell), float(buy), draws)
    return probabilities, metrics, baselines, strongest


def p_up(fitted: Any, rows: Dataset, part: Part) -> npt.NDArray[np.float64]:
    """(N,) calibrated probabilities: what the exported graph returns."""
    from models.trainer.fit import forecasts

    return forecasts(fitted, rows, part)[0][:, 1]


def score_baselines(
    data: Dataset, test: Part, draws: Draws, settings: TrainSettings
) -> dict[str, tuple[dict[str, Metric], npt.NDArray[np.float64]]]:
    """Metrics and probabilities of each baseline on exactly the rows the network is scored on."""
    target = data.plan.targets[0]
    train, validation, unseen = (
        rows_of(settings, data, target, part)
        for part in (
            data.train.every(settings.fit.eval_rows_max),
            data.validation.every(settings.fit.eval_rows_max),
            test,
        )
    )
    task = task_of(settings, data, target)
    fitted = fit_classifiers(task, feature_names(settings, data, target), train, validation, settings.fit.seeds[0])
    forecasts = {one.name: one.predict(unseen)[:, 1] for one in fitted}
    return {name: (score_binary(unseen.label, p, draws), p) for name, p in forecasts.items()}


def across_seeds(forecasts: list[npt.NDArray[np.float64]], up: npt.NDArray[np.float64]) -> dict[str, Metric]:
    """Mean, standard deviation and worst test log-loss over all seeds: their spread often exceeds the margins."""
    losses = np.array([float(_losses(up, p).mean()) for p in forecasts])
    return {
        "log_loss_seeds_mean": Metric(value=round(float(losses.mean()), 6)),
        "log_loss_seeds_sd": Metric(value=round(float(losses.std(ddof=1)) if len(losses) > 1 else 0.0, 6)),
        "log_loss_seeds_worst": Metric(value=round(float(losses.max()), 6)),
    }


def trading_figures(
    data: Dataset,
    columns: tuple[str, ...],
    test: Part,
    p: npt.NDArray[np.float64],
    sell: float,
    buy: float,
    draws: Draws,
) -> dict[str, Metric]:
    """What accuracy hides: the move won per entry beside what a round trip costs, both in bps of the mid.

    ``entry_move_bps``: mean signed move of the mid over the horizon on rows beyond a threshold.  ``entry_cost_bps``:
    the spread there (bought at the ask, sold at the bid) plus the taker fee twice, averaged over the instruments.
    """
    side = np.where(p >= buy, 1.0, np.where(p <= sell, -1.0, 0.0))
    beyond = side != 0.0
    if not beyond.any():
        return {"entry_share": Metric(value=0.0)}
    spread = 0.0
    if "spread_bps" in columns:
        spread = float(data.values[test.position[beyond], columns.index("spread_bps")].mean())
    fee = float(np.mean([float(instrument.taker_fee_rate) for instrument in data.instruments])) * 1e4
    return {
        "entry_share": Metric(value=round(float(beyond.mean()), 6)),
        "entry_move_bps": mean_estimate((side * data.move_bps[test.index])[beyond], draws.where(beyond)).metric,
        "entry_cost_bps": Metric(value=round(spread + 2 * fee, 6)),
    }


def _losses(up: npt.NDArray[np.float64], p: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    return log_losses(up.astype(np.int64), two_classes(p.astype(np.float64)))


def _shown(path: Path) -> str:
    """The path as typed from the repository's root; only the name when it lies elsewhere: no machine's paths."""
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else path.name
