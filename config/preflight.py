"""What is looked at before a session exists: limits, currencies, features and models that could never serve it,
venues whose prices are not those of one thing.

Owns the refusals that need no venue.  Each of them would otherwise end a session that has begun, or let it run and do
nothing.  A replay asks none of this: it runs what was recorded.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from config.asked import NO_MODEL, listens
from config.exchange import is_matched_here
from config.feature_specs import own_spec
from config.load import session_limits
from config.observing import traded_by
from config.schema import Settings, StrategySettings
from config.venue_kind import TellsRates
from config.venue_registry import kind_of
from engine.consolidated import check_members, consolidated_instrument
from engine.errors import ConfigError
from engine.features import FeatureSpec
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import Assembly, Assignment
from engine.seats import expiry_of, is_vacant
from models.catalogue import AUTO, load_named
from models.manifest import Manifest
from risk.limits import Limits, check_usable, unmatched
from strategies.registry import KINDS, read_params


def check_session(
    settings: Settings,
    instruments: Sequence[Instrument],
    assembly: Assembly,
    *,
    live: bool = False,
    published: Collection[str] = (),
) -> None:
    """Refuse a session on ``instruments`` that its settings leave nothing to do.

    ``published``: series that are played beside those of ``exogenous.series``.  Raises ``ConfigError`` or
    ``BundleError``.  Models that are opened here stay open in ``assembly``.
    """
    if not settings.strategies:
        raise ConfigError(
            "strategies is empty",
            expected="at least one strategy",
            do="see config/paper.yaml; to store the market without trading: python run.py data record",
        )
    ids = list(dict.fromkeys(instrument.id for instrument in instruments))
    limits = session_limits(settings, ids, live=live)
    check_usable(limits, ids)
    warn_of_unmatched(settings, limits, ids)
    # What a live account holds is known when it is asked.
    if settings.venue.feed == "replay" or not isinstance(kind_of(settings), TellsRates):
        check_currencies(settings, instruments, () if live else foreseen_balances(settings))
    everything = [*instruments, *check_consolidated(settings, instruments)]
    check_models(settings, everything, assembly)
    check_surroundings(settings, everything, assembly, {*settings.exogenous.series, *published})


def warn_of_unmatched(settings: Settings, limits: Limits, ids: Collection[str]) -> None:
    """One line on stderr for limits that name what a session on ``ids`` has not: a mistyped one looks like a control
    to its owner.  No error, because a file of limits may serve several sessions."""
    found = unmatched(limits, ids, [one.name for one in settings.strategies])
    if found:
        print(f"warning: {found}: in this session that binds nothing", file=sys.stderr)


def check_currencies(
    settings: Settings, instruments: Sequence[Instrument], balances: Iterable[tuple[str, str, Decimal]]
) -> None:
    """Refuse money that nobody could value: equity would be unknown all along, and with it every entry refused.

    ``balances``: who says it, currency, amount.  Raises ``ConfigError`` naming the currency and the setting.
    """
    portfolio = settings.portfolio
    valued = {portfolio.currency, *portfolio.rates}
    for instrument in instruments:
        for currency in (instrument.settlement, instrument.quote if _is_paid(instrument) else instrument.settlement):
            if currency not in valued:
                raise _no_rate(settings, f"{instrument.id} is paid in {currency}", currency)
    bases = {instrument.base for instrument in instruments if _is_paid(instrument)}
    for key, currency, amount in balances:
        if amount and currency not in valued | bases:
            raise _no_rate(settings, f"{key} holds {currency}", currency)


def _is_paid(instrument: Instrument) -> bool:
    return instrument.asset_class in FULLY_PAID


def _no_rate(settings: Settings, seen: str, currency: str) -> ConfigError:
    own = settings.portfolio.currency
    return ConfigError(
        f"{seen}, and portfolio.rates does not say what that is worth in {own} (portfolio.currency)",
        expected="a rate for every currency that is held or traded in",
        do=f"set portfolio.rates.{currency} to the {own} for one {currency}, or choose another portfolio.currency",
    )


def foreseen_balances(settings: Settings) -> Iterator[tuple[str, str, Decimal]]:
    """What an account that is made with the session will hold at its start: the setting's name, currency, amount."""
    section = "sandbox" if settings.venue.feed == "sandbox" and not is_matched_here(settings) else "paper"
    if section == "paper" and settings.sources.get("paper.balances", "default") == "default":
        return  # then each account opens with the currencies of its own instruments
    for currency, amount in getattr(settings, section).balances.items():
        yield f"{section}.balances", currency, amount


def check_consolidated(settings: Settings, instruments: Sequence[Instrument]) -> list[Instrument]:
    """The consolidated instruments of a session, if their members are there and are the same thing.

    Raises ``ConfigError`` naming the members; the core asks again with the rules that the venues tell.
    """
    known = {instrument.id: instrument for instrument in instruments}
    made = []
    for wanted in settings.consolidated:
        definition = wanted.definition()
        if definition.instrument in known:
            raise ConfigError(
                f"consolidated has {definition.instrument}, which is an instrument of a venue here",
                expected="a name of its own",
                do="name the venue of that file otherwise",
            )
        made.append(consolidated_instrument(definition, check_members(definition, known)))
    return made


def check_models(settings: Settings, instruments: Sequence[Instrument], assembly: Assembly) -> None:
    """Refuse what the core would refuse later: features that make no spec, a bundle that is not there, is damaged or
    does not compute on this machine what it should, an instrument for which no bundle may be used.

    Raises ``ConfigError`` or ``BundleError`` with the reasons.
    """
    if settings.features.columns is not None or settings.features.set != "auto":
        own_spec(settings.features, has_trades=True)
    for mixture in settings.mixtures:
        if mixture.weighing == "recent" and settings.models.watch.enabled is False:
            raise ConfigError(
                f"mixture {mixture.name} has weighing: recent, and models.watch.enabled is false: nobody weighs it",
                expected="models.watch.enabled: auto or true",
                do="change one of the two",
            )
    for wanted in settings.strategies:
        if wanted.model not in (NO_MODEL, AUTO, *(mixture.name for mixture in settings.mixtures)):
            load_named(settings.models.directory, wanted.model, registry=settings.models.registry)
    for instrument in {instrument.id: instrument for instrument in instruments}.values():
        using = [wanted for wanted in settings.strategies if wanted.model != NO_MODEL and listens(wanted, instrument)]
        if using:
            check_judged(settings, using, instrument)
            assignment = assembly.assign(instrument, True)
            assembly.model(instrument, assignment)
            if is_vacant(assignment):
                print(f"warning: {nobody_serves(instrument.id)}", file=sys.stderr)
            else:
                if expiry_of(assignment) <= time.time_ns():
                    print(f"warning: {has_expired(instrument.id, assignment.model)}", file=sys.stderr)
                check_gates(using, instrument, assignment)


def check_judged(settings: Settings, using: Sequence[StrategySettings], instrument: Instrument) -> None:
    """Refuse rules that would promote a model for one of its outputs where strategies trade on several of them.

    Who names no output trades on the first one of whatever version serves: that is another one than the named, for the
    next version may have its outputs in another order.  Raises ``ConfigError``.
    """
    traded = {traded_by(wanted).output or "the first output": wanted.name for wanted in using}
    if settings.models.rollout.automatic and settings.venue.feed == "live" and len(traded) > 1:
        told = ", ".join(f"{name} on {output}" for output, name in traded.items())
        raise ConfigError(
            f"on {instrument.id} strategies trade on several outputs of the model: {told}",
            expected="one output with models.rollout.automatic: a challenger is judged by one",
            do="name one output in all of them (params.output), give them instruments of their own, or set "
            "models.rollout.automatic: false",
        )


def has_expired(instrument: str, model: str) -> str:
    """What a session is told that begins on an instrument whose champion is too old."""
    return (
        f"{model} on {instrument} has expired: strategies that use it enter nothing there, exits go on (promote "
        "another version: python run.py models promote NAME VERSION)"
    )


def nobody_serves(instrument: str) -> str:
    """What a session is told that begins on an instrument whose model was taken away."""
    return (
        f"no model serves {instrument}: the registry's was retired; strategies that use one enter nothing there, exits "
        "go on (promote another version: python run.py models promote NAME VERSION)"
    )


def check_gates(using: Sequence[StrategySettings], instrument: Instrument, assignment: Assignment) -> None:
    """Refuse a built-in strategy that would wait for ever: its gates ask for what the model does not tell.

    Raises ``ConfigError``.
    """
    for wanted in using:
        kind = KINDS.get(wanted.kind or "")
        objection = getattr(kind, "objection", None)
        if kind is None or objection is None:
            continue
        said = objection(read_params(kind, wanted.name, wanted.params), dict(assignment.facts))
        if said:
            raise ConfigError(
                f"strategy {wanted.name} with {assignment.model} on {instrument.id}: {said}",
                do=f"change the params of {wanted.name}, or its model",
            )


def check_surroundings(
    settings: Settings, instruments: Sequence[Instrument], assembly: Assembly, published: Collection[str]
) -> None:
    """Refuse features that read an instrument or a series which this session does not have: they would never be warm.

    Raises ``ConfigError`` naming it.
    """
    known = {instrument.id: instrument for instrument in instruments}
    for instrument in known.values():
        wanted = [one for one in settings.strategies if listens(one, instrument)]
        if not wanted:
            continue
        assignment = assembly.assign(instrument, any(one.model != NO_MODEL for one in wanted))
        if not assignment.spec:
            continue
        spec = FeatureSpec.from_json(assignment.spec)
        for peer in spec.peers:
            if peer not in known or peer == instrument.id:
                raise ConfigError(
                    f"features of {instrument.id} read the price of {peer}",
                    expected=f"another instrument of this session: {', '.join(known)}",
                    do="add it to venue.symbols or to the files, or limit the strategy's instruments",
                )
        for series in spec.series:
            if series not in published:
                raise ConfigError(
                    f"features of {instrument.id} read the published series {series}",
                    expected=f"one of exogenous.series ({', '.join(sorted(published)) or 'which is empty'})",
                    do="add it there, or play a file that holds it",
                )


def seen_in_training(manifests: Sequence[Manifest], files: Sequence[Path]) -> list[str]:
    """A line for each model that was trained on one of ``files``: what it earns there is no evidence.

    By name and content.  A file that was renamed is not recognised: hashing every recording would take longer than
    playing some of them.
    """
    digests: dict[Path, str] = {}
    lines = []
    for manifest in manifests:
        trained = {data.name: data.sha256 for data in manifest.training.data}
        found = []
        for file in files:
            if file.name in trained:
                if file not in digests:
                    with file.open("rb") as content:
                        digests[file] = hashlib.file_digest(content, "sha256").hexdigest()
                if digests[file] == trained[file.name]:
                    found.append(file.name)
        if found:
            lines.append(
                f"{manifest.name} was trained on {', '.join(found)}: what it earns here says nothing about other data"
            )
    return lines
