"""What makes the threshold strategy leave, and that it does: stop, take-profit, horizon, retries, remainders."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from engine.commands import Intent, OrderIntent, OrderType, TimeInForce
from engine.events import Side, Timer
from engine.ports import Stake
from strategies.threshold import ThresholdStrategy
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import PERP, order, short_view
from tests.support.limits import NAME
from tests.support.threshold import MS, SECOND, enter, make, one, predict, tick

D = Decimal


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [(99.80, 99.82, "stop"), (99.81, 99.83, ""), (100.20, 100.22, "take_profit"), (100.19, 100.21, "")],
)
def test_long_exits_are_judged_at_the_bid(bid: float, ask: float, reason: str) -> None:
    """Bought at 100, stop and take-profit 20 bps."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, bid, ask)
    intents = strategy.on_quote(NAME, view)
    assert [i.reason for i in intents] == ([reason] if reason else [])
    if reason:
        intent = one(intents)
        assert (intent.side, intent.qty, intent.reduce_only) == (Side.SELL, D("4.998"), True)
        assert intent.limit_px == view.instrument(NAME).price(bid) - D("0.02")


@pytest.mark.parametrize(("bid", "ask", "reason"), [(100.18, 100.20, "stop"), (99.78, 99.80, "take_profit")])
def test_short_exits_are_judged_at_the_ask(bid: float, ask: float, reason: str) -> None:
    """Sold at 100."""
    view, strategy = short_view(), make(PERP)
    enter(strategy, view, 0.1)
    tick(view, MS, bid, ask, PERP)
    intent = one(strategy.on_quote(PERP, view))
    assert (intent.reason, intent.side, intent.reduce_only) == (reason, Side.BUY, True)


def test_a_stop_does_not_sleep_while_prices_are_suspect() -> None:
    """Shown, not believed: it leaves, at market, since no limit can be priced by them; crossed ones tell nothing."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    view.quote(NAME, 99.70, 99.72, crossed=True, suspect=True)
    assert strategy.on_quote(NAME, view) == ()
    view.quote(NAME, 99.70, 99.72, suspect=True)
    intent = one(strategy.on_quote(NAME, view))
    assert (intent.reason, intent.order_type, intent.reduce_only) == ("stop", OrderType.MARKET, True)


def test_what_another_strategy_holds_against_it_does_not_keep_it_in() -> None:
    """Short 5 beside another's long 2, which the account shows as 3 short: it asks to leave all of it."""
    view, strategy = short_view(), make(PERP)
    enter(strategy, view, 0.1)
    held_qty = view.strategy_qty("s", PERP)
    view.positions[PERP] = held_qty + 2
    view.stakes["", PERP] = Stake(held_qty + 2)
    tick(view, MS, 100.18, 100.20, PERP)
    assert one(strategy.on_quote(PERP, view)).qty == -held_qty


@pytest.mark.fault("F12")
@pytest.mark.parametrize(("owner", "leaves"), [("t", True), ("guardian", False), ("", False)])
def test_what_another_strategy_has_open_beside_it_does_not_keep_it_in(owner: str, leaves: bool) -> None:
    """Short 5 beside another's bid of 5 that rests far below: it asks to leave all of it, as long as the bid rests.
    The guardian's, or somebody else's in the account, may close it."""
    view, strategy = short_view(), make(PERP)
    enter(strategy, view, 0.1)
    held_qty = view.strategy_qty("s", PERP)
    view.stakes["", PERP] = Stake(held_qty)
    view.open(order(instrument=PERP, strategy=owner, qty=-held_qty, limit_px=D(90), time_in_force=TimeInForce.GTC))
    tick(view, MS, 100.18, 100.20, PERP)
    assert [intent.qty for intent in strategy.on_quote(PERP, view)] == ([-held_qty] if leaves else [])


def test_the_horizon_ends_a_position_on_quotes_and_on_timers() -> None:
    """10 s after the entry, not a nanosecond before."""
    for on_timer in (False, True):
        view, strategy = FakeView(), make()
        enter(strategy, view)
        tick(view, 10 * SECOND - 1)
        assert not _ask(strategy, view, on_timer)
        tick(view, 1)
        assert one(_ask(strategy, view, on_timer)).reason == "horizon"


def _ask(strategy: ThresholdStrategy, view: FakeView, on_timer: bool) -> Sequence[Intent]:
    if on_timer:
        return strategy.on_timer(Timer(view.now_ns, view.now_ns, "beat"), view)
    return strategy.on_quote(NAME, view)


def test_switched_off_exits_do_not_fire() -> None:
    """All three at 0, a crash and an hour later."""
    view, strategy = FakeView(), make(stop_bps=0.0, take_profit_bps=0.0, horizon_ns=0)
    enter(strategy, view)
    tick(view, 3600 * SECOND, 50.0, 50.01)
    assert strategy.on_quote(NAME, view) == ()


def test_the_opposite_signal_leaves() -> None:
    """Also for spot, where it cannot enter the other way; not when switched off."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS)
    assert one(strategy.on_prediction(predict(0.1), 9, view)).reason == "opposite"
    view, strategy = FakeView(), make(exit_on_opposite=False)
    enter(strategy, view)
    assert strategy.on_prediction(predict(0.1), 9, view) == ()


@pytest.mark.fault("B19")
def test_an_exit_that_does_not_fill_is_sent_again_and_then_by_market() -> None:
    """Three limit attempts 200 ms apart, then market, backing off to 16 times that; the reason stays latched."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    sent: list[tuple[int, OrderType]] = []
    start = view.now_ns
    for _ in range(600):
        for intent in strategy.on_quote(NAME, view):
            assert isinstance(intent, OrderIntent)
            assert intent.reason == "stop"
            sent.append(((view.now_ns - start) // MS, intent.order_type))
        tick(view, 20 * MS)  # the price is back: a stop that fired does not un-fire
    limit, at_market = OrderType.LIMIT, OrderType.MARKET
    assert sent[:8] == [
        (0, limit),
        (200, limit),
        (400, limit),
        (600, at_market),
        (1000, at_market),
        (1800, at_market),
        (3400, at_market),
        (6600, at_market),
    ]
    assert sent[8][0] - sent[7][0] == 3200


def test_an_exit_in_flight_is_not_doubled() -> None:
    """While its outcome is unknown nothing more is sent; what it leaves over later is."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    for _ in range(5):
        tick(view, 10 * SECOND, 99.70, 99.72)
        assert strategy.on_quote(NAME, view) == ()
    strategy.on_fill(view.fill(opened.client_order_id, D(2), D("99.70")), view)
    tick(view, SECOND, 99.70, 99.72)
    assert strategy.on_quote(NAME, view) == ()
    view.close(opened.client_order_id)
    tick(view, SECOND, 99.70, 99.72)
    assert one(strategy.on_quote(NAME, view)).qty == D("2.998")


def test_a_position_from_a_partial_entry_is_closed_in_full_and_no_more() -> None:
    """1 of 4.998 filled, the rest gone."""
    view, strategy = FakeView(), make()
    opened = view.open(one(strategy.on_prediction(predict(0.9), 1, view)))
    strategy.on_fill(view.fill(opened.client_order_id, D(1), D(100)), view)
    view.close(opened.client_order_id)
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).qty == D(1)


def test_never_closes_more_than_the_account_holds() -> None:
    """Someone sold half by hand."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    view.positions[NAME] = D(2)
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).qty == D(2)
    view.positions[NAME] = D(0)
    tick(view, 10 * SECOND)
    assert strategy.on_quote(NAME, view) == ()


def test_without_a_usable_book_the_exit_goes_by_market() -> None:
    """Horizon over, book suspect: no limit could be priced."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    view.now_ns += 10 * SECOND
    view.quote(NAME, 99.99, 100.01, suspect=True)
    assert one(strategy.on_quote(NAME, view)).order_type is OrderType.MARKET


def test_a_cool_down_follows_an_exit() -> None:
    """One second from the last fill."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, 10 * SECOND)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    strategy.on_fill(view.fill(opened.client_order_id, opened.intent.qty, D(100)), view)
    tick(view, SECOND - 1)
    assert strategy.on_prediction(predict(0.9), 1, view) == ()
    tick(view, 1)
    assert strategy.on_prediction(predict(0.9), 1, view)


def test_dust_counts_as_flat() -> None:
    """What is left is below the venue's smallest order: no endless exits, and the next entry starts its own horizon."""
    view, strategy = FakeView(make_instrument(min_qty=D("0.01"))), make()
    enter(strategy, view)
    tick(view, 10 * SECOND)
    opened = view.open(one(strategy.on_quote(NAME, view)))
    strategy.on_fill(view.fill(opened.client_order_id, opened.intent.qty - D("0.005"), D(100)), view)
    view.close(opened.client_order_id)
    tick(view, 5 * SECOND)
    assert strategy.on_quote(NAME, view) == ()
    enter(strategy, view)
    tick(view, 10 * SECOND - 1)
    assert strategy.on_quote(NAME, view) == ()
    tick(view, 1)
    assert one(strategy.on_quote(NAME, view)).reason == "horizon"
