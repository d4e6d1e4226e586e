"""One training run from settings to bundle; what ``run.py train`` calls.

Owns the order of the steps.  Each step has its own file; the test part is scored after every choice is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError, DataError
from engine.features.column import lookup
from engine.features.spec import FeatureSpec
from models import networks
from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.losses import log_losses, two_classes
from models.evaluation.metrics import score_binary
from models.manifest import Metric
from models.trainer import dataset, normalise
from models.trainer.dataset import Dataset, Part
from models.trainer.settings import TrainSettings, load_settings

ROOT = Path(__file__).resolve().parents[2]
_CUMULATIVE = frozenset({"obv"})


def train(
    config_path: Path | str,
    *,
    out: Path | str | None = None,
    data: Path | str | None = None,
    dry_run: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Train, calibrate, export, check and write a bundle.

    ``out`` is the folder of bundles (default ``models/artifacts``), ``data`` that of the files (default: the variable
    ``KESTREL_DATA``, else ``../shared/data``); a run on a catalogue needs none.  ``dry_run`` stops after the rows are
    built.  ``progress(text, share)`` is called along the way.  Returns what ``train --json`` prints.

    Raises ``ConfigError``, ``DataError`` or ``BundleError``.
    """
    started = time.monotonic()
    report = progress or (lambda _text, _share: None)
    settings, config_hash = load_settings(Path(config_path))
    networks.require_torch()
    spec = dataset.feature_spec(settings.features)
    check_network(settings, spec)
    normalise.check_scope(settings.normaliser, settings.scope, spec)
    rows = _rows(settings, spec, data, report)
    counts = {"train": len(rows.train), "validation": len(rows.validation), "test": len(rows.test)}
    head = {"task": settings.task, "name": settings.name, "rows": counts}
    if dry_run:
        return {**head, "bundle": None, "metrics": {}, "baselines": {}, "seconds": round(time.monotonic() - started, 1)}

    from models.trainer.bundle import write_bundle  # these need torch
    from models.trainer.fit import predict

    normaliser, runs = _fit_seeds(rows, settings, spec, report)
    best_loss, best_seed, best = min(runs, key=lambda run: (run[0], run[1]))

    validation = rows.validation.every(settings.fit.eval_rows_max)
    entries = settings.entries
    sell, buy = np.quantile(predict(best, rows, validation), [entries.sell_quantile, entries.buy_quantile])

    report("test", 0.0)
    probabilities, metrics, baselines, strongest = _score_test(
        rows, settings, spec, best, [one for _, _, one in runs], (sell, buy)
    )
    metrics["validation_log_loss"] = Metric(value=round(best_loss, 6))
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
        served=best,
        served_seed=best_seed,
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


def check_network(settings: TrainSettings, spec: FeatureSpec) -> None:
    """Raises ``ConfigError`` for a network that cannot take the window, does not give the task's one output, or has no
    part, nor a member with a part, of a name in ``fit.learning_rates``."""
    network, window, columns = settings.network, spec.window, len(spec.columns)
    networks.check(network, window=window, columns=columns)
    if (shape := network.output_shape(window, 1)) != (-1, 1):
        raise ConfigError(
            f"network {network.name} of these settings gives {shape}",
            expected=f"one output a window, which the task {settings.task} is about",
            do="set network.mode to encoder or network.output to last",
        )
    built = networks.build(network, window=window, columns=columns)
    parts = dict.fromkeys(part for each in (built, *built.members().values()) for part in each.parts())
    if unknown := sorted(settings.fit.learning_rates.keys() - parts.keys()):
        raise ConfigError(
            f"fit.learning_rates names {unknown[0]}, which is no part of the network {network.name}",
            expected=f"among {', '.join(parts)}",
        )


def _rows(
    settings: TrainSettings, spec: FeatureSpec, data: Path | str | None, report: Callable[[str, float], None]
) -> Dataset:
    """Features and labels of all parts."""
    folder = Path(data or os.environ.get("KESTREL_DATA") or ROOT.parent / "shared" / "data")
    if settings.data.files and not folder.is_dir():
        raise DataError(f"no data folder at {folder}", expected="the folder of recorded files", do="set KESTREL_DATA")
    report("features", 0.0)
    rows = dataset.build(settings, spec, folder)
    report("features", 1.0)
    return rows


def _fit_seeds(
    rows: Dataset, settings: TrainSettings, spec: FeatureSpec, report: Callable[[str, float], None]
) -> tuple[normalise.Fitted, list[tuple[float, int, Any]]]:
    """The normaliser, and for each seed its validation loss, the seed and the trained module."""
    from models.trainer.fit import fit_one, make_deterministic

    make_deterministic(settings.fit.threads)
    by_close = settings.normaliser.kind == "scale_free"
    normaliser = normalise.fit_normaliser(
        settings.normaliser,
        rows,
        column_kinds(rows, spec.columns) if by_close else [],
        spec.columns.index("close") if by_close else -1,
    )
    runs = []
    for seed in settings.fit.seeds:
        served, loss = fit_one(
            rows,
            normaliser.module,
            settings.network,
            settings.fit,
            seed,
            report,
            span_s_max=settings.label.span_s_max,
        )
        runs.append((loss, seed, served))
    return normaliser, runs


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
    from models.trainer.fit import predict

    sell, buy = thresholds
    test = rows.test.every(settings.fit.eval_rows_max)
    draws = Draws.cut(test.ts_ns, rows.label_span_s)
    probabilities = predict(best, rows, test)
    metrics = score_binary(test.up, probabilities, draws)
    scored = score_baselines(rows, best, test, draws, settings)
    baselines = {name: metric for name, (metric, _) in scored.items()}
    strongest = min(scored, key=lambda name: scored[name][0]["log_loss"].value)
    losses = _losses(test, probabilities) - _losses(test, scored[strongest][1])
    metrics["log_loss_minus_best_baseline"] = mean_estimate(losses, draws).metric
    metrics |= across_seeds([predict(one, rows, test) for one in served], test)
    metrics |= trading_figures(rows, spec.columns, test, probabilities, float(sell), float(buy), draws)
    return probabilities, metrics, baselines, strongest


def column_kinds(data: Dataset, columns: tuple[str, ...]) -> list[str]:
    """How the graph scales each column: by its declared unit; a price unit is a level or a difference by its size.

    A level (a mean, a band) stays near the close, a difference (MACD, ATR) near nothing: on training rows the typical
    share of the close is beyond 0.5 for the one and below 0.1 for the other.
    """
    sample = data.values[data.train.every(4_096).position].astype(np.float64)  # (N, F)
    close = np.abs(sample[:, columns.index("close")])
    kinds = []
    for i, name in enumerate(columns):
        unit = lookup(name).unit
        if unit == "price":
            share = float(np.median(np.abs(sample[:, i]) / np.maximum(close, 1e-12)))
            kinds.append("price" if share > 0.5 else "price_difference")
        elif unit == "qty":
            kinds.append("qty_total" if name in _CUMULATIVE else "qty")
        else:
            kinds.append("plain")
    return kinds


def score_baselines(
    data: Dataset, served: Any, test: Part, draws: Draws, settings: TrainSettings
) -> dict[str, tuple[dict[str, Metric], npt.NDArray[np.float64]]]:
    """Metrics and probabilities of each baseline on exactly the rows the network is scored on."""
    from models.trainer import baselines
    from models.trainer.fit import normalised

    train = data.train.every(settings.fit.eval_rows_max)
    fitted = baselines.summarise(normalised(served, data, train)), train.up
    unseen = baselines.summarise(normalised(served, data, test))
    forecasts = {
        "prior": baselines.prior(data, test),
        "persistence": baselines.persistence(data, test),
        "logistic_regression": baselines.logistic(fitted, unseen, settings.fit.seeds[0]),
    }
    return {name: (score_binary(test.up, p, draws), p) for name, p in forecasts.items()}


def across_seeds(forecasts: list[npt.NDArray[np.float64]], test: Part) -> dict[str, Metric]:
    """Mean, standard deviation and worst test log-loss over all seeds: their spread often exceeds the margins."""
    losses = np.array([float(_losses(test, p).mean()) for p in forecasts])
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
        "entry_move_bps": mean_estimate((side * test.move_bps)[beyond], draws.where(beyond)).metric,
        "entry_cost_bps": Metric(value=round(spread + 2 * fee, 6)),
    }


def _losses(test: Part, p: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    return log_losses(test.up.astype(np.int64), two_classes(p.astype(np.float64)))


def _shown(path: Path) -> str:
    """The path as typed from the repository's root; only the name when it lies elsewhere: no machine's paths."""
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else path.name
