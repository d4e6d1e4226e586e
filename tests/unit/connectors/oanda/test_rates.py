"""Currency rates as the venue converts them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.fakes import EventLog, FakeClock
from connectors.oanda import rates
from connectors.oanda.orders import define
from connectors.oanda.rates import RateWatch, between, worths
from connectors.oanda.wire import HomeConversion, InstrumentRow, Pricing
from engine.errors import VenueError
from engine.events import RateReported

D = Decimal
LISTED = {name: define(InstrumentRow(name, 5, 0, D(1), D(100), D("0.02")), "oanda") for name in ("EUR_USD", "USD_JPY")}


class Directory:
    """Answers with what it was given last."""

    def __init__(self, **worth: str) -> None:
        self.listed = LISTED
        self.worth = worth
        self.asked: list[list[str]] = []

    async def pricing(self, names: list[str], *, conversions: bool) -> Pricing:
        assert conversions
        self.asked.append(list(names))
        return Pricing("", [HomeConversion(currency, D(value)) for currency, value in self.worth.items()])


def watch(directory: Directory, log: EventLog, *rated: str, counted_in: str = "USD") -> RateWatch:
    return RateWatch(
        directory,  # type: ignore[arg-type]
        log,
        FakeClock(7),
        counted_in=counted_in,
        rated=rated,
        every_s=0.001,
    )


def test_worths_are_counted_in_the_portfolios_currency() -> None:
    """An account in euros, a portfolio in dollars; nothing where the venue does not know the dollar."""
    told = [HomeConversion("USD", D("0.8")), HomeConversion("JPY", D("0.006")), HomeConversion("X", D("NaN"))]
    assert worths("EUR", told, "USD") == {"USD": D(1), "JPY": D("0.0075"), "EUR": D("1.25")}
    assert worths("EUR", told, "CHF") == {}
    assert worths("EUR", [HomeConversion("USD", D(0))], "USD") == {}


def test_a_pair_is_found_in_either_order() -> None:
    """By what is listed."""
    assert between("USD", "EUR", LISTED.values()) == "EUR_USD"
    assert between("EUR", "JPY", LISTED.values()) == ""


async def test_rates_are_told_at_the_start_and_when_they_have_moved() -> None:
    """Half a basis point is the least that is worth a record."""
    directory, log = Directory(JPY="0.0066", USD="1"), EventLog()
    made = watch(directory, log)
    await made.open("USD", {"USD", "JPY"})
    assert directory.asked == [["USD_JPY"]]
    assert log == [RateReported(7, 7, "JPY", D("0.0066"))]
    made.start()
    try:
        for value in ("0.0066001", "0.0067"):
            directory.worth["JPY"] = value
            asked = len(directory.asked)
            while len(directory.asked) < asked + 2:
                await rates.asyncio.sleep(0.001)
    finally:
        await made.stop()
    assert [event.rate for event in log.of(RateReported)] == [D("0.0066"), D("0.0067")]


async def test_nothing_is_asked_where_every_rate_is_known() -> None:
    """One currency, or rates that are configured, or a session that counts nothing."""
    for made in (watch(Directory(), EventLog(), "JPY"), watch(Directory(), EventLog(), counted_in="")):
        await made.open("USD", {"USD", "JPY"})
        made.start()
        assert made.needed == frozenset()
        await made.stop()


async def test_money_that_could_not_be_valued_ends_the_start() -> None:
    """One line with the setting that would help."""
    with pytest.raises(VenueError, match=r"portfolio\.rates\.JPY"):
        await watch(Directory(USD="1"), EventLog()).open("USD", {"JPY"})
