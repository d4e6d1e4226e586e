"""What the runtime is told of a configuration: how a session runs, what looks after it, and where it would run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from config.doctor_checks import Subject
from config.exchange import account_of, cancel_only_of
from config.observing import FOLDER, is_watched
from config.schema import Settings
from config.session_plan import SessionPlan
from config.wiring import own_code
from engine.errors import BundleError
from engine.instruments import Instrument
from engine.session_options import CONFIRM_S, ObserverPlan, Options, Place, Rules, WatchdogPlan
from models.catalogue import list_bundles
from models.observer.blame import at_work
from models.registry.champions import champions


def options_of(
    settings: Settings, plan: SessionPlan, code_root: Path, *, start_ns: int, observer: ObserverPlan | None = None
) -> Options:
    """``start_ns``: time of the first event of a recording; 0 for a live feed.

    Raises ``ConfigError`` for a key file that is none.
    """
    data_time = settings.venue.feed == "replay"
    records = plan.mode == "record"  # whoever only watches has no orders there
    named = [row["version"] for row in list_bundles(settings.models.directory) if row["version"]]
    named += [version for version in champions(settings.models.registry) if version not in named]
    return Options(
        mode=plan.mode,
        root=settings.session.directory,
        code_root=code_root,
        config=settings.redacted(),
        session=plan.session,
        seed=settings.sandbox.seed,
        rates=sorted(settings.portfolio.rates.items()),
        models=tuple(named),
        feed=settings.venue.feed,
        data_time=data_time,
        start_ns=start_ns,
        fsync=settings.journal.fsync,
        fsync_interval_ms=settings.journal.interval_ms,
        segment_mb=settings.journal.segment_mb,
        metrics_host=settings.metrics.host,
        metrics_port=settings.metrics.port,
        log_level=settings.logs.level,
        log_folder=settings.logs.directory,
        log_max_mb=settings.logs.max_mb,
        log_keep=settings.logs.keep,
        timer_ms=settings.engine.timer_ms,
        clock_step_limit_ms=settings.engine.clock_step_limit_ms,
        cancel_timeout_s=settings.shutdown.cancel_timeout_s,
        self_check_s=settings.session.self_check_s,
        seconds=plan.seconds,
        as_json=plan.as_json,
        report=plan.report,
        account="" if records else account_of(settings, live=plan.live),
        venue_truth=plan.venue_truth,
        watchdog=None if records else watchdog_plan(settings, plan),
        flatten_s=settings.shutdown.flatten_timeout_s if settings.shutdown.positions == "flatten" else None,
        busy_poll=settings.engine.busy_poll,
        own_code=tuple(own_code(settings)),
        # Played files and a market that is only stored are no deployment.
        approval=None if records or data_time else settings.session.approved,
        files_read=settings.files,
        # Played files are stored already, or can be imported as what they are.
        record_to=settings.data.catalogue if settings.data.record and not data_time else None,
        confirm_s=CONFIRM_S if plan.live else None,
        only_check=plan.only_check,
        observer=None if records else observer,
    )


def watchdog_plan(settings: Settings, plan: SessionPlan) -> WatchdogPlan | None:
    """What looks after the orders of an account that outlives the session; None for any other account.  A session that
    only checks leaves them where they are, whatever ends it."""
    wanted = settings.watchdog
    told = cancel_only_of(settings, live=plan.live) if wanted.enabled else None
    if told is None:
        return None
    given = wanted.model_dump(exclude={"enabled", "at_venue_s"})  # the second is the connector's
    given |= {"on_death": "keep", "only_looks": True} if plan.only_check else {}
    return WatchdogPlan(told.module, told.told, Rules(**given))


def observer_plan(settings: Settings, instruments: Iterable[Instrument], command: Sequence[str]) -> ObserverPlan | None:
    """What watches the models of a session, started by ``command`` when there is anything to watch; None where nothing
    ever does."""
    watch, known = settings.models.watch, list(instruments)
    if watch.enabled is False:
        return None

    def is_wanted() -> bool:
        try:
            return is_watched(settings, known)
        except BundleError:
            return False  # a registry that is damaged is told by whoever needs it, and mended by somebody

    return ObserverPlan(command, watch.restarts_max, lambda session: at_work(session / FOLDER), is_wanted)


def place_of(subject: Subject, code_root: Path) -> Place:
    """Where the session of a subject would run."""
    settings = subject.settings
    return Place(
        sessions=settings.session.directory,
        logs=settings.logs.directory,
        code_root=code_root,
        config=settings.redacted(),
        own_code=own_code(settings),
        account=subject.account,
        currency=settings.portfolio.currency,
        approval=settings.session.approved,
        approving=subject.live,
        segment_mb=settings.journal.segment_mb,
        fsync=settings.journal.fsync,
        metrics_host=settings.metrics.host,
        metrics_port=settings.metrics.port,
        venue_truth=subject.venue_truth,
    )
