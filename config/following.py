"""What a running session is told of its models from outside of its loop: the registry (``models.life``), providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from config.assembly import ConfiguredAssembly
from config.schema import Settings
from engine.core import TradingCore
from engine.events import InputEvent, ModelOffered, ProviderChanged
from models.bundle import Bundle
from models.life.checking import Checker, Task
from models.life.watcher import Offer, RegistryWatcher, Role
from models.serving.schedule import Schedule


def follow_registry(
    settings: Settings,
    assembly: ConfiguredAssembly,
    tell: Callable[[Callable[[int], InputEvent]], None],
    code_root: Path,
    *,
    env: Mapping[str, str],
    log: Any,
    core: TradingCore,
) -> tuple[RegistryWatcher, ...]:
    """Who watches, or nobody: where that is not asked for, where no strategy takes whoever is champion, and for played
    files, which are the same each time whatever is promoted meanwhile.

    ``core`` is only read.  ``tell`` publishes in the loop's thread; ``env``: of the process that checks, without
    secrets.
    """
    models = settings.models
    if not models.rollout.follow or settings.venue.feed == "replay" or not assembly.following():
        return ()
    return (
        RegistryWatcher(
            registry=models.registry,
            directory=models.directory,
            opener=assembly,
            checks=Checker(code_root, env),
            offer=lambda offer: tell(lambda at_ns: _event(offer, at_ns)),
            log=log,
            task_of=partial(check_of, settings),
            knows=lambda instrument: instrument in core.lanes,
            seated=lambda instrument, role: _seated(core, instrument, role),
            offers_older=models.breaker.fallback == "older",
        ),
    )


def check_of(settings: Settings, bundle: Bundle) -> Task:
    """How a version is checked that is to serve.  With whole paths: that process has another working folder."""
    models, columns = settings.models, settings.features.columns_folder
    return Task(
        str(bundle.path.resolve()),
        bundle.version,
        models.deadline_us,
        "" if columns is None else str(columns.resolve()),
        tuple(models.providers),
        str(models.engines.resolve()),
        spread=models.uncertainty,
        by_step=bundle.manifest.name in models.by_step,
        schedule=models.schedule,
    )


def tell_providers(assembly: ConfiguredAssembly, tell: Callable[[Callable[[int], InputEvent]], None], log: Any) -> None:
    """A version that another provider computes than was wanted is logged and on record, when it is so."""

    def changed(version: str, before: str, after: str, text: str) -> None:
        log.warning("a provider does not serve", model=version, provider=before, instead=after or "none", why=text)
        tell(lambda at_ns: ProviderChanged(at_ns, at_ns, version, before, after, text))

    assembly.tell_providers(changed)


def tell_schedules(assembly: ConfiguredAssembly, deadline_us: float, log: Any) -> None:
    """Where each version runs is logged; one that takes longer than its answers may is an error before it is asked."""

    def scheduled(version: str, schedule: Schedule) -> None:
        if schedule.time_us is None or schedule.time_us <= deadline_us:
            log.info("a model runs", model=version, where=schedule.text)
            return
        log.error(
            "a model is too slow here: its predictions will be late, and nothing is entered on them",
            model=version,
            where=schedule.text,
            expected=f"at most models.deadline_us ({deadline_us:g})",
            do="promote a faster version, raise models.deadline_us, or use another machine",
        )

    assembly.tell_schedules(scheduled)


def _seated(core: TradingCore, instrument: str, role: Role) -> str:
    """Read from another thread: a seat is replaced as a whole."""
    lane = core.lanes.get(instrument)
    if lane is None:
        return ""
    seat = {"champion": lane.seat, "canary": lane.canary, "older": lane.older}[role]
    return "" if seat is None else seat.version


def _event(offer: Offer, at_ns: int) -> ModelOffered:
    wanted = offer.assignment
    return ModelOffered(
        at_ns,
        at_ns,
        offer.instrument,
        offer.role,
        wanted.model,
        wanted.spec,
        wanted.facts,
        float(offer.share),
        offer.reason,
    )
