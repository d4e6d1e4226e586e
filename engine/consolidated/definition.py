"""What a consolidated instrument is made of, and the checks that its members are the same thing on several venues.

Owns the mapping of symbols and the refusals that need no price.  Prices are compared at first sight by the
consolidator, which knows them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import combinations

import msgspec

from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.venues import CONSOLIDATED

TICK_RATIO_MAX = 1000
"""Coarsest price step over finest.  Venues that list the same thing differ by 10 or 100 (BTC/USDT on Binance: 0.01
spot, 0.1 futures); a price of another unit (cents, a contract of 1,000) differs by more, or shows at first sight."""


class ConsolidatedDefinition(msgspec.Struct, frozen=True):
    """One consolidated instrument.

    - ``instrument``: its id, ``BASE/QUOTE@consolidated``; ``members``: ids of what it is made of, two or more.
    - ``stale_ns``: a member whose last good quote is older has no vote.
    - ``wild_bps``: distance from the median beyond which a member has no vote, where a majority is within it.
    - ``band_bps``: largest distance from the others at a member's first quote; beyond it they are not the same thing.
    - ``equivalent``: currencies that count as another here, such as ``{"USDT": "USD", "XBT": "BTC"}``.
    - ``bar_ns``: length of the consolidated time bars, 0 for none.
    """

    instrument: str
    members: tuple[str, ...]
    stale_ns: int = 5_000_000_000
    wild_bps: float = 50.0
    band_bps: float = 500.0
    equivalent: dict[str, str] = {}
    bar_ns: int = 0

    def __post_init__(self) -> None:
        name, members = self.instrument, self.members
        if not name.endswith(f"@{CONSOLIDATED}") or "/" not in name:
            raise ConfigError(f"consolidated instrument {name!r}", expected=f"an id such as BTC/USD@{CONSOLIDATED}")
        if len(members) < 2 or len(set(members)) != len(members):
            raise ConfigError(
                f"{name} has the members {', '.join(members) or 'none'}",
                expected="two or more, each once",
                do="name the same instrument on several venues, such as BTC/USD@coinbase",
            )
        for member in members:
            if member.endswith(f"@{CONSOLIDATED}"):
                raise ConfigError(f"{name} has the member {member}", expected="instruments of venues, no consolidated")
        if self.stale_ns < 1 or not 0.0 < self.wild_bps <= self.band_bps < 10_000.0 or self.bar_ns < 0:
            raise ConfigError(
                f"{name} has stale_ns {self.stale_ns}, wild_bps {self.wild_bps:g}, band_bps {self.band_bps:g}",
                expected="a stale limit above 0 and 0 < wild_bps <= band_bps < 10000",
                do="correct them",
            )


def check_members(definition: ConsolidatedDefinition, instruments: Mapping[str, Instrument]) -> list[Instrument]:
    """The members' rules in order, if they are the same thing: base and quote, positive prices, comparable steps.

    Raises ``ConfigError`` naming the members that differ.
    """
    found = []
    for name in definition.members:
        instrument = instruments.get(name)
        if instrument is None:
            near = difflib.get_close_matches(name, instruments, n=1, cutoff=0.3)
            raise ConfigError(
                f"{definition.instrument} has the member {name}, which this session does not have",
                expected=near[0] if near else f"one of {', '.join(sorted(instruments)) or 'none'}",
                do="correct consolidated.members, or add its venue or file",
            )
        _check_kind(definition, instrument)
        found.append(instrument)
    for one, other in combinations(found, 2):
        _check_steps(definition, one, other)
    return found


def consolidated_instrument(definition: ConsolidatedDefinition, members: Sequence[Instrument]) -> Instrument:
    """The rules of the consolidated instrument: finest steps of its members, sizes only where each gives them, trading
    hours where all have the same.

    It has no market of its own: bounds are those of the first member and nothing can be ordered.
    """
    first = members[0]
    name = definition.instrument
    calendars = {member.session_calendar for member in members}
    base, _, quote = name.removesuffix(f"@{CONSOLIDATED}").partition("/")
    return Instrument(
        id=name,
        venue=CONSOLIDATED,
        venue_symbol=f"{base}/{quote}",
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=first.asset_class,
        tick_px=min(member.tick_px for member in members),
        lot_qty=min(member.lot_qty for member in members),
        min_qty=min(member.min_qty for member in members),
        max_qty=first.max_qty,
        min_notional=Decimal(0),
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        has_quote_sizes=all(member.has_quote_sizes for member in members),
        has_trades=any(member.has_trades for member in members),
        session_calendar=calendars.pop() if len(calendars) == 1 else None,
    )


def pair_of(definition: ConsolidatedDefinition, instrument: Instrument) -> str:
    """``BASE/QUOTE`` of a member as this consolidated instrument reads it."""
    same = definition.equivalent
    return f"{same.get(instrument.base, instrument.base)}/{same.get(instrument.quote, instrument.quote)}"


def _check_kind(definition: ConsolidatedDefinition, instrument: Instrument) -> None:
    wanted = definition.instrument.removesuffix(f"@{CONSOLIDATED}")
    pair = pair_of(definition, instrument)
    if pair != wanted:
        raise ConfigError(
            f"{definition.instrument} has the member {instrument.id}, which is {pair}",
            expected=f"{wanted} on every venue",
            do="correct consolidated.members, or name in consolidated.equivalent which currencies count as the same",
        )
    if instrument.strike_px is not None or instrument.allows_negative_px:
        what = "is an option" if instrument.strike_px is not None else "may have negative prices"
        raise ConfigError(
            f"{definition.instrument} has the member {instrument.id}, which {what}",
            expected="prices above 0 of one underlying",
            do="leave it out",
        )


def _check_steps(definition: ConsolidatedDefinition, one: Instrument, other: Instrument) -> None:
    coarse, fine = max(one.tick_px, other.tick_px), min(one.tick_px, other.tick_px)
    if fine <= 0 or coarse > TICK_RATIO_MAX * fine:
        raise ConfigError(
            f"{definition.instrument}: the price steps of {one.id} ({one.tick_px}) and {other.id} ({other.tick_px}) "
            "are not comparable",
            expected=f"steps within a factor of {TICK_RATIO_MAX}",
            do="check that both quote the same unit, or leave one of them out",
        )
