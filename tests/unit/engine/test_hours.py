"""Orders outside of the hours that were told, through a whole core: judged by the time of events."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelOrder, NewOrder, Rejected
from engine.replay import ReplayRecorder, replay
from engine.venues import VenueStates
from risk.gate import Gate
from tests.support.account import Account, Remembering
from tests.support.core import BTC, build_core, intent, spot
from tests.support.limits import make_limits

OPENS_NS, CLOSES_NS = 1_000, 2_000


def schedule(instrument: str = "", opens_ns: int = OPENS_NS, closes_ns: int = CLOSES_NS) -> e.SessionScheduled:
    return e.SessionScheduled(900, 900, "coinbase", instrument, opens_ns, closes_ns, "venue")


def wish_at(account: Account, at_ns: int, **wish: Any) -> NewOrder | Rejected:
    """What became of a wish that is asked for by a quote of that moment."""
    account.now_ns = at_ns - 1
    account.wish(intent(**wish))
    return [record for record in account.records if isinstance(record, NewOrder | Rejected)][-1]


@pytest.mark.fault("C10")
def test_nothing_leaves_before_the_open_and_from_the_close_on() -> None:
    """To the nanosecond, by the receive time of the quote that it was decided on; what rests as an entry goes at the
    close, an exit stays.  The next session's hours open it again.  All of it replays."""
    account = Account(gate=Gate(make_limits()))
    account.publish(e.Timer(12, 12, "tick"))
    account.publish(schedule())
    early = wish_at(account, OPENS_NS - 1)
    assert isinstance(early, Rejected)
    assert (early.check, early.seen.split(":")[0]) == ("tradable", f"{BTC} is closed")
    entry = wish_at(account, OPENS_NS)
    assert isinstance(entry, NewOrder)
    account.fill(entry, "1", "100", "t1")
    resting = wish_at(account, 1_500)
    leaving = wish_at(account, CLOSES_NS - 1, side=e.Side.SELL, reduce_only=True, limit_px=spot().price(100.2))
    assert isinstance(resting, NewOrder)
    assert isinstance(leaving, NewOrder)
    late = [wish_at(account, CLOSES_NS + n, side=side) for n, side in ((0, e.Side.BUY), (2, e.Side.SELL))]
    assert [one.check for one in late if isinstance(one, Rejected)] == ["tradable", "tradable"]
    account.publish(e.Timer(CLOSES_NS + 10, CLOSES_NS + 10, "tick"))
    gone = [record.client_order_id for record in account.records if isinstance(record, CancelOrder)]
    assert gone == [resting.client_order_id]
    account.publish(schedule(opens_ns=3_000, closes_ns=4_000))
    account.end(resting, e.OrderCancelled)
    assert isinstance(wish_at(account, 2_999), Rejected)
    assert isinstance(wish_at(account, 3_000), NewOrder)
    _replays(account)


def _replays(account: Account) -> None:
    wishes = [record for record in account.records if isinstance(record, NewOrder | Rejected)]
    moments = {one.ts_ns: one.intent for one in wishes}
    strategy = Remembering([], {})
    strategy.answers["on_quote"] = lambda _name, view: [moments[view.now_ns]] if view.now_ns in moments else []
    recorder = ReplayRecorder()
    core = build_core(recorder, strategy, gate=Gate(make_limits()))
    assert replay(account.journal.written, recorder, core).first_difference is None


def test_hours_of_an_instrument_come_before_those_of_its_venue() -> None:
    """And are gone when nobody says any more until when: then the venue's hold again."""
    now = [1_500]
    states = VenueStates(lambda: now[0])
    states.define(spot())
    for stream in ("market", "user"):
        states.feed_up(e.FeedUp(1, 1, "coinbase", stream))
    states.session_scheduled(schedule())
    assert states.reason_closed(BTC) == states.why_shut(BTC) == ""
    states.session_scheduled(schedule(BTC, 1_800, 5_000))
    assert "it opens at 1970-01-01T00:00:00Z (venue)" in states.reason_closed(BTC)
    now[0] = 2_500
    assert states.reason_closed(BTC) == ""
    states.session_scheduled(schedule(BTC, 0, 0))
    assert "its session ended" in states.reason_closed(BTC)
    assert states.why_shut(BTC) == states.reason_closed(BTC)


@pytest.mark.fault("C10")
def test_a_schedule_opens_nothing_that_the_venue_holds_shut() -> None:
    """Its own state is the stricter word: a halt in the middle of the session stays one."""
    account = Account(gate=Gate(make_limits()))
    account.publish(e.Timer(12, 12, "tick"))
    account.publish(schedule())
    account.publish(e.InstrumentStatus(950, 950, BTC, e.TradingStatus.HALTED))
    assert isinstance(wish_at(account, 1_500), Rejected)
    account.publish(e.InstrumentStatus(1_600, 1_600, BTC, e.TradingStatus.TRADING))
    assert isinstance(wish_at(account, 1_700), NewOrder)
