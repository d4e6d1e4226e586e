"""From settings to the parts of a core: limits, gate, strategies.  What needs the runtime is wired in ``run.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from config.asked import NO_MODEL
from config.load import session_limits
from config.schema import Settings
from config.venue_registry import kind_of
from connectors.paper import offer as paper
from engine.arithmetic import own_context
from engine.core import TradingCore
from engine.errors import ConfigError
from engine.lanes import StrategySlot
from engine.offers import Offer
from engine.ports import Assembly, Probe, Recorder
from engine.stakes import GUARDIAN
from risk.gate import Gate
from risk.limits import GuardianRules
from strategies.guardian import Guardian, GuardianParams
from strategies.registry import load_strategy, twin_of

DURABILITY_DEADLINE_NS = 1_000_000_000
DOLLARS = frozenset({"USD", "USDT", "USDC"})
"""Currencies of which the default rates hold: one unit of each is worth about one of the others."""


def resolve(settings: Settings, instruments: Sequence[str]) -> Settings:
    """The settings with ``risk.allowed_instruments: all`` written out: what a session records must say it all.

    The default rates are about dollars: a portfolio that is counted in anything else has none but its own.
    """
    portfolio = settings.portfolio
    if portfolio.currency not in DOLLARS and settings.sources.get("portfolio.rates", "default") == "default":
        settings = settings.model_copy(update={"portfolio": portfolio.model_copy(update={"rates": {}})})
    if settings.risk.allowed_instruments != "all":
        return settings
    risk = settings.risk.model_copy(update={"allowed_instruments": list(instruments)})
    return settings.model_copy(update={"risk": risk})


def own_code(settings: Settings) -> list[Path]:
    """The files of the user's own strategies."""
    named = [one.path.rpartition(":")[0] for one in settings.strategies if one.path is not None]
    return [Path(name) for name in dict.fromkeys(named) if name]


def build_slots(settings: Settings, instruments: Sequence[str]) -> list[StrategySlot]:
    """The configured strategies; ``all`` is every one of ``instruments`` (ids).

    Raises ``ConfigError`` for an unknown kind, a bad path, bad parameters or an instrument that is not there.
    """
    slots = []
    # ``all`` is what can be traded; a consolidated price is listened to where it is named.
    known = [*instruments, *(one.definition().instrument for one in settings.consolidated)]
    for wanted in settings.strategies:
        chosen = list(instruments) if wanted.instruments == "all" else wanted.instruments
        for instrument in chosen:
            if instrument not in known:
                raise ConfigError(
                    f"strategy {wanted.name} is to trade {instrument}",
                    expected=f"one of {', '.join(known)}",
                    do="correct its instruments or venue.symbols",
                )
        context = own_context()
        strategy = context.run(load_strategy, wanted.kind or wanted.path or "", wanted.name, chosen, wanted.params)
        uses_model = wanted.model != NO_MODEL
        slots.append(
            StrategySlot(
                strategy,
                instruments=frozenset(chosen),
                uses_model=uses_model,
                context=context,
                make_twin=partial(twin_of, strategy, instruments=chosen, params=wanted.params),
            )
        )
    guardian = build_guardian(settings, instruments)
    # Last: a strategy that leaves by itself has had its turn.
    return slots if guardian is None else [*slots, guardian]


def build_guardian(settings: Settings, instruments: Sequence[str]) -> StrategySlot | None:
    """What closes positions whatever their strategies do; None where ``risk.guardian`` asks for nothing."""
    rules = GuardianRules(**settings.risk.guardian.model_dump())
    if not rules.acts:
        return None
    params = GuardianParams(
        stop_bps=float(rules.stop_bps or 0),
        take_profit_bps=float(rules.take_profit_bps or 0),
        max_age_ns=int((rules.max_age_s or 0) * 1_000_000_000),
    )
    guardian = Guardian(GUARDIAN, list(instruments), params)
    return StrategySlot(guardian, instruments=frozenset(instruments), uses_model=False)


def build_core(
    settings: Settings,
    instruments: Sequence[str],
    *,
    recorder: Recorder,
    assembly: Assembly,
    id_prefix: str,
    live: bool = False,
    probe: Probe | None = None,
) -> TradingCore:
    """A core for ``instruments`` (ids) as configured; the daemon, a replay and a shadow build it alike."""
    return TradingCore(
        recorder=recorder,
        gate=Gate(session_limits(settings, instruments, live=live)),
        slots=build_slots(settings, instruments),
        assembly=assembly,
        currency=settings.portfolio.currency,
        id_prefix=id_prefix,
        hold_orders=settings.journal.fsync == "always",
        hold_deadline_ns=DURABILITY_DEADLINE_NS,
        probe=probe,
        tolerances=settings.quality.tolerances(),
        external_reduces=settings.venue.external_orders == "reduce",
        consolidated=[one.definition() for one in settings.consolidated],
        offers=build_offers(settings, instruments, live=live),
        rules=settings.models.breaker.rules(),
    )


def build_offers(settings: Settings, instruments: Sequence[str], *, live: bool = False) -> dict[str, Offer]:
    """Which orders each venue takes: the built-in exchange speaks its venue's protocol, all other fills on paper are
    made in this process."""
    offer = kind_of(settings).offer if live or settings.venue.feed == "sandbox" else paper.OFFER
    if not settings.venue.attach_exits:
        offer = msgspec.structs.replace(offer, entries=frozenset())
    if not settings.venue.edit_orders:
        offer = msgspec.structs.replace(offer, edits=frozenset())
    return {instrument.rpartition("@")[2]: offer for instrument in instruments}
