"""The model card: what the bundle is, how well it did, what it may not be used for.

Owns the text; every figure comes from the manifest.
"""

from __future__ import annotations

from engine.features.spec import FeatureSpec
from models.manifest import Manifest, Metric

_SHOWN = 8
"""Columns of a table: more do not fit a page."""


def _input(spec: FeatureSpec) -> str:
    size = f"{spec.window} rows x {len(spec.columns)} columns of `{spec.name}`"
    return f"| input | {size}, {spec.sampling}{_beside(spec)} |"


def _entries(manifest: Manifest) -> list[str]:
    if manifest.thresholds is None:
        return []
    at = manifest.thresholds
    levels = f"buy from {at.buy:.4f}, sell from {at.sell:.4f}"
    lines = [f"| suggested entries | {levels} (quantiles of the validation predictions) |"]
    if at.share is not None and at.move_bps is not None and at.cost_bps is not None:
        lines.append(
            f"| an entry there | {at.share:.1%} of validation rows; the mid moved {at.move_bps:.3f} bps its way, "
            f"a round trip costs {at.cost_bps:.3f} bps |"
        )
    return lines


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


def _text(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"


def render_run_card(manifest: Manifest, spec: FeatureSpec) -> str:
    """The card of a bundle of a run folder: what the manifest says, and how the run was judged, or that it was not."""
    training = manifest.training
    lines = [
        f"# {manifest.name}",
        "",
        manifest.summary,
        "",
        f"Made again by `{training.command}` (needs the extra `train`).",
        "",
        "| | |",
        "|---|---|",
        *_outputs(manifest),
        _input(spec),
        f"| network | {training.network}, {training.parameters:,} parameters{_seeds(manifest)} |",
        f"| normaliser | {_normaliser(manifest)} |",
        f"| used on | {_scope(manifest)} |",
        *_beside_the_forecast(manifest),
    ]
    lines += _entries(manifest)
    lines += ["", "## Test", "", *_judged(manifest), "", "## Data", ""]
    lines += [f"- `{file.name}` ({file.sha256[:12]})" for file in training.data]
    lines += [
        f"- {part}: {training.rows[part]:,} rows, {first} to {last}" for part, (first, last) in training.periods.items()
    ]
    lines += [f"- fingerprint {training.data_fingerprint[:12]}", ""]
    return "\n".join(lines)


def _outputs(manifest: Manifest) -> list[str]:
    forecasts = () if manifest.task is None else manifest.task.forecasts
    return [f"| output | `{one.name}`{_named(one.classes)}: {one.text} |" for one in forecasts]


def _named(classes: tuple[str, ...]) -> str:
    return f" ({', '.join(classes)})" if classes else ""


def _seeds(manifest: Manifest) -> str:
    training = manifest.training
    served = manifest.run.served_seeds if manifest.run is not None else (training.served_seed,)
    seeds = ", ".join(map(str, served))
    if len(served) > 1:
        return f" each; the mean of the seeds {seeds}"
    return f"; seed {seeds} of {', '.join(map(str, training.seeds))}"


def _scope(manifest: Manifest) -> str:
    scope = manifest.scope
    limits = [
        f"{what} {', '.join(names)}"
        for what, names in (("venues", scope.venues), ("instruments", scope.instruments))
        if names != ("*",)
    ]
    return "; ".join([", ".join(scope.asset_classes), *limits, f"needs {', '.join(scope.inputs)}"])


def _beside_the_forecast(manifest: Manifest) -> list[str]:
    lines = []
    if manifest.calibration.method == "temperature":
        lines.append(f"| calibration | temperature {manifest.calibration.temperature:.3f}, inside the graph |")
    if manifest.conformal:
        levels = ", ".join(f"{level}: {quantile:.4g}" for level, quantile in manifest.conformal.items())
        lines.append(f"| conformal quantiles | {levels} |")
    if manifest.explanation is not None:
        attention = ""
        if manifest.explanation.graph is not None:
            names = [tensor.name for tensor in manifest.explanation.graph.outputs]
            attention = f"; `{manifest.explanation.graph.file}` gives {', '.join(names)}"
        lines.append(f"| uncertainty | {manifest.explanation.method}{attention} |")
    if manifest.step is not None:
        step = manifest.step
        said = f"no: {step.why_not}" if step.graph is None else f"`{step.graph.file}`, from a state of zeros"
        if step.graph is not None and (step.carried or step.why_not):
            said += ", and carried on" if step.carried else f", and no further: {step.why_not}"
        lines.append(f"| row by row | {said} |")
    if manifest.run is not None:
        lines.append(f"| run | {manifest.run.name}, commit {_commit(manifest.run.commit)} |")
        if manifest.run.parent:
            lines.append(f"| weights went on from | {manifest.run.parent} |")
    return lines


def _commit(commit: str) -> str:
    """Short, and still with the sign that files differed from it."""
    return commit[:12] + ("+" if commit.endswith("+") else "")


def _judged(manifest: Manifest) -> list[str]:
    found = manifest.evaluation
    if found is None:
        return ["No evaluation was made: nothing is known of how well it does, and `models promote` refuses it."]
    first = [name for name in manifest.metrics if name.rpartition(".")[2] in found.primary]
    shown = [*first, *(name for name in manifest.metrics if name not in first)][:_SHOWN]
    lines = [
        "| | " + " | ".join(name.replace("_", " ") for name in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    rows = {f"**{manifest.name}**": manifest.metrics, **manifest.baselines}
    for name, scores in rows.items():
        cells = (_text(scores[key]) if key in scores else "-" for key in shown)
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    lines += [
        "",
        (
            f"By {found.primary.replace('_', ' ')} against the best baseline "
            f"({found.best_baseline.replace('_', ' ')}), paired on the same dates: **{found.verdict}**. Intervals: "
            f"95 %, block bootstrap by date. The test was opened on {found.opened_at}, which the ledger holds."
        ),
    ]
    if found.opened_before_by:
        lines.append(
            f"These test rows had been opened before by {', '.join(sorted(set(found.opened_before_by)))}: the result "
            "counts as development."
        )
    lines += [f"Suspicious: {one}. {found.explained or 'Nobody has said why.'}" for one in found.suspicions]
    return lines
