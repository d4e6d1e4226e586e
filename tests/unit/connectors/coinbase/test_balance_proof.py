"""Balances of an account that is traded while they are read: what they are with every fill in them, or no answer."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.coinbase.balance_proof import BalanceProof, Totals, may_be_executed
from connectors.coinbase.wire import Fill, format_time
from tests.support.coinbase import TS_NS, fill

D = Decimal
S = 1_000_000_000
MARGIN_NS = 400_000_000
START = {"USD": D(1000), "BTC": D(1)}


def traded(number: int, at_ns: int, qty: str = "0.5", px: str = "100", side: str = "BUY") -> Fill:
    listed = fill(f"e{number}", "v1", size=qty, price=px, side=side, commission="0.25", trade_time=format_time(at_ns))
    return msgspec.convert(listed, Fill, strict=False)


def after(fills: list[Fill], start: Totals = START) -> Totals:
    """Exact: what an exchange would say with these fills in."""
    found = dict(start)
    for one in fills:
        side = 1 if one.side == "BUY" else -1
        found["BTC"] += side * one.size
        found["USD"] -= side * one.size * one.price + one.commission
    return found


def test_a_quiet_account_is_known_at_once() -> None:
    """Old fills are in; nothing came meanwhile."""
    old = [traded(1, TS_NS - 10 * S)]
    assert BalanceProof(MARGIN_NS).narrow(after(old), TS_NS, old, old) == after(old)


@pytest.mark.parametrize("is_in", [False, True])
def test_a_fill_about_the_time_of_the_reading_needs_a_second_one(is_in: bool) -> None:
    """In the balances or not, listed before them or not: no answer; the next reading has one, with the fill."""
    for before in ([], [traded(1, TS_NS)]):
        proof, now = BalanceProof(MARGIN_NS), [traded(1, TS_NS)]
        assert proof.narrow(after(now if is_in else []), TS_NS, before, now) is None
        assert proof.narrow(after(now), TS_NS + S, now, now) == after(now)


@pytest.mark.fault("B1")
def test_an_entry_that_is_listed_twice_is_one_execution() -> None:
    """The second of two fills, which the balances do not have yet: put in twice, they would be told with it twice."""
    proof, one, other = BalanceProof(MARGIN_NS), traded(1, TS_NS), traded(2, TS_NS + 3 * S, qty="0.3", px="101")
    assert proof.narrow(START, TS_NS, [], [one, one]) is None
    found = proof.narrow(after([one]), TS_NS + 3 * S, [one, one], [one, one, other, other])
    assert found == after([one, other])


@pytest.mark.fault("C18")
def test_a_payment_between_two_readings_is_no_fill() -> None:
    """They have nothing in common: only the later one counts."""
    proof, now = BalanceProof(MARGIN_NS), [traded(1, TS_NS)]
    assert proof.narrow(START, TS_NS, [], now) is None
    paid = {**after(now), "USD": after(now)["USD"] + 7}
    assert proof.narrow(paid, TS_NS + S, now, now) == paid


def test_equal_fills_that_meet_each_reading_alike_are_no_proof() -> None:
    """Whether each reading has its fill or the one before cannot be told: no answer, however often."""
    proof = BalanceProof(MARGIN_NS)
    fills = [traded(n, TS_NS + n * S) for n in range(1, 20)]
    for n in range(1, 20):
        assert proof.narrow(after(fills[: n - 1]), TS_NS + n * S, fills[: n - 1], fills[:n]) is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_answer_is_always_the_right_one(data: st.DataObject) -> None:
    """Fills without a pause, of any size; readings at any moment between two of them.  What is answered is what the
    exchange holds once all listed fills are in; with different prices it is answered after a few."""
    draw = data.draw
    gap_ns = draw(st.sampled_from([50_000_000, 100_000_000, 300_000_000, 800_000_000]))
    fills = [
        traded(n, TS_NS + n * gap_ns, draw(st.sampled_from(["0.1", "0.2", "0.7"])), str(100 + n % 17),
               draw(st.sampled_from(["BUY", "SELL"])))
        for n in range(120)  # of which the last reading sees 106 at most
    ]  # fmt: skip
    proof = BalanceProof(MARGIN_NS)
    at = 10
    for _ in range(12):
        at += draw(st.integers(1, 4))
        listed = draw(st.integers(max(at - 2, 0), at))
        seen = draw(st.integers(at, at + 4))
        found = proof.narrow(after(fills[:at]), TS_NS + at * gap_ns, fills[:listed], fills[:seen])
        if found is not None:
            assert found == after(fills[:seen])
            return
        at = seen
    pytest.fail("no answer")


@pytest.mark.parametrize("fields", [{"trade_type": "REVERSAL"}, {"product_id": "BIP-20DEC30-CDE"}])
def test_while_an_entry_is_about_whose_effect_nobody_tells_there_is_no_answer(fields: dict[str, str]) -> None:
    """A contract's fill, or an adjustment: a reading well after it has it in it, whatever was read before."""
    proof = BalanceProof(MARGIN_NS)
    odd = msgspec.structs.replace(traded(1, TS_NS - S // 10), **fields)
    assert proof.narrow(START, TS_NS, [odd], [odd]) is None
    changed = {"USD": D(990), "BTC": D(1)}
    assert proof.narrow(changed, TS_NS + S, [odd], [odd]) == changed
    # An adjustment names the time of the execution that it is about, and is listed now.
    late = msgspec.structs.replace(traded(2, TS_NS - 60 * S), sequence_timestamp=format_time(TS_NS + 2 * S), **fields)
    assert proof.narrow(changed, TS_NS + 2 * S, [odd, late], [odd, late]) is None


@pytest.mark.fault("C14")
@pytest.mark.fault("C18")
@pytest.mark.parametrize(
    ("told", "is_so"),
    [
        ({"USD": 1100, "BTC": 0}, True),  # all of it was sold
        ({"USD": 900, "BTC": 2}, True),
        ({"USD": 900, "BTC": 1}, False),
        ({"USD": 1000, "BTC": 2}, False),
        ({"USD": 0, "BTC": 0}, False),
        ({"USD": 900, "ETH": 7}, False),  # nobody trades one for the other here
    ],
)
def test_executions_give_one_currency_for_the_other(told: dict[str, int], is_so: bool) -> None:
    """What only left was paid out, or a reading failed: no execution is waited for."""
    start = START | {"ETH": D(6)}
    found = {name: (D(is_), start[name]) for name, is_ in told.items() if is_ != start[name]}
    assert may_be_executed(found, ["BTC/USD@coinbase", "ETH/BTC@coinbase"]) is is_so
