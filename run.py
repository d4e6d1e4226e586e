"""Kestrel's command line: ``python run.py COMMAND --help``.

The only file that names concrete classes across packages; what they do lies there.
"""

from __future__ import annotations

from engine.runtime import interrupt  # noqa: F401 - first: from here on Ctrl-C is one line

# isort: split
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from config import commands as config_commands
from config import (
    data_commands,
    data_record,
    doctor_command,
    live_command,
    paper_command,
    simulate_command,
    venue_commands,
)
from config.commands import parse_overrides
from config.session_plan import SessionPlan
from connectors.binance.sandbox.commands import sandbox_binance, sandbox_binance_usdm
from connectors.coinbase.sandbox.commands import sandbox_coinbase
from connectors.kraken.sandbox.commands import sandbox_kraken
from connectors.oanda.sandbox.commands import sandbox_oanda
from connectors.robin_stocks.sandbox.commands import sandbox_robin_stocks
from connectors.robinhood.sandbox.commands import sandbox_robinhood
from engine.cli import JsonFlag, print_json, print_line
from engine.runtime import commands as operator_commands
from engine.runtime import model_commands, observe_command, order_commands, process, replay_command, session_commands
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
    from config.schema import Settings
    from engine.core import TradingCore
    from engine.events import Observation
    from engine.replay import ReplayRecorder
    from engine.runtime.session import Session, SessionHeader

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


def _run(settings: Settings, plan: SessionPlan, files: Sequence[Path] = (), *, admitted: Subject | None = None) -> None:
    daemon = _daemon(settings, plan, files, admitted=admitted)
    summary = process.run_loop(daemon.run, uvloop=settings.engine.uvloop, cpu=settings.engine.cpu)
    daemon.show(summary)
    if plan.as_json:
        from engine.runtime.summary import encode

        print_line(encode(summary).decode())


paper_command.register(app, _run)


def _daemon(
    settings: Settings, plan: SessionPlan, files: Sequence[Path] = (), *, admitted: Subject | None = None
) -> Any:
    """Wire a session: which instruments, which core, which venue.  ``admitted``: what was looked at before it may trade
    live."""
    from config.assembly import ConfiguredAssembly
    from config.demo import with_fitting_demo
    from config.made_up import check_made_up
    from config.preflight import check_session
    from config.recording import describe_recordings, split_recordings
    from config.session_options import observer_plan, options_of
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
    observer = observer_plan(settings, known, (sys.executable, str(ROOT / "run.py"), "observe"))
    options = options_of(settings, plan, ROOT, start_ns=start_ns, observer=observer)
    return Daemon(options, _parts(settings, plan, instruments, assembly, files, series, worker))


def _parts(
    settings: Settings,
    plan: SessionPlan,
    instruments: Sequence[str],
    assembly: ConfiguredAssembly,
    files: Sequence[Path],
    published: Sequence[Observation],
    worker: Any,
) -> Any:
    """What a daemon is put together of.  ``worker``: where models run that are not for the loop, None in data time."""
    from config.chosen_venue import ChosenVenue
    from config.following import follow_registry, tell_providers, tell_schedules
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
        tell_schedules(assembly, settings.models.deadline_us, log)
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
    daemon = _daemon(
        settings, SessionPlan(mode="record", seconds=seconds, session=session, report=False, as_json=as_json)
    )
    process.run_loop(daemon.run, uvloop=settings.engine.uvloop, cpu=settings.engine.cpu)
    return daemon.stored, daemon.not_stored


def _compact(sessions: Path, wanted: str, catalogue: Path) -> Any:
    from engine.runtime.compaction import Compaction
    from engine.runtime.session import find_session

    return Compaction(find_session(sessions, wanted), catalogue).run()


data_record.register(data_commands.app, _record, _compact)


def _around() -> Any:
    """What a look before a start reaches of this machine, and of what earlier sessions left on it."""
    from config.doctor import Around
    from config.session_options import place_of
    from engine.runtime.clocks import SystemClock
    from engine.runtime.control import user_run_folder
    from engine.runtime.preconditions import machine_findings
    from engine.runtime.redaction import redactor
    from engine.runtime.succession import Succession

    def identify(subject: Subject) -> Any:
        if not subject.account or subject.venue_truth:
            return lambda _identity: None
        return Succession(user_run_folder(), subject.account).check_identity

    return Around(lambda subject: machine_findings(place_of(subject, ROOT)), identify, SystemClock, redactor.text)


doctor_command.register(app, _around)
live_command.register(app, _around, lambda subject, plan: _run(subject.settings, plan, admitted=subject))


def _exchange(settings: Settings, folder: Path, *, live: bool) -> Any:
    """The built-in exchange: a child of this session, or one that runs already; live: the venue at its addresses."""
    from config.exchange import RunningServer, is_running
    from config.venue_registry import kind_of
    from engine.runtime.child import ChildServer

    if live or is_running(settings):
        return RunningServer(settings, live=live)
    command = kind_of(settings).sandbox_command(settings, folder / "sandbox_key.json", ROOT / "run.py")
    return ChildServer("sandbox", command, {"--port": "sandbox.port"})


def _build_again(
    header: SessionHeader, assign: Sequence[str], recorder: ReplayRecorder, recompute: bool, same_machine: bool
) -> TradingCore:
    from config.assembly import ConfiguredAssembly
    from config.load import restore
    from config.wiring import build_core
    from engine.replay import ReplayAssembly
    from engine.runtime.session import order_prefix

    settings = restore(header.config, parse_overrides(assign))
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns, recorded=lambda: recorder.assigned)
    return build_core(
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


replay_command.register(app, _build_again)


def _observe(session: Session) -> Any:
    from config.load import restore
    from config.observing import FOLDER, build_observer, carry_out_as_configured
    from engine.runtime.secrecy import without_secrets
    from models.life.checking import Checker

    settings = restore(session.header.config, {})
    observer = build_observer(
        settings,
        session.path / FOLDER,
        session=f"{session.id} {session.header.created_ns}",
        checker=Checker(ROOT, without_secrets()),
    )
    return observer, lambda told: carry_out_as_configured(settings, told, time.time_ns(), observer)


observe_command.register(app, _observe)


def _judge(sessions: Path, names: Sequence[str], registry: Path, version: str) -> Any:
    from config.observing import judge_again
    from engine.runtime.journal_reader import read_journal
    from engine.runtime.rerun import open_recorded

    recorded = (open_recorded(sessions, name) for name in names)
    read = ((one.id, one.header.config, (each.record for each in read_journal(one.journal))) for one in recorded)
    return judge_again(read, registry, version)


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
refresh_command.register(models_commands.app, _compact, _commit)
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
