"""What is open for orders, and that the answer is never older than the last fact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as e
from engine.commands import OrderType
from engine.stakes import GUARDIAN, OPERATOR
from engine.venues import Restriction, VenueStates
from tests.support.core import BTC, D, intent, spot

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
    st.builds(
        e.SessionScheduled,
        st.just(1),
        st.just(1),
        st.sampled_from(["coinbase", "kraken"]),
        st.sampled_from(["", BTC, ETH]),
        st.sampled_from([0, 5]),
        st.sampled_from([0, 9]),
        st.just("venue"),
    ),
    st.builds(e.AccountSettled, st.just(1), st.just(1), st.sampled_from(["coinbase", "kraken"]), st.just(())),
)
OPEN = (e.TradingStatus.TRADING, e.TradingStatus.LIMIT_ONLY, e.TradingStatus.POST_ONLY)


def tell(states: VenueStates, fact: object) -> None:
    if isinstance(fact, e.FeedUp):
        states.feed_up(fact)
    elif isinstance(fact, e.FeedDown):
        states.feed_down(fact)
    elif isinstance(fact, e.VenueStatus):
        states.venue_status(fact)
    elif isinstance(fact, e.AccountSettled):
        states.account_settled(fact)
    elif isinstance(fact, e.SessionScheduled):
        states.session_scheduled(fact)
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
        fresh.define(spot())
        fresh.define(spot(id=ETH))
        for earlier in told[:count]:
            tell(fresh, earlier)
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


def opened() -> VenueStates:
    """Both streams up, the account confirmed."""
    states = VenueStates()
    states.define(spot())
    for stream in ("market", "user"):
        states.feed_up(e.FeedUp(1, 1, "coinbase", stream))
    states.account_settled(e.AccountSettled(1, 1, "coinbase", ()))
    assert states.reason_closed(BTC) == ""
    return states


@pytest.mark.fault("C8")
@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("closing", "opening", "word"),
    [
        (
            e.VenueStatus(2, 2, "coinbase", e.TradingStatus.HALTED, "the key is refused"),
            e.VenueStatus(3, 3, "coinbase", e.TradingStatus.TRADING),
            "venue coinbase is halted (the key is refused)",
        ),
        *(
            (
                e.InstrumentStatus(2, 2, BTC, status),
                e.InstrumentStatus(3, 3, BTC, after),
                f"{BTC} is {status.value}",
            )
            for status in (e.TradingStatus.HALTED, e.TradingStatus.CANCEL_ONLY, e.TradingStatus.UNKNOWN)
            for after in (e.TradingStatus.TRADING, e.TradingStatus.LIMIT_ONLY)
        ),
        (
            e.FeedDown(2, 2, "coinbase", "user", "reset"),
            e.FeedUp(3, 3, "coinbase", "user"),
            "user stream of coinbase is down: reset",
        ),
    ],
)
def test_what_was_closed_takes_exits_alone_until_the_account_is_confirmed(
    closing: object, opening: object, word: str
) -> None:
    """Closed for all orders, then for entries, then open; a venue that never confirms is open at once."""
    states = opened()
    tell(states, closing)
    assert states.reason_closed(BTC) == word
    assert not isinstance(states.reason_closed(BTC), Restriction)
    tell(states, opening)
    reason = states.reason_closed(BTC)
    assert isinstance(reason, Restriction)
    assert reason.exits_only
    assert "account of coinbase is not confirmed since" in reason
    states.account_settled(e.AccountSettled(4, 4, "coinbase", ()))
    assert "not confirmed" not in states.reason_closed(BTC)
    silent = VenueStates()
    silent.define(spot())
    for fact in (e.FeedUp(1, 1, "coinbase", "market"), e.FeedUp(1, 1, "coinbase", "user"), closing, opening):
        tell(silent, fact)
    assert "not confirmed" not in silent.reason_closed(BTC)


def test_the_confirmation_of_one_venue_says_nothing_of_another() -> None:
    """Two venues were closed; one confirms."""
    states = opened()
    states.define(spot(id=ETH, venue="kraken"))
    for stream in ("market", "user"):
        states.feed_up(e.FeedUp(1, 1, "kraken", stream))
    states.account_settled(e.AccountSettled(1, 1, "kraken", ()))
    for venue in ("coinbase", "kraken"):
        states.feed_down(e.FeedDown(2, 2, venue, "user", "reset"))
        states.feed_up(e.FeedUp(3, 3, venue, "user"))
    states.account_settled(e.AccountSettled(4, 4, "kraken", ()))
    assert (states.reason_closed(ETH), bool(states.reason_closed(BTC))) == ("", True)


@pytest.mark.fault("C10")
def test_an_instrument_takes_the_kinds_of_orders_that_it_says() -> None:
    """Post-only and limit-only, of the instrument and of its venue: the strictest of both."""
    states = opened()
    resting, taking, at_market = intent(post_only=True), intent(), intent(order_type=OrderType.MARKET, limit_px=None)
    stop = intent(order_type=OrderType.STOP_LIMIT, trigger_px=D(101))

    def taken() -> list[bool]:
        reason = states.reason_closed(BTC)
        assert isinstance(reason, Restriction)
        assert not reason.exits_only
        return [not reason.stops(one) for one in (resting, taking, at_market, stop)]

    states.instrument_status(e.InstrumentStatus(2, 2, BTC, e.TradingStatus.LIMIT_ONLY))
    assert states.reason_closed(BTC) == f"{BTC} is limit_only"
    assert taken() == [True, True, False, False]
    states.venue_status(e.VenueStatus(3, 3, "coinbase", e.TradingStatus.POST_ONLY))
    assert taken() == [True, False, False, False]
    assert "venue coinbase is post_only" in states.reason_closed(BTC)
    states.instrument_status(e.InstrumentStatus(4, 4, BTC, e.TradingStatus.POST_ONLY))
    states.venue_status(e.VenueStatus(5, 5, "coinbase", e.TradingStatus.LIMIT_ONLY))
    assert taken() == [True, False, False, False]


@pytest.mark.fault("D9")
def test_an_id_in_doubt_takes_no_order_until_it_is_defined_again() -> None:
    """Whatever its streams and states say."""
    states = opened()
    states.doubt(BTC, "it is another thing now")
    assert (states.reason_closed(BTC), states.why_shut(BTC)) == ("it is another thing now",) * 2
    states.define(spot())
    assert (states.reason_closed(BTC), states.why_shut(BTC), states.is_doubtful(BTC)) == ("", "", False)


@pytest.mark.fault("C6")
def test_without_the_market_stream_an_operator_alone_gets_out() -> None:
    """Orders still reach the venue, prices do not come: no entries, and nothing that a program decides; without the
    user stream nobody would see what becomes of an order."""
    states = opened()
    states.feed_down(e.FeedDown(2, 2, "coinbase", "market", "reset"))
    reason = states.reason_closed(BTC)
    assert isinstance(reason, Restriction)
    assert (str(reason), reason.exits_only) == ("market stream of coinbase is down: reset", True)
    assert [reason.stops(intent(strategy=name)) for name in ("s", GUARDIAN, OPERATOR)] == [True, True, False]
    states.feed_down(e.FeedDown(3, 3, "coinbase", "user", "reset"))
    assert not isinstance(states.reason_closed(BTC), Restriction)
    states.feed_up(e.FeedUp(4, 4, "coinbase", "user"))
    states.feed_up(e.FeedUp(5, 5, "coinbase", "market"))
    after = states.reason_closed(BTC)
    assert isinstance(after, Restriction)
    assert not after.stops(intent())


@pytest.mark.fault("C16")
@pytest.mark.parametrize(
    ("happen", "word"),
    [
        (lambda states: states.clock_stepped(e.ClockStepped(2, 2, -(3600 * 10**9))), "stepped by -3600.0 s"),
        (lambda states: states.stood_still(12_300_000_000), "nothing was handled for 12.3 s"),
    ],
)
def test_time_that_jumped_takes_exits_alone_until_the_account_is_confirmed(
    happen: Callable[[VenueStates], object], word: str
) -> None:
    """A machine that slept and a process that stood still: what the account did meanwhile is not known."""
    states = opened()
    happen(states)
    reason = states.reason_closed(BTC)
    assert isinstance(reason, Restriction)
    assert reason.exits_only
    assert word in reason
    states.account_settled(e.AccountSettled(4, 4, "coinbase", ()))
    assert states.reason_closed(BTC) == ""
    never = VenueStates()
    assert not never.stood_still(12_300_000_000)  # of a recording a pause of the market says nothing
