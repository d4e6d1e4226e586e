"""A refresh of a version that serves: from its run and newer rows to a run of its own, or to the figures against it.

Owns which rows are new, the gate, and the folder that the result is: it can be evaluated, bundled and refreshed like
any other run.  How the weights move is ``models.trainer.incremental``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import BundleError, ConfigError, DataError
from models.bundle import Bundle
from models.evaluation.comparison import verdict
from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.evaluate import evaluate
from models.evaluation.ledger import Ledger, Opening
from models.evaluation.losses import log_losses
from models.evaluation.run_folder import RunFolder
from models.manifest import Metric
from models.trainer import dataset
from models.trainer.dataset import Dataset, Part
from models.trainer.fit import Fitted, forecasts
from models.trainer.incremental import Refresh, refresh
from models.trainer.lineage import line_of, write_lineage
from models.trainer.normalise import Fitted as Normalised
from models.trainer.normaliser_file import write_normaliser
from models.trainer.opened import OpenedRun, open_run
from models.trainer.run import predictions_of, save_fitted, write_predictions
from models.trainer.run_bundle import bundle_opened
from models.trainer.settings import Data, Split, TrainSettings
from models.trainer.training_folder import RESULT, Result, create, data_folder, write_json

Float64 = npt.NDArray[np.float64]
_TASKS = ("direction", "signal", "classes")


@dataclass(frozen=True)
class Gate:
    """Log-loss on the held-out new rows: the champion's, the refreshed weights', and their difference.  ``verdict``:
    ahead only where the paired 95 % interval is below 0.  ``old``: the same difference on held-out rows of the run and
    of each that it went on from, the worst of them; ``forgotten`` where its upper end is beyond what is allowed."""

    rows: int
    champion: float
    refreshed: float
    difference: Metric
    verdict: str
    old: Metric
    forgotten: bool

    @property
    def text(self) -> str:
        return (
            f"log-loss {self.refreshed:.5f} against {self.champion:.5f} on {self.rows:,} newer rows, difference "
            f"{_told(self.difference)}; on old rows {_told(self.old)}"
        )


class Record(NamedTuple):
    """Where openings of held-out rows are written first, by which code, and when; ``explained``: why a result that
    looks too good is true."""

    ledger: Path
    commit: str
    now_ns: int
    explained: str = ""


def refresh_run(
    parent: Bundle,
    run: Path,
    wanted: Refresh,
    newer: Data,
    record: Record,
    *,
    into: Path | None = None,
    data: Path | None = None,
    progress: Callable[[str], None] = lambda _text: None,
) -> tuple[Bundle, Gate, Path]:
    """The refreshed bundle, if the gate lets it through, and its run: ``into``, default the next ``RUN-rN``.

    ``parent``: a bundle of the run at ``run``; ``newer``: where its newer rows are: files or a catalogue, from the end
    of what it learned from and judged itself by.  ``data`` as for ``run_training``.  The run is evaluated beside its
    baselines on the rows that are held out, and the ledger has a line of each part that was opened.

    Raises ``DataError`` with the figures where the gate does not, and for rows that are none; ``ConfigError`` for a
    task or a network that cannot be refreshed; ``BundleError`` for a bundle of another run.  Nothing is left then.
    """
    wanted.check()
    line = [open_run(folder, data) for folder in line_of(run)]
    own = line[0]
    if own.settings.task not in _TASKS:
        raise ConfigError(f"a refresh of the task {own.settings.task}", expected=f"one of {', '.join(_TASKS)}")
    if parent.manifest.run is None or parent.manifest.training.config_hash != own.runs[0].config_sha256:
        raise BundleError(f"bundle {parent.version} was not made from the run {run}", do="name its run with --run")
    seeds = parent.manifest.run.served_seeds
    settings, new = _newer(own, wanted, newer, seeds, data_folder(own.settings, data))
    normaliser = own.normaliser()
    before = [own.network(seed, normaliser) for seed in seeds]
    progress("learning")
    old = [one.rows for one in line]
    after = [refresh(one, old, new, own.settings, wanted, normaliser=len(seeds) == 1) for one in before]
    if len(after) == 1:
        normaliser = Normalised(after[0].served.normaliser, normaliser.description)
    folder = into if into is not None else _free(run)
    parameters = sum(p.numel() for p in after[0].served.network.parameters())
    create(folder, settings, new, record.commit, parameters, test_of=f"a refresh of {parent.version}")
    try:
        # First whose it is, then what it learned, at last that it is done: a kill leaves no run that the gate has not
        # let through and that could pass for one.
        write_lineage(folder, parent.version, run, parent.manifest.scope, "")
        opened = OpenedRun(folder, settings, own.spec, (RunFolder(folder),), new)
        _keep(opened, after, normaliser)
        gates: list[Gate] = []

        def judged(fresh: RunFolder, opening: Opening) -> None:
            gates.append(judge(before, after, opened, line, wanted, record, opening))
            check(parent.version, gates[0])
            said = [forecasts(one, new, new.test)[0] for one in after]
            fresh.write_test_predictions(predictions_of(new, new.test, said, after), opening)

        evaluate(
            folder,
            ledger=record.ledger,
            commit=record.commit,
            now_ns=record.now_ns,
            explained=record.explained,
            predict_test=judged,
            progress=progress,
        )
        write_lineage(folder, parent.version, run, parent.manifest.scope, gates[0].text)
        _finish(folder, after, wanted)
        progress("bundle")
        return bundle_opened(opened, after, normaliser), gates[0], folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def judge(
    before: list[Fitted],
    after: list[Fitted],
    opened: OpenedRun,
    line: Sequence[OpenedRun],
    wanted: Refresh,
    record: Record,
    opening: Opening,
) -> Gate:
    """Both on rows that neither has learned from, paired, with the intervals of the evaluation.

    Of older runs that is their test where their evaluation has opened it before, with another line in the ledger; else
    their validation rows: a test that is shut stays so.
    """
    new = opened.rows
    opening.check(opened.runs[0].data.parts["test"].fingerprint)
    losses = [_losses(each, new, new.test) for each in (before, after)]
    difference = mean_estimate(losses[1] - losses[0], Draws.cut(new.test.ts_ns, _horizon_s(new)))
    worst, forgotten = Metric(-np.inf), False
    for one in line:
        part = one.rows.validation
        if one.runs[0].opened() is not None:
            test = one.runs[0].test_set()
            again = Ledger(record.ledger).open(
                test,
                run=opened.folder.resolve().name,
                commit=record.commit,
                config_sha256=opened.runs[0].config_sha256,
                data_fingerprint=one.rows.fingerprint,
                now_ns=record.now_ns,
            )
            again.check(test.fingerprint)
            part = one.rows.test
        was, now = (_losses(each, one.rows, part) for each in (before, after))
        metric = mean_estimate(now - was, Draws.cut(part.ts_ns, _horizon_s(one.rows))).metric
        risen = metric.value if metric.high is None else metric.high
        forgotten |= not risen <= wanted.forget_max * float(was.mean())
        if metric.value > worst.value:
            worst = metric
    return Gate(
        len(new.test),
        float(losses[0].mean()),
        float(losses[1].mean()),
        difference.metric,
        verdict("log_loss", difference),
        worst,
        forgotten,
    )


def check(version: str, gate: Gate) -> None:
    """Raises ``DataError`` with the figures where the gate does not let it through."""
    if gate.verdict != "ahead":
        raise DataError(f"{version} refreshed is {gate.verdict}: {gate.text}", expected="ahead", do="keep it")
    if gate.forgotten:
        raise DataError(
            f"{version} refreshed has forgotten too much: {gate.text}",
            expected="a rise on old rows within --forget-max",
            do="keep it, or train again on old and newer rows",
        )


def _newer(
    own: OpenedRun, wanted: Refresh, newer: Data, seeds: tuple[int, ...], place: Path
) -> tuple[TrainSettings, Dataset]:
    """Rows from the end of all that the run has seen or sealed, labelled and cut as the run's own, with the settings
    that make them again."""
    # Whole seconds are what a time in the settings can say: the one that the last row is in is left out.
    after = datetime.fromtimestamp(int(own.rows.ts_ns.max()) // 1_000_000_000 + 1, UTC).isoformat()
    begun = max(newer.start, after) if newer.start else after
    settings = msgspec.structs.replace(
        own.settings,
        data=msgspec.structs.replace(newer, start=begun),
        split=Split(
            train=wanted.learn_share,
            validation=wanted.choose_share,
            judged_instruments=own.settings.split.judged_instruments,
        ),
        curriculum=None,
        fit=msgspec.structs.replace(own.settings.fit, seeds=seeds),
    )
    new = dataset.build(settings, own.spec, place)
    names = [instrument.id for instrument in new.instruments]
    assets = own.rows.assets
    return settings, replace(new, assets=assets, numbers=assets.numbers(names, new.samples.instrument))


def _keep(opened: OpenedRun, after: list[Fitted], normaliser: Normalised) -> None:
    """What can be evaluated.  Raises ``DataError``."""
    folder, (run,) = opened.folder, opened.runs
    try:
        write_normaliser(folder, normaliser)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}", do="make room, or name another") from None
    for one in after:
        save_fitted(folder, one)
    write_predictions(opened.rows, {opened.rows.plan.targets[0].name: run}, after)


def _finish(folder: Path, after: list[Fitted], wanted: Refresh) -> None:
    """What makes it a run that is done.  Raises ``DataError``."""
    scores = {name: float(np.mean([one.scores[name] for one in after])) for name in after[0].scores}
    write_json(folder / RESULT, Result(scores, sum(one.epochs for one in after), 0.0, wanted.epochs))


def _free(run: Path) -> Path:
    """The next name of its line: ``RUN-r1``, and of that ``RUN-r2``."""
    stem, number = re.fullmatch(r"(.*?)(?:-r(\d+))?", run.resolve().name).groups()  # type: ignore[union-attr]
    count = int(number or 0) + 1
    while (folder := run.resolve().parent / f"{stem}-r{count}").exists():
        count += 1
    return folder


def _losses(each: list[Fitted], data: Dataset, part: Part) -> Float64:
    """(N,) log-loss of the averaged forecast on a part."""
    p = np.mean([forecasts(one, data, part)[0] for one in each], axis=0)
    return log_losses(data.targets[part.index, 0].astype(np.int64), p)


def _horizon_s(data: Dataset) -> float:
    """The longest time that a label takes, for blocks that hold it."""
    spans = data.samples.spans
    return float((spans.end_ns - spans.ts_ns).max()) / 1e9


def _told(metric: Metric) -> str:
    interval = "no interval" if metric.low is None else f"{metric.low:+.5f} to {metric.high:+.5f}"
    return f"{metric.value:+.5f} ({interval})"
