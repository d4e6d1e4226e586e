"""What an evaluation found, as manifest and card of the run's bundle hold it.

Owns the step from ``evaluation.json`` to a bundle: into one that is being made, or into one that was made before.  It
loads no torch: the graphs stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.errors import BundleError, DataError
from models.bundle import Bundle, load_bundle
from models.evaluation.outcome import OUTCOME, Outcome
from models.evaluation.run_folder import CONFIG, DATA, RunFolder
from models.manifest import MANIFEST, Metric
from models.manifest_sections import Evaluated
from models.trainer.card import render_run_card
from models.trainer.publish import CARD, publish

BUNDLE: Final = "bundle"
"""Where in a run folder its bundle lies."""


class Judgement(NamedTuple):
    """Of the served network and of each baseline on the same rows; nothing where there was no evaluation."""

    metrics: dict[str, Metric]
    baselines: dict[str, dict[str, Metric]]
    evaluation: Evaluated | None


def judgement(runs: Sequence[RunFolder], served: int) -> Judgement:
    """From the ``evaluation.json`` of each run; nothing where one of them has none.  Of several runs, figures are named
    ``FORECAST.METRIC``, after the folders.

    ``served`` counts the networks in the graph: of several, the figures are those of their averaged forecast; of one,
    the mean over the seeds, of which it is one.  Raises ``DataError`` when a file is damaged.
    """
    outcomes = [_outcome(run) for run in runs]
    found = [one for one in outcomes if one is not None]
    if not found or len(found) < len(outcomes):
        return Judgement({}, {}, None)
    metrics: dict[str, Metric] = {}
    baselines: dict[str, dict[str, Metric]] = {}
    names = [forecast_of(run) for run in runs]
    for name, outcome in zip(names, found, strict=True):
        before = f"{name}." if len(found) > 1 else ""
        roles = {one.role: one.metrics for one in outcome.scores if one.role != "baseline"}
        own = roles.get("averaged" if served > 1 else "network", roles.get("network", {}))
        metrics |= {before + score: metric for score, metric in own.items()}
        for one in outcome.scores:
            if one.role == "baseline":
                scores = {before + score: metric for score, metric in one.metrics.items()}
                baselines[one.name] = baselines.get(one.name, {}) | scores
    return Judgement(metrics, baselines, _in_short(names, found))


def with_evaluation(bundle: Bundle, runs: Sequence[RunFolder]) -> Bundle:
    """The bundle with what the evaluation of its run says in manifest and card, in the same place.

    Raises ``BundleError`` when it is not of that run, ``DataError`` when the run has no evaluation.
    """
    manifest = bundle.manifest
    if manifest.run is None or manifest.training.config_hash != runs[0].config_sha256:
        raise BundleError(
            f"bundle {bundle.version} was not made from the run {runs[0].path}",
            expected=f"the run {manifest.run.name}" if manifest.run else "a bundle of a run folder",
        )
    judged = judgement(runs, len(manifest.run.served_seeds))
    if judged.evaluation is None:
        raise DataError(f"the run {runs[0].path} has no {OUTCOME}", do=f"python run.py evaluate --run {runs[0].path}")
    manifest = msgspec.structs.replace(
        manifest, metrics=judged.metrics, baselines=judged.baselines, evaluation=judged.evaluation
    )
    contents = {name: (bundle.path / name).read_bytes() for name in manifest.files}
    contents[CARD] = render_run_card(manifest, bundle.spec).encode()
    return publish(bundle.path.parent, manifest, contents)


def bundle_in(folder: Path) -> Bundle:
    """The bundle of the run at ``folder``, with the run's evaluation in it where there is one.

    Raises ``BundleError`` or ``DataError``.
    """
    # What a killed process left has a hidden name.
    places = sorted(path.parent for path in (folder / BUNDLE).glob(f"[!.]*/{MANIFEST}"))
    if len(places) != 1:
        raise BundleError(
            f"{folder} holds {len(places) or 'no'} bundles",
            expected="a bundle, or a run with one in it",
            do=f"python run.py models bundle {folder}" if (folder / CONFIG).is_file() else "check the path",
        )
    whole = (folder / DATA).is_file()
    runs = [RunFolder(folder)] if whole else [RunFolder(path.parent) for path in sorted(folder.glob(f"*/{DATA}"))]
    bundle = load_bundle(places[0])
    served = len(bundle.manifest.run.served_seeds) if bundle.manifest.run is not None else 1
    evaluation = judgement(runs, served).evaluation if runs else None
    return bundle if evaluation in (None, bundle.manifest.evaluation) else with_evaluation(bundle, runs)


def _outcome(run: RunFolder) -> Outcome | None:
    path = run.path / OUTCOME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}", do="evaluate the run again") from None


def forecast_of(run: RunFolder) -> str:
    """Of several forecasts of a run, which one a folder is of: ``RUN/RUN-variance``."""
    return run.path.name.removeprefix(f"{run.path.parent.name}-")


def _in_short(names: Sequence[str], outcomes: Sequence[Outcome]) -> Evaluated:
    def told(words: Sequence[str]) -> str:
        """One word as it is; of several forecasts, each with its name."""
        if len(outcomes) == 1:
            return words[0]
        return "; ".join(f"{name}: {word}" for name, word in zip(names, words, strict=True))

    return Evaluated(
        told([one.primary for one in outcomes]),
        told([one.best_baseline for one in outcomes]),
        told([one.headline.verdict for one in outcomes]),
        max(one.opening.at for one in outcomes),
        tuple(name for one in outcomes for name in one.opened_before_by),
        tuple(text for one in outcomes for text in one.suspicions),
        "; ".join(one.explained for one in outcomes if one.explained),
    )
