"""A study in its folder: Optuna's storage, the trial log beside it, and what was asked for when it began.

    STUDY/
      study.json      what is searched; a study goes on only with the same
      study.sqlite    Optuna's storage, which several processes read and write
      trials.jsonl    every trial on the record (``log``)
      finalists.jsonl, best.yaml, summary.json, *.png

Owns the storage: whoever asks for trials holds the study's lock, and the processes that run them report to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import optuna
from optuna.trial import TrialState

from engine.durable import write_atomically
from engine.errors import DataError, KestrelError
from models.trainer.settings import settings_of
from models.tuning.log import TrialLine, TrialLog, ended_now
from models.tuning.plain import Plain, value_at
from models.tuning.settings import Pruner, Tuning
from models.tuning.trial import Outcome

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STORAGE = "study.sqlite"
IDENTITY = "study.json"
_LOCK = ".lock"
_ATTEMPTS_MAX = 3
_ALIKE = 3
_WAIT_FOR_LOCK_S = 30.0
_OUTCOME = "outcome"
_AGAIN_OF = "again_of"
_GIVEN_AGAIN = "given_again"
_OWN = "own"
_KILLED = "killed: "
_OWN_FILE = re.compile(r"\S*/trials/\d{4}/\S*")


class Study:
    """Opened to ask for trials; one process at a time."""

    def __init__(self, folder: Path, tuning: Tuning, *, resume: bool) -> None:
        """Raises ``DataError`` when there is a study already, or none to resume, or another than this one."""
        self.folder = folder
        self.tuning = tuning
        self._descriptor = _lock(folder, resume=resume)
        try:
            _identify(folder, tuning, resume=resume)
            self.log = TrialLog(folder)
            with storage_errors(folder):
                self.optuna = _open(folder, tuning)
                self._distributions = tuning.space.distributions()
                if resume:
                    self._recover()
                # One that was stopped before it had a trial begins as a new one does.
                begins = tuning.settings.method != "population" and not self.optuna.get_trials(deepcopy=False)
                if begins and (own := self._own_values()) is not None:
                    self.optuna.enqueue_trial(own, user_attrs={_OWN: True})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def begun(self) -> int:
        """Trials that count: all but those that were killed and given again."""
        with storage_errors(self.folder):
            trials = self.optuna.get_trials(deepcopy=False)
        waiting = TrialState.WAITING
        return sum(trial.state != waiting and not trial.user_attrs.get(_GIVEN_AGAIN) for trial in trials)

    def ask(self) -> tuple[int, Plain]:
        """The next trial's number, and the values of the searched keys."""
        with storage_errors(self.folder):
            # A generator of its own for each trial: a study that goes on draws what it would have drawn.
            number = len(self.optuna.get_trials(deepcopy=False))
            self.optuna.sampler = _sampler(self.tuning, number)
            trial = self.optuna.ask(self._distributions)
            return trial.number, self.tuning.space.values(trial.params)

    def tell(self, number: int, outcome: Outcome) -> TrialLine:
        """In the storage first, then on the record; what a kill leaves out between them, ``resume`` writes.

        Raises ``DataError`` for a trial on other rows than those before it.
        """
        if other := [line for line in self.log.lines if line.data and outcome.data and line.data != outcome.data]:
            raise DataError(
                f"trial {number} learned from data of fingerprint {outcome.data[:12]}",
                expected=f"{other[0].data[:12]}, as trial {other[0].number}: scores on other rows cannot be compared",
                do="bring the data back, or begin a new study with --out",
            )
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        with storage_errors(self.folder):
            trial = self._trial(number)
            kept = msgspec.to_builtins(outcome) | {"net": (), "days_ns": ()}
            kept["ended"] = ended_now()
            self.optuna._storage.set_trial_user_attr(trial._trial_id, _OUTCOME, kept)
            value = outcome.score if outcome.state == "complete" else None
            self.optuna.tell(number, value, state=states[outcome.state])
            line = self._line(self._trial(number))
        self.log.add(line)
        return line

    def tell_killed(self, number: int, why: str) -> TrialLine:
        """Failed, and given again: with the same values, before any new ones; not for ever."""
        with storage_errors(self.folder):
            self._give_again(self._trial(number))
        return self.tell(number, Outcome("failed", error=_KILLED + why))

    def check_failures(self) -> None:
        """Raises ``DataError`` when the first trials all failed alike: the next ones would, too."""
        lines = [line for line in self.log.lines if line.state != "pruned" and not line.error.startswith(_KILLED)]
        # Each names files of its own folder: that they differ in these says nothing.
        errors = {_OWN_FILE.sub("", line.error) for line in lines}
        if len(lines) >= _ALIKE and len(errors) == 1 and all(line.state == "failed" for line in lines):
            raise DataError(f"the first {len(lines)} trials failed alike: {lines[-1].error}")

    def add(self, line: TrialLine) -> bool:
        """A trial that was run without asking, in the order of the numbers; False when it was on the record already."""
        new = all(other.number != line.number for other in self.log.lines)
        if new:
            self.log.add(line)
        state = TrialState.COMPLETE if line.state == "complete" else TrialState.FAIL
        known = {key: self._distributions[key] for key in line.values}
        drawn = self.tuning.space.drawn(line.values)
        with storage_errors(self.folder):
            if len(self.optuna.get_trials(deepcopy=False)) <= line.number:
                made = optuna.trial.create_trial(state=state, params=drawn, distributions=known, value=line.value)
                self.optuna.add_trial(made)
        return new

    def own_value(self) -> float | None:
        """The score of the training settings as they were, where they were a trial."""
        with storage_errors(self.folder):
            trials = self.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return next((trial.value for trial in trials if trial.user_attrs.get(_OWN)), None)

    def best(self, top: int) -> list[TrialLine]:
        """The ``top`` trained to their end (of a population: members at the end), the best first, each set of values
        once."""
        done = [line for line in self.log.lines if line.state == "complete" and line.value is not None]
        last = max((line.generation for line in done if line.generation is not None), default=None)
        done = [line for line in done if line.generation == last]
        done.sort(key=lambda line: (-(line.value or 0.0) if self.tuning.maximise else (line.value or 0.0), line.number))
        first: dict[str, TrialLine] = {}
        for line in done:
            first.setdefault(repr(sorted(line.values.items())), line)
        return list(first.values())[:top]

    def _own_values(self) -> dict[str, Any] | None:
        """What the training settings have today, as the first trial, where the space holds it."""
        own = settings_of(self.tuning.for_search({}), str(self.tuning.path))
        settings = msgspec.json.decode(msgspec.json.encode(own))
        values = {key: value_at(settings, key) for key in self.tuning.space.dimensions}
        return self.tuning.space.drawn(values) if self.tuning.space.contains(values) else None

    def _recover(self) -> None:
        """What ran when the last process was killed has failed and is given again; the record is made whole."""
        for trial in self.optuna.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING:
                self._give_again(trial)
                self._tell_lost(trial)
        recorded = {line.number for line in self.log.lines}
        for trial in self.optuna.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in recorded:
                self.log.add(self._line(trial))

    def _tell_lost(self, trial: FrozenTrial) -> None:
        lost = {"error": f"{_KILLED}the study ended while it ran", "ended": ended_now()}
        self.optuna._storage.set_trial_user_attr(trial._trial_id, _OUTCOME, lost)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _give_again(self, trial: FrozenTrial) -> None:
        attempt = int(trial.user_attrs.get("attempt", 1))
        if set(trial.params) != set(self._distributions):
            # Killed while its values were drawn: it has none to give again, and another takes its place.
            self.optuna._storage.set_trial_user_attr(trial._trial_id, _GIVEN_AGAIN, True)
        elif attempt < _ATTEMPTS_MAX:
            self.optuna._storage.set_trial_user_attr(trial._trial_id, _GIVEN_AGAIN, True)
            attrs = {_AGAIN_OF: trial.number, "attempt": attempt + 1, _OWN: trial.user_attrs.get(_OWN, False)}
            self.optuna.enqueue_trial(trial.params, user_attrs=attrs)

    def _trial(self, number: int) -> FrozenTrial:
        return self.optuna.get_trials(deepcopy=False)[number]

    def _line(self, trial: FrozenTrial) -> TrialLine:
        kept = trial.user_attrs.get(_OUTCOME, {})
        states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        drawn = set(trial.params) == set(self._distributions)
        return TrialLine(
            trial.number,
            states.get(trial.state, "failed"),
            self.tuning.space.values(trial.params) if drawn else {},
            kept.get("ended", ""),
            trial.value if trial.state == TrialState.COMPLETE else None,
            tuple(kept.get("scores", ())),
            kept.get("epochs", 0),
            kept.get("seconds", 0.0),
            kept.get("error", ""),
            trial.user_attrs.get(_AGAIN_OF),
            data=kept.get("data", ""),
        )


class Board:
    """Where a running trial reports to, in whatever process it is; several of them on one storage."""

    def __init__(self, folder: str, name: str, pruner: Pruner, epochs: int) -> None:
        self.folder = Path(folder)
        with storage_errors(self.folder):
            self._study = optuna.load_study(
                study_name=name, storage=_storage(self.folder), pruner=make_pruner(pruner, epochs)
            )

    def report(self, number: int, epoch: int, value: float) -> bool:
        """The score after an epoch; answers whether the trial is to be given up."""
        with storage_errors(self.folder):
            storage, pruner = self._study._storage, self._study.pruner
            trial_id = self._study.get_trials(deepcopy=False)[number]._trial_id
            if not math.isfinite(value):
                return not isinstance(pruner, optuna.pruners.NopPruner)
            # As Trial.report and should_prune do, without the values that a new Trial would draw.
            storage.set_trial_intermediate_value(trial_id, epoch, value)
            return bool(pruner.prune(self._study, storage.get_trial(trial_id)))


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """The database's own words, in one line."""
    import sqlalchemy.exc

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__ or error
        said = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise DataError(
            f"{folder / STORAGE}: {said}", do="see to the disk and to what else has it open, then go on with --resume"
        ) from error


def make_pruner(settings: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    """``epochs``: of a whole trial."""
    if settings.kind == "median":
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_epochs + 1)  # epochs begin with 1
    if settings.kind == "hyperband":
        return optuna.pruners.HyperbandPruner(1, max(1, epochs), settings.reduction_factor)
    return optuna.pruners.NopPruner()


def _sampler(tuning: Tuning, number: int) -> optuna.samplers.BaseSampler:
    seed = (tuning.settings.seed * 1_000_003 + number) % 2**32
    if tuning.settings.method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=tuning.settings.startup_trials, seed=seed)


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    url = f"sqlite:///{(folder / STORAGE).resolve()}"
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _WAIT_FOR_LOCK_S}})


def _open(folder: Path, tuning: Tuning) -> optuna.Study:
    return optuna.create_study(
        storage=_storage(folder),
        study_name=tuning.settings.name,
        direction="maximize" if tuning.maximise else "minimize",
        sampler=_sampler(tuning, 0),
        load_if_exists=True,
    )


def _lock(folder: Path, *, resume: bool) -> int:
    if resume and not (folder / IDENTITY).is_file():
        raise DataError(f"no study at {folder}", do="leave out --resume, or correct --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(f"no study can be written to {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise KestrelError(
            f"the study {folder} is locked: another process runs it", expected="one at a time", do="wait for it"
        ) from None
    return descriptor


def _identify(folder: Path, tuning: Tuning, *, resume: bool) -> None:
    path = folder / IDENTITY
    own = msgspec.json.decode(msgspec.json.encode(_identity(tuning)))
    if not resume:
        if path.exists():
            raise DataError(
                f"there is a study at {folder} already", do="go on with --resume, or name another folder with --out"
            )
        write_atomically(path, msgspec.json.format(msgspec.json.encode(own)))
        return
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    other = [key for key in own if found.get(key) != own[key]]
    if other:
        raise DataError(
            f"the study at {folder} was begun with another {' and another '.join(other)}",
            expected="the same to go on",
            do="begin a new one with --out",
        )


def _identity(tuning: Tuning) -> dict[str, Any]:
    """What decides the trials.  How many there are and what runs them may change on the way."""
    s = tuning.settings
    return {
        "name": s.name,
        "metric": s.metric,
        "method": s.method,
        "seed": s.seed,
        "space": tuning.space.plain(),
        "training": {"base": tuning.base, "during_search": s.during_search},
        "folds": msgspec.to_builtins(s.folds),
        "pruner": msgspec.to_builtins(s.pruner),
        "startup_trials": s.startup_trials,
        "profit": msgspec.to_builtins(s.profit),
        "population": msgspec.to_builtins(s.population) if s.method == "population" else None,
    }
