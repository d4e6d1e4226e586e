"""What watches a session's models, as configured: whether anything does, and what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from config.asked import NO_MODEL, listens
from config.following import check_of
from config.load import restore, session_limits
from config.schema import Settings, StrategySettings
from engine.codec import Record
from engine.core import TradingCore
from engine.errors import ConfigError
from engine.events import Prediction
from engine.features import load_columns
from engine.instruments import Instrument
from models.bundle import Bundle, load_bundle
from models.catalogue import load_named
from models.life.checking import Checked, Checker, examine
from models.observer.admission import Admission
from models.observer.evidence import EvidenceStore, Key
from models.observer.observer import Observer
from models.observer.paired import Paired
from models.observer.readings import Traded
from models.observer.rolling import carry_out
from models.observer.shadows import Workshop
from models.observer.told import Judged, Told
from models.onnx_model import OnnxModel
from models.registry.store import Registry
from models.serving.schedule import usable_cores
from risk.gate import Gate
from strategies.registry import read_params
from strategies.threshold import ThresholdStrategy
from strategies.threshold_params import ThresholdParams

FOLDER = "observer"
"""In a session's folder: what its shadows said, and what is known of its models."""


def is_watched(settings: Settings, instruments: Iterable[Instrument]) -> bool:
    """Whether a session on these instruments has a process that watches its models.

    ``auto``: where a mixture is weighed by what its members lost lately, and where the registry has a champion, canary
    or shadow for one of them.  Raises ``BundleError`` for a registry that is damaged.
    """
    wanted = settings.models.watch.enabled
    if wanted != "auto":
        return wanted
    known = list(instruments)
    if any(mixture.weighing == "recent" for mixture in settings.mixtures):
        return True
    return any(
        one.champion is not None or one.canary is not None or one.shadow
        for one in Registry(settings.models.registry).standings(lambda scope: any(map(scope.covers, known)))
    )


def build_observer(
    settings: Settings,
    folder: Path | None,
    *,
    session: str = "",
    checker: Checker | None = None,
    shadows: Sequence[Bundle] = (),
    pairs: dict[Key, Paired] | None = None,
) -> Observer:
    """Of a session that ran, or runs, with these settings.  ``folder``: where it writes; None: nowhere.

    ``session``: which one it is, where what is found of challengers is kept for the next one (a live market alone).
    ``checker``: checks shadows in a process each, beside the reading; None: they are checked here.
    ``shadows``: those to run, in place of the registry's; ``pairs``: what was found of them before.  Raises
    ``KestrelError`` where the folder cannot be written.
    """
    models = settings.models
    instruments = list(settings.risk.allowed_instruments or ())
    if settings.features.columns_folder is not None:
        load_columns(settings.features.columns_folder)

    def core_of(**parts: Any) -> TradingCore:
        return TradingCore(
            gate=Gate(session_limits(settings, instruments, live=False)),
            currency=settings.portfolio.currency,
            id_prefix="observer",
            consolidated=[one.definition() for one in settings.consolidated],
            tolerances=settings.quality.tolerances(),
            **parts,
        )

    def check(bundle: Bundle, given_up: Callable[[], bool]) -> Checked:
        task = check_of(settings, bundle)
        return examine(task) if checker is None else checker.check(task, given_up)

    admission = Admission(
        check,
        deadline_us=models.deadline_us,
        schedule=models.schedule,
        cores=usable_cores(),
        one_by_one=models.by_step,
        in_background=checker is not None,
    )
    workshop = Workshop(models.registry, folder, OnnxModel, bytes_max=models.watch.predictions_mb << 20)
    return Observer(
        core_of,
        find=lambda version: load_named(models.directory, version, registry=models.registry),
        workshop=workshop,
        registry=None if shadows else models.registry,
        rules=models.watch.rules(),
        rollout=models.rollout.rules(models.deadline_us),
        admission=admission,
        shadows=tuple(shadows),
        pairs=pairs,
        store=_evidence_of(settings, session) if session and settings.venue.feed == "live" else None,
        traded=partial(traded_on, settings.strategies),
    )


def traded_on(strategies: Sequence[StrategySettings], instrument: Instrument) -> Traded:
    """What is judged of a model there: the output and the thresholds of the first strategy that uses one.  Parameters
    of a class of one's own may mean anything else, but for the output's name."""
    using = [one for one in strategies if one.model != NO_MODEL and listens(one, instrument)]
    return traded_by(using[0]) if using else Traded()


def traded_by(strategy: StrategySettings) -> Traded:
    """The output that a strategy names and, where they are known, its thresholds.  Raises ``ConfigError`` for
    parameters that are none."""
    if strategy.kind != "threshold":
        return Traded(str(strategy.params.get("output", "")))
    params = cast(ThresholdParams, read_params(ThresholdStrategy, strategy.name, strategy.params))
    if params.buy is None or params.sell is None:
        return Traded(params.output)
    return Traded(params.output, params.buy, params.sell)


def carry_out_as_configured(settings: Settings, told: Told, now_ns: int, observer: Observer) -> str:
    """What of the session's findings changes the registry: what was done, or why not; empty where there was nothing.

    ``observer`` said so, and tells it again where it could not be done.  A session's clock does not follow a step of
    the machine's, so its times tell nothing of how old a record is while the daemon goes on."""
    models = settings.models
    rules = models.rollout.rules(models.deadline_us)
    return carry_out(
        told,
        Registry(models.registry),
        rules,
        now_ns,
        feed=settings.venue.feed,
        upto_ns=now_ns if observer.is_live else observer.last_seq_ns,
        again=observer.not_done,
    )


def judge_again(
    recorded: Iterable[tuple[str, dict[str, Any], Iterable[Record]]], registry: Path, version: str
) -> list[Judged]:
    """What recorded sessions (id, configuration and records of each, in order) say of a version as their shadow.

    Raises ``BundleError`` for a version that is none, ``ConfigError`` where the same hours would count twice, or
    sessions are judged by unlike things."""
    bundle = load_bundle(Registry(registry).path_of(version))
    bundle.check_version(version)
    pairs: dict[Key, Paired] = {}
    judged: list[Judged] = []
    upto_ns, first, sessions = -1, "", list(recorded)
    names = [session for session, _, _ in sessions]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise _counted_twice(f"session {twice} is named twice")
    for session, config, records in sessions:
        ends_ns = upto_ns
        settings = restore(config, {"models.registry": str(registry)})
        judged_by = _judged_by(settings)
        if judged_by != (first := first or judged_by):
            raise ConfigError(
                f"session {session} is judged by {judged_by}, session {names[0]} by {first}",
                expected="sessions that trade on the same: losses and profits of others do not add up",
                do="judge on each of them by itself",
            )
        observer = build_observer(settings, None, shadows=[bundle], pairs=pairs)
        for record in records:
            if type(record) is Prediction:
                if record.ts_recv_ns <= upto_ns:
                    raise _counted_twice(f"session {session} predicted before the one named in front of it had ended")
                ends_ns = max(ends_ns, record.ts_recv_ns)
            observer.take(record)
        upto_ns = ends_ns
        judged = observer.judge_now()
    return judged


def _counted_twice(seen: str) -> ConfigError:
    return ConfigError(
        seen,
        expected="sessions one after another: rows that are counted twice are no evidence",
        do="name each once with --session, in the order of their times",
    )


def _evidence_of(settings: Settings, session: str) -> EvidenceStore:
    """Of these instruments and what is traded on there, by spans of this length: evidence of others is evidence of
    something else."""
    allowed = settings.risk.allowed_instruments or ()
    named = allowed if isinstance(allowed, str) else ", ".join(sorted(allowed))
    about = f"live; {settings.venue.name}: {named}; {_judged_by(settings)}"
    return EvidenceStore(settings.models.registry, about, session)


def _judged_by(settings: Settings) -> str:
    """Spans, the bound of a profit, and what strategies trade on."""
    rollout = settings.models.rollout
    told = f"{rollout.span_s:g} s; {rollout.profit_max_bps:g} bps"
    for traded in dict.fromkeys(traded_by(one) for one in settings.strategies if one.model != NO_MODEL):
        if traded.output or not math.isnan(traded.buy):
            told += f"; {traded.output or 'the first output'}: {traded.buy:g} to {traded.sell:g}"
    return told
