"""Runs the list of record, one entry after the other, and goes on where an earlier call, or another machine, stopped.

Owns the order and the end of the time.  What is finished is known by what is kept (hash of the configuration and of the
data), what is half done by its run folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import DataError, KestrelError
from models.evaluation import outcome as evaluated
from models.evaluation import period_losses
from models.evaluation.comparison import LESS_IS_BETTER
from models.evaluation.description import EpochLine
from models.evaluation.evaluate import evaluate
from models.evaluation.outcome import Outcome
from models.evaluation.run_folder import RunFolder
from models.results import kept as results
from models.results.kept import Kept, KeptForecast, kept_forecast
from models.results.listed import FORWARD, Entry, Listed
from models.results.pictures import draw
from models.trainer import dataset
from models.trainer.distillation import TEACHER
from models.trainer.predict_test import prepare
from models.trainer.run import TrainingResult, run_training
from models.trainer.settings import TrainSettings
from models.trainer.training_folder import data_folder

State = Literal["done", "half done", "not run yet", "waits", "other data or settings"]
Show = Callable[[str], None]


class OutOfTimeError(Exception):
    """The time of this call is over; what was begun can go on later."""


@dataclass(frozen=True)
class Places:
    """``results``: what is kept (docs/results); ``runs``: run folders; ``ledger``: of opened tests; ``data``: recorded
    files, None for the usual folder."""

    results: Path
    runs: Path
    ledger: Path
    data: Path | None = None

    def run_of(self, entry: Entry) -> Path:
        return self.runs / (entry.settings.name if entry.settings else f"{entry.task}-{entry.name}")


@dataclass(frozen=True)
class Standing:
    entry: Entry
    state: State
    kept: Kept | None = None


@dataclass
class Call:
    """What one call of the command may do.  ``deadline``: of ``monotonic``, None for no end."""

    places: Places
    commit: str
    deadline: float | None = None
    monotonic: Callable[[], float] = time.monotonic
    show: Show = lambda _text: None
    progress: Callable[[str, float], None] = lambda _text, _share: None

    def check_time(self) -> None:
        """Raises ``OutOfTimeError``."""
        if self.deadline is not None and self.monotonic() >= self.deadline:
            raise OutOfTimeError


def standings(listed: Listed, places: Places, *, look_at_data: bool = True) -> list[Standing]:
    """Where each entry of a file stands, the walk-forward last.  Without ``look_at_data`` what is kept counts as of the
    data that is here: for machines that have none."""
    found = [_standing(entry, places, look_at_data) for entry in listed.entries]
    forward = listed.forward_entry(chosen(listed, {one.entry.name: one.kept for one in found if one.state == "done"}))
    return found if forward is None else [*found, _standing(forward, places, look_at_data)]


def chosen(listed: Listed, done: Mapping[str, Kept | None]) -> str | None:
    """The entry whose network goes into the walk-forward, by validation scores alone; None until all are done."""
    forward = listed.file.walk_forward
    if forward is None:
        return None
    scores: dict[str, float] = {}
    for name in forward.among:
        one = done.get(name)
        if one is None:
            return None
        if forward.by not in one.validation:
            raise DataError(
                f"{one.task}/{name} has no validation score {forward.by!r}",
                expected=f"one of {', '.join(sorted(one.validation))}",
                do=f"correct walk_forward.by in {listed.path}",
            )
        scores[name] = one.validation[forward.by]
    less = forward.less_is_better
    if less is None:
        less = forward.by.rpartition(".")[2] in LESS_IS_BETTER
    return min(scores, key=lambda name: scores[name] if less else -scores[name])


def work(listed: Sequence[Listed], names: Mapping[str, Sequence[str]], call: Call) -> tuple[list[str], list[str], bool]:
    """Run what is not done.  Gives the keys that were finished, one line for each that failed, and whether the time is
    over."""
    finished: list[str] = []
    failed: list[str] = []
    for one in listed:
        for name in names.get(one.task, ()):
            # Looked at anew each time: an entry that is done may be what a walk-forward waited for.
            try:
                standing = _now(one, name, call.places)
                if standing.state == "done":
                    continue
                if standing.entry.settings is None:
                    call.show(f"{standing.entry.key}: waits for the entries that its network is chosen among")
                    continue
                call.check_time()
                call.show(f"{standing.entry.key}: about {standing.entry.core_hours:g} core-hours in all")
                found = run_entry(standing.entry, call, one.file.explain)
                finished.append(standing.entry.key)
                call.show(f"{standing.entry.key}: done")
                if not one.file.explain and any(forecast.suspicions for forecast in found.forecasts):
                    told = next(forecast.suspicions[0] for forecast in found.forecasts if forecast.suspicions)
                    failed.append(
                        f"{standing.entry.key}: too good to be true: {told}; say why under explain in {one.path}"
                    )
                    call.show(failed[-1])
            except OutOfTimeError:
                return finished, failed, True
            except KestrelError as error:
                needs = f" (needs: {one.file.needs})" if one.file.needs else ""
                failed.append(f"{one.task}/{name}: {error}{needs}")
                call.show(failed[-1])
    return finished, failed, False


def run_entry(entry: Entry, call: Call, explained: str = "") -> Kept:
    """Train what is not trained, evaluate what is not evaluated, keep and draw.

    Raises ``OutOfTimeError`` between two epochs, and before an evaluation.
    """
    settings = entry.settings
    assert settings is not None
    trained: list[TrainingResult] = []
    forecasts: list[KeptForecast] = []
    folder = call.places.run_of(entry)
    for origin, place, own in _runs(settings, folder):
        made = _train(own, place, call)
        trained.append(made)
        for run in made.runs:
            call.check_time()
            forecast = run.name.removeprefix(f"{place.name}-") if len(made.runs) > 1 else ""
            outcome = _evaluated(run, call, explained)
            forecasts.append(kept_forecast(outcome, period_losses.read(run), forecast, origin))
    first = RunFolder(trained[0].runs[0])
    found = Kept(
        task=entry.task,
        entry=entry.name,
        network=first.data.network,
        parameters=first.data.parameters,
        seeds=first.data.seeds,
        config_sha256=entry.config_sha256,
        fingerprints=tuple(dict.fromkeys(RunFolder(one.runs[0]).data.fingerprint for one in trained)),
        sources=first.data.sources,
        environment=first.environment,
        validation=trained[0].validation,
        epochs=sum(one.epochs for one in trained),
        seconds=round(sum(one.seconds for one in trained), 1),
        forecasts=forecasts,
    )
    if entry.name != FORWARD:
        draw(trained[0].runs, results.place(call.places.results, entry.task, entry.name))
    results.write(call.places.results, found, settings.to_yaml())
    return found


def _runs(settings: TrainSettings, folder: Path) -> list[tuple[int, Path, TrainSettings]]:
    """The runs of an entry: one, or one an origin."""
    forward = settings.split.walk_forward
    if forward is None:
        return [(0, folder, settings)]
    made = []
    for origin in range(1, forward.origins + 1):
        split = msgspec.structs.replace(settings.split, origin=origin)
        own = msgspec.structs.replace(settings, split=split)
        made.append((origin, folder / f"{folder.name}-origin-{origin}", own))
    return made


def _train(settings: TrainSettings, place: Path, call: Call) -> TrainingResult:
    def on_epoch(line: EpochLine) -> None:
        call.progress(f"{place.name}, seed {line.seed}, epoch {line.epoch}", 0.0)
        call.check_time()

    def told(text: str, share: float) -> None:
        call.progress(text, share)
        if text.startswith(f"{TEACHER}, "):  # whose epochs nobody is told
            call.check_time()

    call.check_time()
    return run_training(
        settings,
        folder=place,
        data=call.places.data,
        on_epoch=on_epoch,
        resume=place.exists(),
        commit=call.commit,
        progress=told,
    )


def _evaluated(run: Path, call: Call, explained: str) -> Outcome:
    """What the run's evaluation found; one that is there is not made again, as that would open the test again."""
    folder = RunFolder(run)
    if (run / evaluated.OUTCOME).is_file() and (run / period_losses.FILE).is_file():
        try:
            return msgspec.json.decode((run / evaluated.OUTCOME).read_bytes(), type=Outcome)
        except (OSError, msgspec.MsgspecError) as error:
            raise DataError(f"{run / evaluated.OUTCOME} cannot be read: {error}", do="evaluate the run again") from None
    return evaluate(
        run,
        ledger=call.places.ledger,
        commit=call.commit,
        now_ns=time.time_ns(),
        explained=explained,
        predict_test=None if folder.has_predictions("test") else prepare(run, call.places.data),
        progress=lambda text: call.show(f"  {run.name}: {text}"),
    )


def _now(listed: Listed, name: str, places: Places) -> Standing:
    """Of one entry, for which no other is looked at unless it waits for them."""
    for entry in listed.entries:
        if entry.name == name:
            return _standing(entry, places, True)
    return standings(listed, places)[-1]


def _standing(entry: Entry, places: Places, look_at_data: bool) -> Standing:
    kept = results.read(places.results, entry.task, entry.name)
    if entry.settings is None:
        return Standing(entry, "waits", kept)
    if kept is not None:
        sources = kept.sources
        if look_at_data:
            spec = dataset.feature_spec(entry.settings.features)
            _, sources = dataset.identify(entry.settings, spec, data_folder(entry.settings, places.data))
        same = kept.same_as(entry.config_sha256, sources)
        return Standing(entry, "done" if same else "other data or settings", kept)
    return Standing(entry, "half done" if places.run_of(entry).exists() else "not run yet")
