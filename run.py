"""Kestrel's command line: ``python run.py COMMAND --help``.

The only file that names concrete classes across packages; what they do lies there.  A ``KestrelError`` becomes
one line on stderr and a non-zero exit; a traceback is a defect of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from config import commands as config_commands
from config import data_commands, data_record
from config.commands import parse_overrides
from connectors.coinbase.sandbox.commands import sandbox_coinbase
from engine import arithmetic
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json, print_line
from engine.errors import ConfigError, KestrelError
from engine.runtime import commands as operator_commands
from engine.runtime import order_commands
from engine.runtime.redaction import redactor
from models import commands as models_commands

if TYPE_CHECKING:
    from config.schema import Settings
    from engine.ports import Clock, Publish, Venue
    from engine.runtime.succession import Left

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
sandbox_app = typer.Typer(help="Local venue servers with a real matching engine.", no_args_is_help=True)
sandbox_app.command("coinbase")(sandbox_coinbase)
app.add_typer(sandbox_app, name="sandbox")


# --- trading ------------------------------------------------------------------------------------------------------


@app.command()
def paper(
    files: Annotated[list[Path] | None, typer.Argument(help="recorded Parquet files, after --replay")] = None,
    config: ConfigOption = None,
    venue: Annotated[str | None, typer.Option(help="coinbase")] = None,
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
    from engine.runtime.summary import encode

    files = files or []
    if files and not play:
        raise ConfigError(f"unexpected argument {files[0]}", expected="--replay before recorded files")
    if play and not files:
        raise ConfigError("--replay without files", expected="--replay FILE...", do="name the recorded files")
    if play and feed not in (None, "replay"):
        raise ConfigError(f"--feed {feed} with --replay", expected="one of the two", do="leave one of them out")
    pace = _speed(speed)
    if seconds is not None and not 0 < seconds < float("inf"):
        raise ConfigError(f"--for {seconds}", expected="a positive number of seconds")
    named = {"venue.name": venue, "venue.feed": "replay" if files else feed}
    wanted = parse_overrides(assign) | {key: value for key, value in named.items() if value is not None}
    settings = load(config or (), overrides=wanted)
    if settings.venue.feed == "replay" and not files:
        raise ConfigError("feed replay without files", expected="--replay FILE...", do="name the recorded files")
    daemon = _paper_daemon(
        settings,
        files,
        pace,
        seconds=seconds,
        session=session,
        report=report,
        venue_truth=venue_truth,
        as_json=as_json,
    )
    summary = _run_loop(daemon.run, uvloop=settings.engine.uvloop)
    daemon.show(summary)
    if as_json:
        print_line(encode(summary).decode())


def _paper_daemon(
    settings: Settings,
    files: Sequence[Path],
    speed: float | Literal["max"],
    *,
    seconds: float | None,
    session: str,
    report: bool,
    as_json: bool,
    venue_truth: bool = False,
    watching: bool = False,
) -> Any:
    """Wire a paper session, or one that only watches: which instruments, which core, which venue."""
    from config.assembly import ConfiguredAssembly
    from config.preflight import check_session, seen_in_training
    from config.venues import CoinbaseOnPaper, Endpoints, Recording, SandboxTrading, foreseen_instruments
    from config.wiring import build_core, resolve
    from connectors.lag import LoopLag
    from engine.data.parquet import describe_files
    from engine.data.published import read_observations, split_files
    from engine.features import jit, kept
    from engine.runtime.daemon import Daemon, Parts
    from engine.runtime.shadow import make_warmer

    files, published = split_files(files)
    infos = describe_files(files) if files or published else ()
    series = read_observations(published)
    known = [info.instrument for info in infos] if files else foreseen_instruments(settings)
    instruments = list(dict.fromkeys(instrument.id for instrument in known))
    settings = resolve(settings, instruments)
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns)
    if sys.stderr.isatty() and jit.enabled() and not any(jit.cache_root().glob("*")):
        print("compiling the features, once (half a minute)", file=sys.stderr)
    if not watching:
        check_session(settings, known, assembly, published={one.series for one in series})
    kept.prune(jit.cache_root())

    def make_venue(
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        id_prefix: str,
        folder: Path,
        say: Callable[[str], None],
        left: Left | None,
    ) -> Venue:
        if files:
            in_sample = seen_in_training([model.bundle.manifest for model in assembly.models], files)
            return Recording(settings, files, speed, publish, clock, say, id_prefix, in_sample, series)
        if settings.venue.feed == "live":
            return CoinbaseOnPaper(settings, publish, clock, lag_ns, Endpoints(), id_prefix, assembly.history, say)
        exchange = _exchange(settings, folder)
        return SandboxTrading(settings, exchange, publish, clock, lag_ns, say, assembly.history, left)

    return Daemon(
        _options(
            settings,
            mode="record" if watching else "paper",
            infos_start_ns=min((info.first_ns for info in infos), default=0),
            seconds=seconds,
            session=session,
            report=report,
            venue_truth=venue_truth,
            as_json=as_json,
        ),
        Parts(
            core=lambda recorder, probe, prefix: build_core(
                settings, instruments, recorder=recorder, assembly=assembly, id_prefix=prefix, probe=probe
            ),
            venue=make_venue,
            lag=LoopLag,
            warmer=lambda venue, core, clock: make_warmer(
                venue,
                core,
                lambda recorder: build_core(
                    settings,
                    instruments,
                    recorder=recorder,
                    assembly=assembly.twin(),
                    id_prefix="shadow",
                ),
                clock,
                interval_ms=settings.engine.shadow_interval_ms if settings.engine.shadow_tick else 0,
            ),
        ),
    )


def _options(
    settings: Settings,
    *,
    mode: Literal["paper", "record"],
    infos_start_ns: int,
    seconds: float | None,
    session: str,
    report: bool,
    venue_truth: bool,
    as_json: bool,
) -> Any:
    from config.venues import account_of
    from engine.runtime.daemon import Options
    from models.catalogue import list_bundles

    data_time = settings.venue.feed == "replay"
    named = [row["version"] for row in list_bundles(settings.models.directory) if row["version"]]
    return Options(
        mode=mode,
        root=settings.session.directory,
        code_root=ROOT,
        config=settings.redacted(),
        session=session,
        seed=settings.sandbox.seed,
        rates=sorted(settings.portfolio.rates.items()),
        models=tuple(named),
        feed=settings.venue.feed,
        data_time=data_time,
        start_ns=infos_start_ns,
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
        seconds=seconds,
        as_json=as_json,
        report=report,
        # Whoever only watches has no orders there.
        account=account_of(settings) if mode != "record" else "",
        venue_truth=venue_truth,
        watchdog=_watchdog(settings) if mode != "record" else None,
        flatten_s=settings.shutdown.flatten_timeout_s if settings.shutdown.positions == "flatten" else None,
        busy_poll=settings.engine.busy_poll,
        # Played files are stored already, or can be imported as what they are.
        record_to=settings.data.catalogue if settings.data.record and not data_time else None,
    )


def _watchdog(settings: Settings) -> Any:
    """What looks after the orders of an account that outlives the session; None for any other account."""
    from config.venues import cancel_only_of
    from engine.runtime.watchdog import Rules
    from engine.runtime.watchdog_keeper import WatchdogPlan

    wanted, told = settings.watchdog, cancel_only_of(settings)
    if not wanted.enabled or told is None:
        return None
    rules = Rules(
        stuck_s=wanted.stuck_s,
        start_s=wanted.start_s,
        halt_s=wanted.halt_s,
        on_death=wanted.on_death,
        give_up_s=wanted.give_up_s,
    )
    return WatchdogPlan("connectors.coinbase.cancel_only", told, rules)


def _record(settings: Settings, seconds: float | None, session: str, as_json: bool) -> Any:
    daemon = _paper_daemon(
        settings, (), "max", seconds=seconds, session=session, report=False, as_json=as_json, watching=True
    )
    _run_loop(daemon.run, uvloop=settings.engine.uvloop)
    return daemon.stored, daemon.not_stored


def _compact(sessions: Path, wanted: str, catalogue: Path) -> Any:
    from engine.runtime.compaction import Compaction
    from engine.runtime.session import find_session

    return Compaction(find_session(sessions, wanted), catalogue).run()


data_record.register(data_commands.app, _record, _compact)


def _exchange(settings: Settings, folder: Path) -> Any:
    """The built-in exchange: a child of this session, or one that runs already."""
    from config.venues import RunningServer
    from engine.runtime.child import ChildServer

    if settings.venue.rest_url is not None:
        return RunningServer(settings)
    key_file = folder / "sandbox_key.json"
    return ChildServer("sandbox", _sandbox_command(settings, key_file), {"--port": "sandbox.port"})


def _sandbox_command(settings: Settings, key_file: Path) -> list[str]:
    """The child that ``paper`` starts; it prints where it listens and ends with its stdin."""
    command = [sys.executable, str(ROOT / "run.py"), "sandbox", "coinbase", "--key-file", str(key_file)]
    command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
    command += ["--speed", str(settings.sandbox.speed), "--rate", str(settings.sandbox.rate_per_s)]
    command += ["--history", str(settings.sandbox.history_s)]
    for currency, amount in sorted(settings.sandbox.balances.items()):
        command += ["--balance", f"{currency}={amount}"]
    for symbol in settings.venue.symbols:
        command += ["--product", symbol.replace("/", "-")]
    return command


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
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns)
    # Bits are comparable only where processor and libraries equal; elsewhere the bundle's tolerance holds.
    same_machine = header.processor == processor() and header.libraries == library_versions()
    recorder = ReplayRecorder()
    core = build_core(
        settings,
        list(settings.risk.allowed_instruments or ()),
        recorder=recorder,
        assembly=ReplayAssembly(
            recorder,
            assembly,
            recompute=recompute,
            tolerance=lambda: 0.0 if same_machine else assembly.tolerance(),
        ),
        id_prefix=order_prefix(header.session),
    )
    outcome = rerun(recorded, recorder, core, salvage=salvage)
    outcome.show(sys.stderr if as_json else sys.stdout)
    if as_json:
        print_json(outcome.content())
    raise typer.Exit(outcome.status)


@app.command()
def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="how many, one after the other")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="the first of them")] = 1,
    hours: Annotated[float, typer.Option(min=0.01, max=240.0, help="of simulated trading with faults, each")] = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """The whole daemon under simulated time, network and faults (exit 1 if an invariant is broken)."""
    from config.simulation import SimulatedWorld
    from engine.runtime.simulation.command import run_sweep

    chosen = range(first_seed, first_seed + seeds)
    raise typer.Exit(run_sweep(SimulatedWorld(), chosen, hours=hours, as_json=as_json))


for _command in (
    operator_commands.status,
    operator_commands.halt,
    operator_commands.reduce,
    operator_commands.resume,
    order_commands.order,
    order_commands.cancel,
    order_commands.close,
    order_commands.flatten,
):
    app.command()(_command)


@app.command()
def train(
    config: Annotated[Path, typer.Option("--config", help="such as config/train/demo-crypto.yaml")],
    out: Annotated[Path | None, typer.Option(help="folder of bundles to write to")] = None,
    data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a network and write its bundle.  Needs the extra train (make test installs it)."""
    try:
        from models.trainer.train import train as run_training
    except ModuleNotFoundError as error:
        raise KestrelError(
            f"the trainer needs {error.name}", expected="the extra train", do="pip install -e '.[cpu,train]'"
        ) from None
    result = run_training(config, out=out, data=data)
    if as_json:
        print_json(result)


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


# --- shared -------------------------------------------------------------------------------------------------------


def _speed(text: str) -> float | Literal["max"]:
    if text == "max":
        return "max"
    with contextlib.suppress(ValueError):
        if 0 < (factor := float(text)) < float("inf"):
            return factor
    raise ConfigError(f"--speed {text}", expected="a positive number or max")


def _run_loop(make: Callable[[], Any], *, uvloop: bool) -> Any:
    """Run a coroutine to its end, on uvloop where it is wanted and installed."""
    factory = None
    if uvloop:
        try:
            import uvloop as fast

            factory = fast.new_event_loop
        except ImportError:
            factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(make())


def _refuse(text: str, status: int) -> NoReturn:
    text = redactor.text(text)  # what a venue or a user's own code said may quote a key
    print(f"kestrel: {text}", file=sys.stderr)
    if "--json" in sys.argv:
        print_json({"error": text})
    sys.exit(status)


def main() -> None:
    """The entry point: known errors in one line, money never made of floats."""
    for descriptor in (0, 1, 2):
        # Started with a stream closed: its number must not go to a journal file that a library then "prints" into.
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    arithmetic.install()
    try:
        status = app(standalone_mode=False)
        if status == 130:
            print("kestrel: interrupted", file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)
    except KestrelError as error:
        _refuse(str(error), error.exit_code)
    except TyperException as error:
        # A wrong option or argument, in one line as well; a bare group of commands has said its help already.
        said = error.format_message().strip()
        if not said:
            sys.exit(error.exit_code)
        path = getattr(getattr(error, "ctx", None), "command_path", "run.py")
        _refuse(f"{said.rstrip('.')}; see: python {path} --help", error.exit_code)
    except KeyboardInterrupt:
        print("kestrel: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away: nothing to tell anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
