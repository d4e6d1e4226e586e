"""Pictures of a finished entry: learning curves, PR and ROC, reliability, confusion, one PNG a forecast."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation import outcome as evaluated
from models.evaluation.description import EpochLine
from models.evaluation.outcome import Curve, Outcome
from models.evaluation.run_folder import RunFolder

_DPI = 80


def picture_name(forecast: str) -> str:
    """Of a run of one forecast, or of one of several."""
    return f"{forecast or 'test'}.png"


def draw(runs: Sequence[Path], folder: Path) -> list[str]:
    """One picture for each evaluated run; their names.  Raises ``DataError`` when the disk will not take them."""
    names = []
    for run in runs:
        forecast = run.name.removeprefix(f"{run.parent.name}-") if len(runs) > 1 else ""
        outcome = msgspec.json.decode((run / evaluated.OUTCOME).read_bytes(), type=Outcome)
        content = _picture(outcome, RunFolder(run).epochs())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / picture_name(forecast), content, 0o644)
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error.strerror}", do="make room") from None
        names.append(picture_name(forecast))
    return names


def _picture(outcome: Outcome, epochs: Sequence[EpochLine]) -> bytes:
    """A PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    classes = outcome.kind == "classes"
    figure, axes = pyplot.subplots(2 if classes else 1, 3 if classes else 1, figsize=(12, 7) if classes else (6, 4))
    panels = list(axes.flat) if classes else [axes]
    _learning(panels[0], epochs, outcome.loss)
    if classes:
        _lines(panels[1], outcome.precision_recall, "recall", "precision")
        _lines(panels[2], outcome.roc, "false positive rate", "true positive rate", diagonal=True)
        _lines(panels[3], outcome.reliability, "said", "happened", diagonal=True, marker=".")
        _confusion(panels[4], outcome)
        _lines(panels[5], outcome.risk_coverage, "share of rows answered, the surest first", "error")
    figure.suptitle(f"{outcome.run}: {outcome.task}", fontsize=9)
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    pyplot.close(figure)
    return content.getvalue()


def _learning(axes: Any, epochs: Sequence[EpochLine], loss: str) -> None:
    for number, seed in enumerate(dict.fromkeys(one.seed for one in epochs)):
        own = [one for one in epochs if one.seed == seed]
        for part, style in (("train", ":"), ("validation", "-")):
            points = [(one.epoch, getattr(one, part)[loss]) for one in own if loss in getattr(one, part)]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=f"C{number % 10}", linewidth=1)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{loss.replace('_', ' ')} (dotted: training)")


def _lines(axes: Any, curves: Sequence[Curve], x: str, y: str, *, diagonal: bool = False, marker: str = "") -> None:
    for curve in curves:
        axes.plot(curve.x, curve.y, marker=marker, linewidth=1, label=curve.name)
    if diagonal:
        top = max([1e-9, *(v for curve in curves for v in (*curve.x, *curve.y))])
        axes.plot([0, top], [0, top], ":", color="grey", linewidth=1)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=6)


def _confusion(axes: Any, outcome: Outcome) -> None:
    names = [row.name for row in outcome.classes]
    axes.imshow(outcome.confusion, cmap="Blues")
    top = max(max(row) for row in outcome.confusion)
    for i, row in enumerate(outcome.confusion):
        for j, count in enumerate(row):
            colour = "white" if count > top / 2 else "black"
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("said")
    axes.set_ylabel("happened")
