"""What is open for orders, and that the answer is never older than the last fact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as e
from engine.venues import VenueStates
from tests.support.core import BTC, D, spot

ETH = "ETH/USD@coinbase"
statuses = st.sampled_from([*e.TradingStatus])
facts = st.one_of(
    st.builds(
        e.FeedUp, st.just(1), st.just(1), st.sampled_from(["coinbase", "kraken"]), st.sampled_from(["market", "user"])
    ),
    st.builds(
        e.FeedDown,
        st.just(1),
        st.just(1),
        st.sampled_from(["coinbase", "kraken"]),
        st.sampled_from(["market", "user"]),
        st.sampled_from(["reset", ""]),
    ),
    st.builds(e.VenueStatus, st.just(1), st.just(1), st.sampled_from(["coinbase", "kraken"]), statuses),
    st.builds(e.InstrumentStatus, st.just(1), st.just(1), st.sampled_from([BTC, ETH]), statuses),
)


def tell(states: VenueStates, fact: object) -> None:
    if isinstance(fact, e.FeedUp):
        states.feed_up(fact)
    elif isinstance(fact, e.FeedDown):
        states.feed_down(fact)
    elif isinstance(fact, e.VenueStatus):
        states.venue_status(fact)
    else:
        assert isinstance(fact, e.InstrumentStatus)
        states.instrument_status(fact)


@given(st.lists(facts, max_size=12))
def test_the_reason_is_never_older_than_the_last_fact(told: list[object]) -> None:
    """Asked after every fact, beside states that are asked for the first time."""
    states = VenueStates()
    states.define(spot())
    states.define(spot(id=ETH))
    for count, fact in enumerate(told, 1):
        tell(states, fact)
        fresh = VenueStates()
        for earlier in told[:count]:
            tell(fresh, earlier)
        fresh.define(spot())
        fresh.define(spot(id=ETH))
        for instrument in (BTC, ETH):
            assert states.reason_closed(instrument) == fresh.reason_closed(instrument)


def test_each_fact_that_closes_is_named() -> None:
    """From never up over halted to open."""
    states = VenueStates()
    assert states.reason_closed(BTC) == "instrument not defined"
    states.define(spot())
    assert "never up" in states.reason_closed(BTC)
    states.feed_up(e.FeedUp(1, 1, "coinbase", "market"))
    states.feed_up(e.FeedUp(1, 1, "coinbase", "user"))
    assert states.reason_closed(BTC) == ""
    states.instrument_status(e.InstrumentStatus(1, 1, BTC, e.TradingStatus.HALTED))
    assert states.reason_closed(BTC) == f"{BTC} is halted"
    states.venue_status(e.VenueStatus(1, 1, "coinbase", e.TradingStatus.CANCEL_ONLY))
    assert states.reason_closed(BTC) == "venue coinbase is cancel_only"


def test_a_definition_that_changes_is_the_one_that_is_told() -> None:
    """Defined again with another lot; what is not defined raises."""
    states = VenueStates()
    with pytest.raises(KeyError):
        states.instrument(BTC)
    for lot in ("0.001", "0.01"):
        states.define(spot(lot_qty=D(lot)))
        assert states.instrument(BTC).lot_qty == D(lot)
