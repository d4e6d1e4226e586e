"""The command ``train``: its options, its progress bar and what it prints."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError
from models.refusals import needing

if TYPE_CHECKING:
    from models.trainer.run import TrainingResult
    from models.trainer.settings import TrainSettings

RUNS: Final = Path("var/runs")
Progress = Callable[[str, float], None]
_BUSY: Final = 1.2
"""From how many times the time on a core of its own both are told."""


def register(app: typer.Typer, commit: Callable[[], str]) -> None:
    """Put the command on ``app``.  ``commit`` says which code trains."""

    @app.command("train")
    def train(
        config: Annotated[Path | None, typer.Option("--config", help="such as config/train/quick-classes.yaml")] = None,
        run: Annotated[
            Path | None, typer.Option("--run", help="folder of the new run (default: var/runs/NAME)")
        ] = None,
        resume: Annotated[Path | None, typer.Option("--resume", metavar="RUN", help="go on with this run")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="measure a few steps, train nothing")] = False,
        data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Train a network: a run folder that can be evaluated.  Needs the extra train (make test installs it)."""
        with needing("the trainer"):
            from models.trainer import run as training
            from models.trainer.settings import load_settings
            from models.trainer.training_folder import CONFIG
        if config is None and resume is None:
            raise ConfigError("train without --config", expected="--config FILE of a new run, or --resume RUN")
        if run is not None and resume is not None:
            raise ConfigError("--run with --resume", expected="one of the two")
        settings = load_settings(config)[0] if config is not None else _settings_of(resume, CONFIG)
        if dry_run:
            with _shown() as progress:
                found = training.estimate_run(settings, data=data, progress=progress)
            _print_estimate(found)
            if as_json:
                print_json(found)
            return
        folder = resume or run or _free(RUNS / settings.name)
        try:
            with _shown() as progress:
                made = _train(settings, folder, data, commit(), progress, resume=resume is not None)
        except KeyboardInterrupt:
            if folder.exists():
                # Without the file it would go on with the rates that it was begun with.
                told_anew = "" if config is None or resume is None else f"--config {config} "
                print(f"stopped; go on with {told_anew}--resume {folder}", file=sys.stderr)
            raise typer.Exit(130) from None
        for one in made:
            _print_result(one)
        if as_json:
            print_json(_summary(settings, made))


def _train(
    settings: TrainSettings, folder: Path, data: Path | None, commit: str, progress: Progress, *, resume: bool
) -> list[TrainingResult]:
    from models.trainer import run as training

    options: dict[str, Any] = {"data": data, "commit": commit, "progress": progress, "resume": resume}
    if settings.split.walk_forward is not None and not settings.split.origin:
        return training.run_folds(settings, folder=folder, **options)
    return [training.run_training(settings, folder=folder, **options)]


def _settings_of(resume: Path | None, name: str) -> TrainSettings:
    """What a run was begun with; of a walk-forward, which has a run for each origin, what all of them have."""
    from models.trainer.settings import load_settings

    assert resume is not None
    origin = resume / "origin-1" / name
    if origin.is_file() and not (resume / name).is_file():
        settings, _ = load_settings(origin)
        return msgspec.structs.replace(settings, split=msgspec.structs.replace(settings.split, origin=0))
    if not (resume / name).is_file():
        raise ConfigError(f"no run to resume at {resume}", expected=f"a folder with {name}", do="check --resume")
    return load_settings(resume / name)[0]


def _free(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2`` and so on that is not there: nothing is overwritten."""
    return next(
        place
        for place in (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
        if not place.exists()
    )


@contextlib.contextmanager
def _shown() -> Iterator[Progress]:
    """A bar on a terminal; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text, _share: None
        return
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda text, share: bars.update(task, description=text, completed=share)


def _print_estimate(found: dict[str, Any]) -> None:
    rows = found["rows"]
    print(f"{found['task']}, {found['network']}: {found['parameters']:,} parameters")
    print(f"  rows       {rows['train']:,} train, {rows['validation']:,} validation, {rows['test']:,} test")
    print(f"  a step     {found['step_ms']:g} ms, {found['steps_per_epoch']:,} an epoch of batch {found['batch']}")
    now, alone = (f"about {found[name]:,.0f} s" for name in ("seconds", "alone_seconds"))
    busy = found["seconds"] > _BUSY * found["alone_seconds"]
    told = f"{alone} on a core of its own, {now} as busy as this machine is now," if busy else now
    origins = "" if found["origins"] == 1 else f" for {found['origins']} origins"
    print(f"  in all     {told}{origins} if no seed ends early, {found['memory_mb']:,.0f} MB of memory")


def _print_result(one: TrainingResult) -> None:
    shown = [name for name in one.validation if name.count(".") < 1 or name.endswith(("log_loss", "qlike", "mse"))]
    print(f"{one.folder}: {one.epochs} epochs in {one.seconds:g} s; best on validation rows:")
    for name in shown:
        print(f"  {name:<24} {one.validation[name]:.5g}")
    for run in one.runs:
        print(f"python run.py evaluate --run {run}")
    print(f"python run.py models bundle {one.folder}")


def _summary(settings: TrainSettings, made: list[TrainingResult]) -> dict[str, Any]:
    each = [
        {
            "folder": str(one.folder),
            "runs": [str(run) for run in one.runs],
            "validation": one.validation,
            "epochs": one.epochs,
            "seconds": one.seconds,
        }
        for one in made
    ]
    return {"task": settings.task, "name": settings.name, "trained": each}
