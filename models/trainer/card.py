"""The model card: what the bundle is, how well it did, what it may not be used for.

Owns the text; every figure comes from the manifest.
"""

from __future__ import annotations

from engine.features.spec import FeatureSpec
from models.manifest import Manifest, Metric
from models.trainer.dataset import Dataset

_SCORES = ("log_loss", "accuracy", "mcc", "roc_auc")
_EXPLAIN_ACCURACY = 0.6


def render_card(manifest: Manifest, spec: FeatureSpec, data: Dataset, strongest: str) -> str:
    training, metrics = manifest.training, manifest.metrics
    lines = [
        f"# {manifest.name}",
        "",
        manifest.summary,
        "",
        f"Made again by `{training.command}` (needs the extra `train`).",
        "",
        "| | |",
        "|---|---|",
        f"| output | `{manifest.outputs[0].name}`: {manifest.label.text} |",
        (
            f"| input | {spec.window} rows x {len(spec.columns)} columns of `{spec.name}`, "
            f"{spec.sampling}{_beside(spec)} |"
        ),
        (
            f"| network | {training.network}, {training.parameters:,} parameters, best of seeds "
            f"{', '.join(map(str, training.seeds))} by validation: {training.served_seed} |"
        ),
        f"| normaliser | {_normaliser(manifest)} |",
        f"| used on | {', '.join(manifest.scope.asset_classes)}; needs {', '.join(manifest.scope.inputs)} |",
        (
            f"| mean move over the horizon | {manifest.return_scale_bps:.3g} bps (training rows; "
            f"{data.unchanged_share:.0%} of them unchanged) |"
        ),
        (
            f"| suggested entries | buy from {manifest.thresholds.buy:.4f}, sell from {manifest.thresholds.sell:.4f} "
            "(quantiles of the validation predictions) |"
        ),
        "",
        "## Test",
        "",
        (
            "Split by time at the same moment for all instruments, labels purged, one window embargoed; the test part "
            "is scored after every choice is made. Intervals: 95 %, block bootstrap over time."
        ),
        "",
        "| | log-loss | accuracy | MCC | ROC-AUC |",
        "|---|---|---|---|---|",
        _row(f"**{manifest.name}**", metrics),
        *(_row(name.replace("_", " "), scores) for name, scores in manifest.baselines.items()),
        "",
        (
            f"Log-loss against the best baseline ({strongest.replace('_', ' ')}), paired: "
            f"{_text(metrics['log_loss_minus_best_baseline'])}: {_verdict(metrics['log_loss_minus_best_baseline'])}"
        ),
        (
            f"Over {len(training.seeds)} seeds: mean {metrics['log_loss_seeds_mean'].value:.4f}, "
            f"sd {metrics['log_loss_seeds_sd'].value:.4f}, worst {metrics['log_loss_seeds_worst'].value:.4f}."
        ),
        "",
        *_trading(metrics),
        "",
        "## Data",
        "",
        *(f"- `{file.name}` ({file.sha256[:12]})" for file in training.data),
        *(
            f"- {part}: {training.rows[part]:,} rows, {first} to {last}"
            for part, (first, last) in training.periods.items()
        ),
        "",
    ]
    return "\n".join(lines)


def _beside(spec: FeatureSpec) -> str:
    """What a session must have beside the instrument itself."""
    return "".join(
        f"; reads {what} {', '.join(names)}"
        for what, names in (("the prices of", spec.peers), ("the published series", spec.series))
        if names
    )


def _normaliser(manifest: Manifest) -> str:
    normaliser = manifest.normaliser
    if normaliser is None:
        return "scale_free"
    fitted, limits = normaliser.fitted_on, normaliser.limits
    parts = [f"{normaliser.kind}, inside the graph"]
    if fitted is not None:
        parts.append(f"fitted on {fitted.rows:,} training rows, {fitted.first} to {fitted.last}")
        if fitted.rows_left_out:
            parts.append(f"{fitted.rows_left_out:,} with a value that was not finite left out")
        parts.append("not cut" if limits is None else f"cut at {limits[0]:g} and {limits[1]:g}")
        constant = [scaling.column for scaling in manifest.scaling if scaling.std == 0.0]
        if constant:
            parts.append(f"constant in training, so always 0: {', '.join(constant)}")
    return "; ".join(parts)


def _row(name: str, scores: dict[str, Metric]) -> str:
    return f"| {name} | " + " | ".join(_text(scores[key]) for key in _SCORES) + " |"


def _text(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"


def _verdict(difference: Metric) -> str:
    if difference.high is not None and difference.high < 0:
        return "better than every baseline on this test."
    if difference.low is not None and difference.low > 0:
        return "WORSE than the best baseline on this test."
    return "no difference that this test can show."


def _trading(metrics: dict[str, Metric]) -> list[str]:
    lines = []
    if "entry_move_bps" in metrics:
        move, cost = metrics["entry_move_bps"], metrics["entry_cost_bps"].value
        tail = (
            "Traded on its own it loses its costs: it is here to show the flow, not to earn."
            if move.value < cost
            else "Not net of market impact, latency and queues."
        )
        lines.append(
            f"Beyond the suggested entries ({metrics['entry_share'].value:.0%} of the rows) the mid moves "
            f"{_text(move)} bps the predicted way over the horizon; a round trip at market costs {cost:.2f} bps. {tail}"
        )
    if metrics["accuracy"].value > _EXPLAIN_ACCURACY:
        lines.append(
            "Why the accuracy is high: within a few ticks the lighter side of the book is usually the next to be "
            "taken, which queue imbalance and microprice show in advance (the logistic regression sees it as well). "
            "The skill ends within seconds, and the moves are smaller than the spread and the fees."
        )
    return lines
