"""The folder of a training run: begun whole, added to line by line, gone on with, and held by one process.

Owns names and safety of the files; which steps a run takes is ``models.trainer.run``'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.durable import append_synced, sync_folder, write_atomically
from engine.errors import ConfigError, DataError
from models.assets import ASSETS
from models.evaluation.description import Environment, EpochLine, Part, RunData, describe_part
from models.evaluation.run_folder import CONFIG, DATA, METRICS, RunFolder
from models.trainer.dataset import Dataset
from models.trainer.fit_settings import AUTO
from models.trainer.lineage import read_lineage
from models.trainer.settings import TrainSettings, load_settings
from models.trainer.tabular import feature_names, rows_of, task_of
from models.trainer.tasks import Target

ROOT: Final = Path(__file__).resolve().parents[2]
CHECKPOINT: Final = "checkpoint.pt"
RESULT: Final = "result.json"
WEIGHTS: Final = "weights"
_LIBRARIES: Final = ("numpy", "torch", "scikit-learn", "msgspec", "pyarrow")
_MAY_CHANGE: Final = ("learning_rate", "learning_rates", "weight_decay", "epochs", "patience", "threads")
"""Of ``fit``: what a run that goes on may be told anew."""
_PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``result.json``.  ``epochs_asked``: how many a seed might have had; ``fit``: what may be told anew, as it was at
    the end; empty where an older release wrote it."""

    validation: dict[str, float]
    epochs: int
    seconds: float
    epochs_asked: int
    fit: dict[str, Any] = {}


def data_folder(settings: TrainSettings, named: Path | str | None) -> Path:
    """Where the files of a run are.  Raises ``DataError`` where it needs some and there is no such folder."""
    folder = Path(named or os.environ.get("KESTREL_DATA") or ROOT.parent / "shared" / "data")
    if settings.data.files and not folder.is_dir():
        raise DataError(f"no data folder at {folder}", expected="the folder of recorded files", do="set KESTREL_DATA")
    return folder


def places(folder: Path, rows: Dataset) -> list[tuple[Target, Path]]:
    """Where the run of each forecast is: the folder itself, or one in it for each of several."""
    targets = rows.plan.targets
    return [(one, folder if len(targets) == 1 else folder / f"{folder.name}-{one.name}") for one in targets]


def create(
    folder: Path, settings: TrainSettings, rows: Dataset, commit: str, parameters: int, *, test_of: str = ""
) -> None:
    """All that is known before training, under the folder's name only once it is whole.

    ``test_of``: as in ``RunData``, where the settings do not say it.
    """
    if settings.split.walk_forward is not None:
        test_of = f"origin {settings.split.origin} of a walk-forward"
    environment = Environment(commit, platform.python_version(), _libraries(), _processor())
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"cannot write to {folder.parent}: {error.strerror}", do="choose another folder") from None
    try:
        inner = draft / folder.name
        config = settings.to_yaml()
        for target, place in places(inner, rows):
            parts = {name: rows_of(settings, rows, target, rows.part(name)) for name in _PARTS}
            instruments = tuple(instrument.id for instrument in rows.instruments)
            described = RunData(
                task=task_of(settings, rows, target),
                fingerprint=rows.fingerprint,
                sources=dict(rows.sources),
                instruments=instruments,
                features=feature_names(settings, rows, target),
                parts={name: describe_part(part, instruments) for name, part in parts.items()},
                seeds=settings.fit.seeds,
                network=settings.network.name,
                parameters=parameters,
                purged=settings.split.purged is not msgspec.UNSET,
                test_of=test_of,
            )
            run = RunFolder.create(place, described, environment, config)
            for name, part in parts.items():
                run.write_rows(name, part)
        write_atomically(inner / CONFIG, config)
        write_atomically(inner / ASSETS, rows.assets.to_json())
        sync_folder(inner)
        if folder.exists():
            raise ConfigError(f"{folder} exists", expected="a new folder: another run was first", do="name another")
        inner.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}", do="make room, or name another") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def resumed(settings: TrainSettings, folder: Path) -> TrainSettings:
    """The settings to go on with: those of the run, with what may be told anew.

    Raises ``DataError`` where there is no run, or a refresh that was not finished, ``ConfigError`` where it was made
    with other settings.
    """
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"no run to resume at {folder}", expected=f"a folder with {CONFIG}", do="train it without resume"
        )
    if not (folder / RESULT).is_file() and (lineage := read_lineage(folder)) is not None:
        raise DataError(
            f"{folder} is a refresh of {lineage.version} that did not come to its end",
            expected="a run of train: a refresh cannot be resumed",
            do="take the folder away and refresh again",
        )
    check_whole(folder)
    check_config(folder)
    begun, _ = load_settings(folder / CONFIG)
    changed = {name: getattr(settings.fit, name) for name in _MAY_CHANGE}
    if settings.fit.schedule.kind == "one_cycle":
        del changed["epochs"]  # it knows its steps from the beginning
    going_on = msgspec.structs.replace(begun, fit=msgspec.structs.replace(begun.fit, **changed))
    wanted = settings
    if settings.fit.batch == AUTO:
        wanted = msgspec.structs.replace(settings, fit=msgspec.structs.replace(settings.fit, batch=begun.fit.batch))
    ours, theirs = (msgspec.to_builtins(one) for one in (wanted, going_on))
    other = [name for key in {**ours, **theirs} for name in _other(key, ours.get(key), theirs.get(key))]
    if other:
        raise ConfigError(
            f"the run {folder} was made with other settings ({', '.join(other)})",
            expected=f"the same, but for {', '.join(_MAY_CHANGE)} of fit",
            do=f"resume with {folder / CONFIG}",
        )
    return going_on


def _other(key: str, one: Any, other: Any) -> list[str]:
    """Names of what differs: of a section its keys."""
    if one == other:
        return []
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [key]
    return [f"{key}.{name}" for name in {**one, **other} if one.get(name) != other.get(name)]


def check_whole(folder: Path) -> None:
    """Raises ``DataError`` for the folder of one forecast of several: the run has the weights of all; and for a run of
    several that was renamed: they are called by its first name."""
    if (
        (folder / DATA).is_file()
        and folder.name.startswith(f"{folder.parent.name}-")
        and (folder.parent / CONFIG).is_file()
    ):
        raise DataError(
            f"{folder} is one forecast of a run", expected="the run, with all of them", do=f"name {folder.parent}"
        )
    named = sorted({path.parent.name.rpartition("-")[0] for path in folder.glob(f"[!.]*-*/{DATA}")})
    if (folder / CONFIG).is_file() and named and not places_of(folder):
        raise DataError(
            f"{folder} was renamed: its forecasts are called {named[0]}-...",
            expected=f"the name that it was trained under, {named[0]}",
            do="rename it",
        )


def check_config(folder: Path) -> None:
    """Raises ``DataError`` where the settings in the folder are no more those that its run was begun with."""
    for place in places_of(folder):
        RunFolder(place).check_config(folder / CONFIG)


def check_same_data(run: RunFolder, rows: Dataset) -> None:
    """Raises ``DataError`` when the rows are not those that the run learned from."""
    if run.data.fingerprint != rows.fingerprint:
        ours, theirs = run.data.sources, dict(rows.sources)
        other = [name for name in sorted({**ours, **theirs}) if ours.get(name) != theirs.get(name)]
        raise DataError(
            f"the run {run.path} learned from data of fingerprint {run.data.fingerprint[:12]}",
            expected=f"the same data, features, labels and code; these rows have {rows.fingerprint[:12]}",
            do=f"bring back {', '.join(other)}, or train again"
            if other
            else "the files are the same: bring back the settings and the release, or train again",
        )


def result_of(settings: TrainSettings, validation: dict[str, float], epochs: int, seconds: float) -> Result:
    """What a run of these settings came to."""
    return Result(validation, epochs, seconds, settings.fit.epochs, _told_anew(settings))


def _told_anew(settings: TrainSettings) -> dict[str, Any]:
    """Threads are the machine's, and may be others for each origin of a walk-forward."""
    plain = msgspec.to_builtins(settings.fit)
    return {name: plain[name] for name in _MAY_CHANGE if name != "threads"}


def finished(settings: TrainSettings, folder: Path) -> Result | None:
    """What a run that is done came to; None where it is not.  Raises ``ConfigError`` where it is to go on, or was made
    with other settings than these."""
    if not (folder / RESULT).is_file():
        return None
    try:
        done: Result = msgspec.json.decode((folder / RESULT).read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{folder / RESULT} cannot be read: {error}", do="train again") from None
    if settings.fit.epochs > done.epochs_asked:
        raise ConfigError(
            f"the run {folder} is done, with {done.epochs_asked} epochs a seed",
            expected="no more epochs: where its loop was is not kept",
            do="train again under another name",
        )
    asked = _told_anew(settings)
    other = [name for name, value in asked.items() if done.fit.get(name, value) != value]
    # What it was begun with is its own too, where it was told anew on the way.
    if other and asked != _told_anew(load_settings(folder / CONFIG)[0]):
        raise ConfigError(
            f"the run {folder} is done, and had other values of fit ({', '.join(other)})",
            expected="its own: it learns no more",
            do=f"train these under another name, or resume with {folder / CONFIG}",
        )
    return done


def places_of(folder: Path) -> tuple[Path, ...]:
    """The runs of a folder that can be evaluated."""
    if (folder / DATA).is_file():
        return (folder,)
    return tuple(sorted(path.parent for path in folder.glob(f"{folder.name}-*/{DATA}")))


def append_line(folder: Path, line: EpochLine) -> None:
    """One line of scores, synced.  Raises ``DataError`` when the disk will not take it."""
    try:
        append_synced(folder / METRICS, msgspec.json.encode(line) + b"\n")
    except OSError as error:
        raise DataError(
            f"{folder / METRICS} cannot be written: {error.strerror}", do="make room, then resume the run"
        ) from None


def keep_lines(folder: Path, count: int) -> None:
    """Take away the scores of epochs that no checkpoint knows: a resumed run makes them again."""
    path = folder / METRICS
    if path.exists():
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) != count:
            write_atomically(path, b"".join(lines[:count]))


def share_lines(folder: Path, runs: dict[str, RunFolder]) -> None:
    """Of a run of several forecasts: to each the scores that are its own, under the names of a single one."""
    if not (folder / METRICS).exists() or any(run.path == folder for run in runs.values()):
        return
    lines = [msgspec.json.decode(raw, type=EpochLine) for raw in (folder / METRICS).read_bytes().splitlines()]
    for name, run in runs.items():
        own = [
            msgspec.structs.replace(
                line, **{part: _own(getattr(line, part), f"{name}.") for part in ("train", "validation")}
            )
            for line in lines
        ]
        write_atomically(run.path / METRICS, b"".join(msgspec.json.encode(line) + b"\n" for line in own))


def _own(scores: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in scores.items() if name.startswith(prefix)}


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all.  Raises ``DataError`` when the disk will not take it."""
    try:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(content)))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", do="make room, then resume the run") from None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else trains or bundles here.  Raises ``ConfigError`` where somebody does, ``DataError`` where that cannot
    be known."""
    with contextlib.ExitStack() as opened:
        try:
            lock = opened.enter_context(open(folder / ".lock", "w", encoding="ascii"))
        except OSError as error:
            raise DataError(
                f"{folder / '.lock'} cannot be written: {error.strerror}", do="see to the right to write there"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another process trains or bundles {folder}", do="wait for it, or name another folder"
            ) from None
        yield


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
