"""What strategies ask for on an instrument: which of them listen to it, which model and which outputs they trade on."""

from __future__ import annotations

from collections.abc import Iterable

from config.schema import StrategySettings
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.venues import CONSOLIDATED

NO_MODEL = "none"


def listens(strategy: StrategySettings, instrument: Instrument) -> bool:
    """``all`` is what can be traded: a consolidated price is listened to where it is named."""
    if strategy.instruments == "all":
        return instrument.venue != CONSOLIDATED
    return instrument.id in strategy.instruments


def asked_outputs(strategies: Iterable[StrategySettings], instrument: Instrument) -> frozenset[str]:
    """Names of those that are traded on; empty for a model's first."""
    named = frozenset(str(one.params.get("output", "")) for one in _with_model(strategies, instrument))
    return named or frozenset({""})


def asked_model(strategies: Iterable[StrategySettings], instrument: Instrument) -> str:
    """The one that all of them name.  Raises ``ConfigError`` where they name several."""
    names = {one.model for one in _with_model(strategies, instrument)}
    if len(names) > 1:
        raise ConfigError(
            f"strategies on {instrument.id} ask for the models {', '.join(sorted(names))}",
            expected="one model an instrument",
            do="give them the same model or other instruments",
        )
    return names.pop()


def _with_model(strategies: Iterable[StrategySettings], instrument: Instrument) -> list[StrategySettings]:
    return [one for one in strategies if one.model != NO_MODEL and listens(one, instrument)]
