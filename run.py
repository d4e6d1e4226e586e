"""Kestrel's command line: ``python run.py COMMAND --help``.

The only file that names concrete classes across packages; what they do lies there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from config import commands as config_commands
from config import data_commands, data_record, doctor_command, live_command, simulate_command, venue_commands
from config.commands import VenueOption, parse_overrides, parse_speed
from connectors.binance.sandbox.commands import sandbox_binance, sandbox_binance_usdm
from connectors.coinbase.sandbox.commands import sandbox_coinbase
from connectors.kraken.sandbox.commands import sandbox_kraken
from connectors.oanda.sandbox.commands import sandbox_oanda
from connectors.robin_stocks.sandbox.commands import sandbox_robin_stocks
from connectors.robinhood.sandbox.commands import sandbox_robinhood
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json, print_line
from engine.errors import ConfigError
from engine.runtime import commands as operator_commands
from engine.runtime import model_commands, order_commands, process, session_commands
from models import commands as models_commands
from models.evaluation import commands as evaluation_commands
from models.observer import commands as observer_commands
from models.results import commands as results_commands
from models.trainer import commands as trainer_commands
from models.trainer import refresh_command
from models.tuning import commands as tuning_commands

if TYPE_CHECKING:
    from config.assembly import ConfiguredAssembly
    from config.doctor_checks import Subject
    from config.live_command import LivePlan
    from config.schema import Settings
    from engine.events import Observation
    from engine.instruments import Instrument

ROOT = Path(__file__).resolve().parent
app = typer.Typer(
    name="kestrel",
    help="Kestrel: an event-driven trading engine in which the model is a first-class citizen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_commands.app, name="models")
app.add_typer(config_commands.app, name="config")
app.add_typer(data_commands.app, name="data")
app.add_typer(venue_commands.app, name="venue")
app.add_typer(session_commands.app, name="sessions")
sandbox_app = typer.Typer(help="Local venue servers with a real matching engine.", no_args_is_help=True)
sandbox_app.command("coinbase")(sandbox_coinbase)
sandbox_app.command("binance")(sandbox_binance)
sandbox_app.command("binance_usdm")(sandbox_binance_usdm)
sandbox_app.command("kraken")(sandbox_kraken)
sandbox_app.command("oanda")(sandbox_oanda)
sandbox_app.command("robin_stocks")(sandbox_robin_stocks)
sandbox_app.command("robinhood")(sandbox_robinhood)
app.add_typer(sandbox_app, name="sandbox")


# --- trading ------------------------------------------------------------------------------------------------------


@app.command()
def paper(
    files: Annotated[list[Path] | None, typer.Argument(help="recorded Parquet or .jsonl.gz, after --replay")] = None,
    config: ConfigOption = None,
    venue: VenueOption = None,
    feed: Annotated[str | None, typer.Option(help="sandbox (default), live or replay")] = None,
    play: Annotated[bool, typer.Option("--replay", help="play the recorded FILES that follow")] = False,
    speed: Annotated[str, typer.Option(help="of recorded files: a factor of recorded pace, or max")] = "max",
    seconds: Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="stop after so long")] = None,
    session: Annotated[str, typer.Option(help="name of the session folder (default: made from the time)")] = "",
    report: Annotated[bool, typer.Option(help="write report.html at the end")] = True,
    venue_truth: Annotated[
        bool, typer.Option("--venue-truth", help="go on from what the venue says alone, not from the last session")
    ] = False,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Trade on paper: against the built-in exchange, the live market, or recorded files."""
    from config.load import load

    files = files or []
    if files and not play:
        raise ConfigError(f"unexpected argument {files[0]}", expected="--replay before recorded files")
    if play and not files:
        raise ConfigError("--replay without files", expected="--replay FILE...", do="name the recorded files")
    if play and feed not in (None, "replay"):
        raise ConfigError(f"--feed {feed} with --replay", expected="one of the two", do="leave one of them out")
    pace = parse_speed(speed)
    if seconds is not None and not 0 < seconds < float("inf"):
        raise ConfigError(f"--for {seconds}", expected="a positive number of seconds")
    named = {"venue.name": venue, "venue.feed": "replay" if files else feed}
    wanted = parse_overrides(assign) | {key: value for key, value in named.items() if value is not None}
    settings = load(config or (), overrides=wanted)
    if settings.venue.feed == "replay" and not files:
        raise ConfigError("feed replay without files", expected="--replay FILE...", do="name the recorded files")
    plan = _Plan(speed=pace, seconds=seconds, session=session, report=report, venue_truth=venue_truth, as_json=as_json)
    _run(_daemon(settings, plan, files), settings, as_json=as_json)


def _run(daemon: Any, settings: Settings, *, as_json: bool) -> None:
    summary = process.run_loop(daemon.run, uvloop=settings.engine.uvloop)
    daemon.show(summary)
    if as_json:
        from engine.runtime.summary import encode

        print_line(encode(summary).decode())


@dataclass(frozen=True)
class _Plan:
    """What was typed of a session.  ``mode`` record: it only watches; ``only_check``: it ends before it would trade."""

    mode: Literal["paper", "live", "record"] = "paper"
    speed: float | Literal["max"] = "max"
    seconds: float | None = None
    session: str = ""
    report: bool = True
    venue_truth: bool = False
    as_json: bool = False
    only_check: bool = False

    @property
    def live(self) -> bool:
        return self.mode == "live"


def _daemon(settings: Settings, plan: _Plan, files: Sequence[Path] = (), *, admitted: Subject | None = None) -> Any:
    """Wire a session: which instruments, which core, which venue.  ``admitted``: what was looked at before it may trade
    live."""
    from config.assembly import ConfiguredAssembly
    from config.demo import with_fitting_demo
    from config.made_up import check_made_up
    from config.preflight import check_session
    from config.recording import describe_recordings, split_recordings
    from config.venue_registry import kind_of
    from config.wiring import resolve
    from engine.data.published import read_observations
    from engine.features import jit, kept
    from engine.runtime.daemon import Daemon
    from models.serving.worker import Worker

    files, published = split_recordings(files)
    infos = describe_recordings(files, settings) if files or published else ()
    series = read_observations(published)
    known = [info.instrument for info in infos] if files else kind_of(settings).foresee(settings)
    if not files and admitted is None:
        check_made_up(settings, known)
    instruments = list(dict.fromkeys(instrument.id for instrument in known))
    settings = resolve(settings if files or admitted else with_fitting_demo(settings, known), instruments)
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns) if admitted is None else admitted.assembly
    if sys.stderr.isatty() and jit.enabled() and not any(jit.cache_root().glob("*")):
        print("compiling the features, once (half a minute)", file=sys.stderr)
    if plan.mode == "paper":  # live was looked at before it was admitted
        check_session(settings, known, assembly, published={one.series for one in series})
    kept.prune(jit.cache_root())
    worker = None
    if settings.venue.feed != "replay":
        worker = Worker()
        assembly.use(worker)
    start_ns = min((info.first_ns for info in infos), default=0)
    options = _options(settings, plan, start_ns=start_ns, observer=_observer_of(settings, known))
    return Daemon(options, _parts(settings, plan, instruments, assembly, files, series, worker))


def _parts(
    settings: Settings,
    plan: _Plan,
    instruments: Sequence[str],
    assembly: ConfiguredAssembly,
    files: Sequence[Path],
    published: Sequence[Observation],
    worker: Any,
) -> Any:
    """What a daemon is put together of.  ``worker``: where models run that are not for the loop, None in data time."""
    from config.chosen_venue import ChosenVenue
    from config.following import follow_registry, tell_providers
    from config.wiring import build_core
    from connectors.lag import LoopLag
    from engine.runtime.logs import get_logger
    from engine.runtime.parts import Parts
    from engine.runtime.secrecy import without_secrets
    from engine.runtime.shadow import make_warmer

    live = plan.live

    def make_core(recorder: Any, probe: Any, prefix: str) -> Any:
        return build_core(
            settings, instruments, recorder=recorder, assembly=assembly, id_prefix=prefix, live=live, probe=probe
        )

    def make_companions(core: Any, tell: Any) -> Any:
        log = get_logger("models")
        if worker is None:
            log.info("models run in the loop", why="in data time an answer belongs to its row")
        assembly.tell_schedules(lambda version, schedule: log.info("a model runs", model=version, where=schedule.text))
        tell_providers(assembly, tell, log)
        return follow_registry(settings, assembly, tell, ROOT, env=without_secrets(), log=log, core=core)

    return Parts(
        core=make_core,
        venue=ChosenVenue(
            settings,
            assembly,
            lambda folder: _exchange(settings, folder, live=live),
            files=files,
            speed=plan.speed,
            published=published,
            accepts_others=plan.venue_truth,
            live=live,
        ),
        lag=LoopLag,
        warmer=lambda venue, core, clock: make_warmer(
            venue,
            core,
            lambda recorder: build_core(
                settings, instruments, recorder=recorder, assembly=assembly.twin(), id_prefix="shadow", live=live
            ),
            clock,
            interval_ms=settings.engine.shadow_interval_ms if settings.engine.shadow_tick else 0,
        ),
        companions=make_companions,
        worker=worker,
    )


def _observer_of(settings: Settings, instruments: Sequence[Instrument]) -> Any:
    """What watches the models of a session; None where nothing does."""
    from config.observing import is_watched
    from engine.errors import BundleError
    from engine.runtime.observer_keeper import ObserverPlan

    try:
        watched = is_watched(settings, instruments)
    except BundleError:
        return None  # a registry that is damaged is told by whoever needs it
    command = (sys.executable, str(ROOT / "run.py"), "observe")
    return ObserverPlan(command, settings.models.watch.restarts_max) if watched else None


def _options(settings: Settings, plan: _Plan, *, start_ns: int, observer: Any = None) -> Any:
    from config.exchange import account_of
    from config.wiring import own_code
    from engine.runtime.parts import Options
    from engine.runtime.rehearsal import CONFIRM_S
    from models.catalogue import list_bundles
    from models.registry.champions import champions

    data_time = settings.venue.feed == "replay"
    records = plan.mode == "record"  # whoever only watches has no orders there
    named = [row["version"] for row in list_bundles(settings.models.directory) if row["version"]]
    named += [version for version in champions(settings.models.registry) if version not in named]
    return Options(
        mode=plan.mode,
        root=settings.session.directory,
        code_root=ROOT,
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
        seconds=plan.seconds,
        as_json=plan.as_json,
        report=plan.report,
        account="" if records else account_of(settings, live=plan.live),
        venue_truth=plan.venue_truth,
        watchdog=None if records else _watchdog(settings, live=plan.live),
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


def _watchdog(settings: Settings, *, live: bool) -> Any:
    """What looks after the orders of an account that outlives the session; None for any other account."""
    from config.exchange import cancel_only_of
    from engine.runtime.watchdog import Rules
    from engine.runtime.watchdog_keeper import WatchdogPlan

    wanted = settings.watchdog
    told = cancel_only_of(settings, live=live) if wanted.enabled else None
    if told is None:
        return None
    rules = Rules(**wanted.model_dump(exclude={"enabled", "at_venue_s"}))  # the second is the connector's
    return WatchdogPlan(told.module, told.told, rules)


def _approve(settings: Settings, reason: str) -> dict[str, Any]:
    """As a session with these settings would begin."""
    import msgspec

    from config.demo import with_fitting_demo
    from config.venue_registry import kind_of
    from config.wiring import own_code, resolve
    from engine.runtime.approval import build_of, write_approval

    path = settings.session.approved
    assert path is not None
    foreseen = kind_of(settings).foresee(settings)
    settings = resolve(with_fitting_demo(settings, foreseen), [instrument.id for instrument in foreseen])
    build = build_of(settings.redacted(), ROOT, own_code(settings))
    made: dict[str, Any] = msgspec.to_builtins(write_approval(path, build, reason, time.time_ns()))
    return made


config_commands.register(_approve)


def _record(settings: Settings, seconds: float | None, session: str, as_json: bool) -> Any:
    daemon = _daemon(settings, _Plan(mode="record", seconds=seconds, session=session, report=False, as_json=as_json))
    process.run_loop(daemon.run, uvloop=settings.engine.uvloop)
    return daemon.stored, daemon.not_stored


def _compact(sessions: Path, wanted: str, catalogue: Path) -> Any:
    from engine.runtime.compaction import Compaction
    from engine.runtime.session import find_session

    return Compaction(find_session(sessions, wanted), catalogue).run()


data_record.register(data_commands.app, _record, _compact)


def _around() -> Any:
    """What a look before a start reaches of this machine, and of what earlier sessions left on it."""
    from config.doctor import Around
    from config.wiring import own_code
    from engine.runtime.clocks import SystemClock
    from engine.runtime.control import user_run_folder
    from engine.runtime.preconditions import Place, machine_findings
    from engine.runtime.redaction import redactor
    from engine.runtime.succession import Succession

    def machine(subject: Subject) -> Any:
        settings = subject.settings
        return machine_findings(
            Place(
                sessions=settings.session.directory,
                logs=settings.logs.directory,
                code_root=ROOT,
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
        )

    def identify(subject: Subject) -> Any:
        if not subject.account or subject.venue_truth:
            return lambda _identity: None
        return Succession(user_run_folder(), subject.account).check_identity

    return Around(machine, identify, SystemClock, redactor.text)


def _live(subject: Subject, plan: LivePlan) -> None:
    wanted = _Plan(
        mode="live",
        seconds=plan.seconds,
        session=plan.session,
        report=plan.report,
        as_json=plan.as_json,
        venue_truth=plan.venue_truth,
        only_check=plan.only_check,
    )
    _run(_daemon(subject.settings, wanted, admitted=subject), subject.settings, as_json=plan.as_json)


doctor_command.register(app, _around)
live_command.register(app, _around, _live)


def _exchange(settings: Settings, folder: Path, *, live: bool) -> Any:
    """The built-in exchange: a child of this session, or one that runs already; live: the venue at its addresses."""
    from config.exchange import RunningServer, is_running
    from config.venue_registry import kind_of
    from engine.runtime.child import ChildServer

    if live or is_running(settings):
        return RunningServer(settings, live=live)
    command = kind_of(settings).sandbox_command(settings, folder / "sandbox_key.json", ROOT / "run.py")
    return ChildServer("sandbox", command, {"--port": "sandbox.port"})


@app.command()
def replay(
    session: Annotated[str, typer.Argument(help="id, unique beginning of an id, folder, or latest")],
    recompute: Annotated[bool, typer.Option("--recompute", help="also run features and model again")] = False,
    salvage: Annotated[bool, typer.Option("--salvage", help="read a damaged journal up to its damage; exit 3")] = False,
    sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions"),
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a recorded session again and report the first decision that differs (exit 1 if any)."""
    from config.assembly import ConfiguredAssembly
    from config.load import restore
    from config.wiring import build_core
    from engine.replay import ReplayAssembly, ReplayRecorder
    from engine.runtime.provenance import library_versions, processor
    from engine.runtime.rerun import open_recorded, rerun
    from engine.runtime.session import order_prefix

    recorded = open_recorded(sessions, session)
    header = recorded.header
    settings = restore(header.config, parse_overrides(assign))
    recorder = ReplayRecorder()
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns, recorded=lambda: recorder.assigned_model)
    # Bits are comparable only where processor and libraries equal; elsewhere the bundle's tolerance holds.
    same_machine = header.processor == processor() and header.libraries == library_versions()
    core = build_core(
        settings,
        list(settings.risk.allowed_instruments or ()),
        recorder=recorder,
        assembly=ReplayAssembly(
            recorder,
            assembly,
            recompute=recompute,
            tolerance=lambda: 0.0 if same_machine else assembly.tolerance(),
            batch_tolerance=assembly.tolerance,
        ),
        id_prefix=order_prefix(header.session),
        live=header.mode == "live",
    )
    outcome = rerun(recorded, recorder, core, salvage=salvage)
    outcome.show(sys.stderr if as_json else sys.stdout)
    if as_json:
        print_json(outcome.content())
    raise typer.Exit(outcome.status)


@app.command(hidden=True)
def observe(
    folder: Annotated[Path, typer.Argument(help="of the session")],
    process_id: Annotated[int, typer.Argument(help="of its daemon")],
) -> None:
    """Watch the models of a running session: started by its daemon."""
    from config.load import restore
    from config.observing import FOLDER, build_observer
    from engine.runtime.control import socket_path, user_run_folder
    from engine.runtime.observer_process import Telling, Watch, follow
    from engine.runtime.session import Session
    from models.observer.rolling import carry_out
    from models.registry.store import Registry

    session = Session.open(folder)
    settings = restore(session.header.config, {})
    telling = Telling(socket_path(user_run_folder(), session.id, process_id))
    rollout = settings.models.rollout.rules(settings.models.deadline_us)
    observer = build_observer(settings, session.path / FOLDER)

    def on_told(told: Any) -> None:
        print(told, file=sys.stderr, flush=True)
        registry = Registry(settings.models.registry)
        feed, upto_ns = settings.venue.feed, observer.last_seq_ns
        if done := carry_out(told, registry, rollout, time.time_ns(), feed=feed, upto_ns=upto_ns):
            print(done, file=sys.stderr, flush=True)

    watch = Watch(session.path, observer, telling, on_told)
    raise typer.Exit(follow(watch, telling))


def _judge(sessions: Path, names: Sequence[str], registry: Path, version: str) -> Any:
    """Recorded sessions again, with a version as their shadow."""
    from config.load import restore
    from config.observing import build_observer
    from engine.runtime.journal_reader import read_journal
    from engine.runtime.rerun import open_recorded
    from models.manifest import load_bundle
    from models.registry.store import Registry

    bundle = load_bundle(Registry(registry).path_of(version))
    bundle.check_version(version)
    pairs: dict[tuple[str, str, str], Any] = {}
    judged: Any = []
    for name in names:
        recorded = open_recorded(sessions, name)
        settings = restore(recorded.header.config, {"models.registry": str(registry)})
        observer = build_observer(settings, None, shadows=[bundle], pairs=pairs)
        for record in read_journal(recorded.journal):
            observer.take(record.record)
        judged = observer.judge_now()
    return judged


observer_commands.register(models_commands.app, _judge)


def _simulate(**plan: Any) -> int:
    from config.simulation import SimulatedWorld
    from engine.runtime.simulation.command import Plan, run_sweep

    return run_sweep(SimulatedWorld(), Plan(ROOT, **plan))


simulate_command.register(app, _simulate)


for _command in (
    operator_commands.status,
    operator_commands.halt,
    operator_commands.reduce,
    operator_commands.resume,
    order_commands.order,
    order_commands.cancel,
    order_commands.close,
    order_commands.flatten,
    model_commands.alarm,
):
    app.command()(_command)


def _commit() -> str:
    from engine.runtime.provenance import git_commit

    return git_commit(ROOT, apart_from=evaluation_commands.LEDGER)  # each evaluation adds its line to it


def _commit_of_code() -> str:
    from engine.runtime.provenance import git_commit

    return git_commit(ROOT, apart_from=results_commands.RESULTS)  # each entry that is done adds its files


trainer_commands.register(app, _commit)
refresh_command.register(models_commands.app, _compact)
evaluation_commands.register(app, _commit)
tuning_commands.register(app)
results_commands.register(app, _commit_of_code)


@app.command()
def bench(
    case: Annotated[list[str] | None, typer.Argument(help="lanes to run (default: all)")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="fewer repetitions")] = False,
    write: Annotated[bool, typer.Option("--write", help="rewrite docs/benchmarks.md (all lanes, not quick)")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the project's benchmarks on this machine."""
    from benchmarks.suite import run_suite

    result = run_suite(case or [], quick=quick, write=write)
    if as_json:
        print_json(result)


def main() -> None:
    """The entry point."""
    process.run_app(app)


if __name__ == "__main__":
    main()
