"""Whatever bytes an OANDA stream or answer brings, the parsers count it and go on."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.orders import read_answer
from connectors.oanda.protocol import PriceProtocol
from connectors.oanda.sandbox.views import price_json
from connectors.verdicts import Verdict
from tests.support.oanda import Venue

NAMES = {"EUR_USD": "EUR/USD@oanda", "USD_JPY": "USD/JPY@oanda"}


def _recorded() -> tuple[bytes, bytes]:
    """Lines of both streams, as the sandbox says them."""
    venue = Venue()
    venue.rest("LIMIT", units="5", price="1.08000", clientExtensions={"id": "a"})
    venue.buy(100, stopLossOnFill={"price": "1.07"}, takeProfitOnFill={"price": "1.09"})
    venue.quote("1.07900", "1.08000")
    venue.quote("1.09000", "1.09010")
    transactions = [msgspec.json.encode(entry.body) + b"\n" for entry in venue.account.log.since(0)]
    markets = [venue.exchange.markets.by_name[name] for name in NAMES]
    prices = [msgspec.json.encode(price_json(market, market.quote)) + b"\n" for market in markets if market.quote]
    return b"".join(prices), b"".join(transactions)


PRICES, TRANSACTIONS = _recorded()

mutations = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.sampled_from(["flip", "drop", "insert", "repeat"]), st.binary(max_size=6)),
    max_size=8,
)


def mutate(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    made = bytearray(data)
    for where, how, extra in changes:
        place = where % (len(made) or 1)
        if how == "flip" and made:
            made[place] ^= (extra or b"\x01")[0] or 1
        elif how == "drop":
            del made[place : place + len(extra) + 1]
        elif how == "insert":
            made[place:place] = extra
        else:
            made[place:place] = made[place : place + 200]
    return bytes(made)


@settings(max_examples=150, deadline=None)
@given(changes=mutations, cuts=st.lists(st.integers(0, 1 << 20), max_size=6))
def test_mutated_lines_never_raise_and_cuts_change_nothing(
    changes: list[tuple[int, str, bytes]], cuts: list[int]
) -> None:
    """Both streams, whole and in pieces: the same events."""
    for data, make in (
        (PRICES, lambda: PriceProtocol("oanda", NAMES)),
        (TRANSACTIONS, lambda: AccountProtocol("oanda", NAMES, "USD")),
    ):
        body = mutate(data, changes)
        places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
        whole, pieces = make(), make()
        expected = list(whole.receive_frame(body, 1))
        told = []
        for start, end in pairwise(places):
            told += pieces.receive_frame(body[start:end], 1)
        assert told == expected


@settings(max_examples=100, deadline=None)
@given(status=st.integers(100, 599), changes=mutations)
def test_mutated_answers_never_raise(status: int, changes: list[tuple[int, str, bytes]]) -> None:
    """Answers to orders and to sinceid; nothing is accepted that does not say so."""
    body = b'{"orderCreateTransaction":' + TRANSACTIONS.splitlines()[3] + b',"lastTransactionID":"9"}'
    answer = read_answer(status, mutate(body, changes))
    assert answer.verdict is not Verdict.ACCEPTED or 200 <= status < 300
    protocol = AccountProtocol("oanda", NAMES, "USD")
    whole = b'{"transactions":[' + b",".join(TRANSACTIONS.splitlines()) + b'],"lastTransactionID":"12"}'
    try:
        since = wire.decode_transactions(mutate(whole, changes))
    except wire.UNREADABLE:
        return
    protocol.receive_since(since, 1)
    assert protocol.last_id <= protocol.told_id


@pytest.mark.parametrize("data", [PRICES, TRANSACTIONS], ids=["prices", "transactions"])
def test_the_recorded_lines_are_all_read(data: bytes) -> None:
    """Else the fuzz would mutate what nobody reads."""
    protocol = PriceProtocol("oanda", NAMES) if data is PRICES else AccountProtocol("oanda", NAMES, "USD")
    assert protocol.receive_frame(data, 1)
    assert protocol.counters.malformed == 0
