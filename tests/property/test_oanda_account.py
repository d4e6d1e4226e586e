"""Answers and transactions of an OANDA account of whatever shape: a start ends in one line or begins with numbers, and
books of an account that is told nonsense stay books."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.fakes import FakeClock
from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import AccountBooks
from connectors.oanda.directory import Directory
from connectors.oanda.orders import define
from connectors.oanda.rates import worths
from connectors.oanda.resume import told_until
from connectors.oanda.sandbox.queries import Queries
from connectors.oanda.sandbox.settings import Switches
from connectors.oanda.sandbox.views import details_json, instrument_json
from connectors.oanda.settings import OandaSettings
from connectors.oanda.trading import _readable
from engine import codec
from engine.errors import VenueError
from tests.property.test_coinbase_protocol_frames import reshaped
from tests.support.oanda import NOW_NS, Venue

NAMES = {"EUR_USD": "EUR/USD@oanda", "USD_JPY": "USD/JPY@oanda"}


def _told() -> dict[str, bytes]:
    """What the sandbox answers about an account that has traded."""
    venue = Venue()
    venue.rest("LIMIT", units="5", price="1.05000", clientExtensions={"id": "a"})
    venue.buy(300)
    venue.buy(-100)
    venue.buy(-250)
    markets, account = venue.exchange.markets, venue.account
    prices = Queries(markets, Switches()).prices(
        account, {"instruments": ",".join(NAMES), "includeHomeConversions": "true"}, NOW_NS
    )
    made: dict[str, Any] = {
        "/v3/accounts": {"accounts": [{"id": account.id, "tags": []}]},
        "instruments": {"instruments": [instrument_json(market.rules) for market in markets.by_name.values()]},
        "pricing": prices,
        account.id: {"account": details_json(account, markets), "lastTransactionID": str(account.log.last)},
        "sinceid": {
            "transactions": [entry.body for entry in account.log.since(0)], "lastTransactionID": str(account.log.last)
        },
        "transactions": {"pages": ["https://host/x?from=3&to=9"], "lastTransactionID": str(account.log.last)},
    }  # fmt: skip
    return {name: msgspec.json.encode(body) for name, body in made.items()}


TOLD = _told()
LAST = int(msgspec.json.decode(TOLD["sinceid"])["lastTransactionID"])


class Answers:
    """One answer is of another shape."""

    def __init__(self, name: str, body: bytes) -> None:
        self._told = {**TOLD, name: body}

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        return self._told[path if path == "/v3/accounts" else path.rpartition("/")[2]]


async def _begin(rest: Answers) -> None:
    directory = Directory(OandaSettings(symbols=("EUR/USD", "USD/JPY")), rest, FakeClock(NOW_NS))
    await directory.find_account()
    await directory.define()
    await directory.clock_offset_ns()
    account, at = await directory.details()
    books = AccountBooks(account.currency, directory.instruments)
    books.open(account, at)
    books.begin(directory.instruments)
    assert all(total.is_finite() for total in books.totals().values())
    worths(account.currency, (await directory.pricing(list(NAMES), conversions=True)).homeConversions, "EUR")
    since = await directory.transactions_since(2, LAST)
    told_until(_readable(since), {}, {"EUR_USD": Decimal(0)}, 2, LAST)
    await directory.last_before(NOW_NS)


@pytest.mark.fault("C13")
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_start_on_answers_of_another_shape_is_one_line_or_works(data: Any) -> None:
    """Each answer that a start reads, with one member of another type or missing: nothing but ``VenueError`` is raised,
    and no amount that is no number becomes a balance."""
    name = data.draw(st.sampled_from(sorted(TOLD)))
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(VenueError):
        patch.setattr("connectors.oanda.directory.LAG_S", 0.0)
        asyncio.run(_begin(Answers(name, data.draw(reshaped([TOLD[name]])))))


ROWS = [msgspec.json.encode(one) for one in msgspec.json.decode(TOLD["sinceid"])["transactions"]]
RULES = {
    row.name: define(row, "oanda")
    for row in wire.decode_instruments(TOLD["instruments"]).instruments
    if row.name in NAMES
}


@pytest.mark.fault("C13")
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_transactions_of_another_shape_leave_books_that_can_be_told(data: Any) -> None:
    """One of them has a member of another type or none: it is passed over and the account is doubtful, or what it says
    is told; amounts stay numbers, and what is told can be journaled."""
    rows = list(ROWS)
    place = data.draw(st.integers(0, len(rows) - 1))
    rows[place] = data.draw(reshaped([rows[place]]))
    books = AccountBooks("USD", RULES)
    protocol = AccountProtocol("oanda", NAMES, "USD", books)
    protocol.start(0)
    answer = wire.Transactions([msgspec.Raw(row) for row in rows], str(LAST))
    for event in protocol.receive_since(answer, NOW_NS):
        assert codec.encode(codec.decode(codec.encode(event))) == codec.encode(event)
    assert all(total.is_finite() for total in books.totals().values())
    assert protocol.last_id == LAST or protocol.missing_since is not None or protocol.doubtful
