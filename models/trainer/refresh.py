"""A refresh of a version that serves: from its run and newer rows to a shadow, or to the figures that speak against it.

Owns which rows are new, the gate, and what the bundle says of where it comes from.  How the weights move is
``models.trainer.incremental``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from engine.errors import BundleError, ConfigError, DataError
from models.bundle import Bundle
from models.evaluation.comparison import verdict
from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.losses import log_losses
from models.evaluation.run_folder import CONFIG, RunFolder
from models.manifest import DataFile, Metric, Training
from models.networks.exported import Member
from models.trainer import dataset
from models.trainer.bundle import bundle_of
from models.trainer.card import render_run_card
from models.trainer.dataset import Dataset
from models.trainer.fit import Fitted, forecasts
from models.trainer.graphs import Real
from models.trainer.incremental import Refresh, refresh
from models.trainer.normalise import Fitted as FittedNormaliser
from models.trainer.publish import CARD, publish
from models.trainer.run import check_same_data, fit_normaliser_of, load_fitted
from models.trainer.run_bundle import description_of, readings_of
from models.trainer.settings import Data, Split, TrainSettings, load_settings
from models.trainer.training_folder import data_folder

FOLDER = "refreshed"
"""Where in a run folder bundles lie that its weights went on to."""
_TASKS = ("direction", "signal", "classes")
_REAL_ROWS = 1000


@dataclass(frozen=True)
class Gate:
    """Log-loss on the held-out new rows: the champion's, the refreshed weights', and their difference.  ``verdict``:
    ahead only where the paired 95 % interval is below 0.  ``old``: the same difference on the old validation rows."""

    rows: int
    champion: float
    refreshed: float
    difference: Metric
    verdict: str
    old: Metric

    @property
    def text(self) -> str:
        low, high = self.difference.low, self.difference.high
        interval = "no interval" if low is None else f"{low:+.5f} to {high:+.5f}"
        return (
            f"log-loss {self.refreshed:.5f} against {self.champion:.5f} on {self.rows:,} newer rows, difference "
            f"{self.difference.value:+.5f} ({interval}); on old rows {self.old.value:+.5f}"
        )


def refresh_run(
    parent: Bundle, run: Path, wanted: Refresh, newer: Data, *, data: Path | None = None
) -> tuple[Bundle, Gate]:
    """The refreshed bundle in ``run/refreshed``, if the gate lets it through.

    ``parent``: a bundle of the run at ``run``; ``newer``: where its newer rows are: files or a catalogue, from the end
    of what it learned from and judged itself by.  ``data`` as for ``run_training``.

    Raises ``DataError`` with the figures where the gate does not, and for rows that are none; ``ConfigError`` for a
    task or a network that cannot be refreshed; ``BundleError`` for a bundle of another run.
    """
    wanted.check()
    settings, _ = load_settings(run / CONFIG)
    folder = RunFolder(run)
    if settings.task not in _TASKS:
        raise ConfigError(f"a refresh of the task {settings.task}", expected=f"one of {', '.join(_TASKS)}")
    if parent.manifest.run is None or parent.manifest.training.config_hash != folder.config_sha256:
        raise BundleError(f"bundle {parent.version} was not made from the run {run}", do="name its run with --run")
    spec = dataset.feature_spec(settings.features)
    place = data_folder(settings, data)
    old = dataset.build(settings, spec, place)
    check_same_data(folder, old)
    new = _newer(settings, wanted, newer, old, place)
    normaliser = fit_normaliser_of(settings, old)
    seeds = parent.manifest.run.served_seeds
    before = [load_fitted(run, settings, old, normaliser, seed) for seed in seeds]
    after = [refresh(one, old, new, settings, wanted, normaliser=len(seeds) == 1) for one in before]
    gate = judge(before, after, old, new)
    if gate.verdict != "ahead":
        raise DataError(f"{parent.version} refreshed is {gate.verdict}: {gate.text}", expected="ahead", do="keep it")
    return _bundle(parent, folder, settings, wanted, old, new, after, normaliser, gate), gate


def judge(before: list[Fitted], after: list[Fitted], old: Dataset, new: Dataset) -> Gate:
    """Both on the rows that neither has seen, paired, with the intervals of the evaluation."""
    losses = [_losses(each, new, "test") for each in (before, after)]
    part = new.part("test")
    draws = Draws.cut(part.ts_ns, _horizon_s(new))
    difference = mean_estimate(losses[1] - losses[0], draws)
    was, now = (_losses(each, old, "validation") for each in (before, after))
    seen = Draws.cut(old.validation.ts_ns, _horizon_s(old))
    return Gate(
        len(part),
        float(losses[0].mean()),
        float(losses[1].mean()),
        difference.metric,
        verdict("log_loss", difference),
        mean_estimate(now - was, seen).metric,
    )


def _newer(settings: TrainSettings, wanted: Refresh, newer: Data, old: Dataset, place: Path) -> Dataset:
    """Rows from the end of all that the run has seen or sealed, labelled and cut as the run's own."""
    after_us = int(old.ts_ns.max()) // 1_000 + 1
    start = datetime.fromtimestamp(after_us // 1_000_000, UTC).replace(microsecond=after_us % 1_000_000)
    begun = max(newer.start or "", start.isoformat()) if newer.start else start.isoformat()
    split = Split(train=wanted.learn_share, validation=wanted.choose_share)
    changed = msgspec.structs.replace(
        settings, data=msgspec.structs.replace(newer, start=begun), split=split, curriculum=None
    )
    new = dataset.build(changed, dataset.feature_spec(settings.features), place)
    names = [instrument.id for instrument in new.instruments]
    return replace(new, assets=old.assets, numbers=old.assets.numbers(names, new.samples.instrument))


def _losses(each: list[Fitted], data: Dataset, name: str) -> np.ndarray:
    """(N,) log-loss of the averaged forecast on a part."""
    part = data.part(name)
    p = np.mean([forecasts(one, data, part)[0] for one in each], axis=0)
    return log_losses(data.targets[part.index, 0].astype(np.int64), p)


def _horizon_s(data: Dataset) -> float:
    """The longest time that a label takes, for blocks that hold it."""
    spans = data.samples.spans
    return float((spans.end_ns - spans.ts_ns).max()) / 1e9


def _bundle(
    parent: Bundle,
    run: RunFolder,
    settings: TrainSettings,
    wanted: Refresh,
    old: Dataset,
    new: Dataset,
    found: list[Fitted],
    normaliser: FittedNormaliser,
    gate: Gate,
) -> Bundle:
    some = new.validation.every(_REAL_ROWS)
    with_assets = settings.assets is not None
    description = description_of(settings, parent.spec, new, found)
    command = f"python run.py models refresh {parent.version} --run {run.path.name}"
    summary = f"{parent.manifest.summary} Refreshed from {parent.version}: {gate.text}."
    description = msgspec.structs.replace(
        description, name=parent.manifest.name, scope=parent.manifest.scope, command=command, summary=summary
    )
    served = found[0].served.normaliser if len(found) == 1 else normaliser.module
    made = bundle_of(
        [run],
        description,
        spec=parent.spec,
        normaliser=FittedNormaliser(served, normaliser.description),
        members=[Member(one.served.network, readings_of(one)) for one in found],
        seeds=[one.seed for one in found],
        real=Real(new.windows(some.position), new.numbers[some.index] if with_assets else None),
        assets=old.assets if with_assets else None,
        into=run.path / FOLDER,
    )
    # Nobody has judged these weights: what the run's evaluation says is of its own.
    assert made.manifest.run is not None
    manifest = msgspec.structs.replace(
        made.manifest,
        metrics={},
        baselines={},
        evaluation=None,
        run=msgspec.structs.replace(made.manifest.run, parent=parent.version),
        training=_training(made.manifest.training, wanted, new),
    )
    contents = {name: (made.path / name).read_bytes() for name in manifest.files}
    contents[CARD] = render_run_card(manifest, made.spec).encode()
    return publish(made.path.parent, manifest, contents)


def _training(before: Training, wanted: Refresh, new: Dataset) -> Training:
    """Rows and times are those of the refresh; data are both."""
    names = ("train", "validation", "test")
    times = {name: new.part(name).ts_ns for name in names}
    known = {file.name: file for file in before.data}
    known |= {name: DataFile(name, sha) for name, sha in new.sources}
    return msgspec.structs.replace(
        before,
        data=tuple(known[name] for name in sorted(known)),
        data_fingerprint=new.fingerprint,
        rows={name: len(new.part(name)) for name in names},
        periods={name: (_moment(ts_ns[0]), _moment(ts_ns[-1])) for name, ts_ns in times.items()},
        config_hash=hashlib.sha256(f"{before.config_hash} {wanted}".encode()).hexdigest(),
    )


def _moment(ts_ns: np.int64) -> str:
    return datetime.fromtimestamp(int(ts_ns) // 1_000_000_000, UTC).isoformat()
