"""The gate on a fake view: each check of entries by name, reservations, pace, latches, failing guards."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.commands import Approved, NewOrder, OrderIntent, OrderType, Rejected, RiskState, TimeInForce
from engine.events import Halted, Reduced, Resumed, Side
from engine.instruments import AssetClass
from engine.ports import Top
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import (
    PERP,
    SECOND,
    age,
    change,
    check_of,
    held,
    leave,
    market,
    order,
    quote,
    review,
    send,
    short_view,
)
from tests.support.limits import NAME, make_limits

D = Decimal
OTHER = "ETH/USD@coinbase"
EURO = "BTC/EUR@coinbase"
NAN = float("nan")


# --- entries ------------------------------------------------------------------------------------------------------


def test_a_sound_order_is_approved_with_its_worst_notional() -> None:
    """The limit lies above the mid: the notional is counted at the limit."""
    verdict = Gate(make_limits()).review(order(), FakeView())
    assert verdict == Approved(order(), D("100.02"))
    below = order(limit_px=D("99.90"))
    assert Gate(make_limits()).review(below, FakeView()) == Approved(below, D("100.00"))


def test_a_market_order_is_counted_at_the_mid_plus_the_collar() -> None:
    """Collar 50 bps on a mid of 100."""
    verdict = Gate(make_limits()).review(market(), FakeView())
    assert isinstance(verdict, Approved)
    assert verdict.notional == D("100.5")


@pytest.mark.fault("F1")
@pytest.mark.parametrize(
    ("intent", "check"),
    [
        (order(qty=D("0.0005")), "lot"),
        (order(qty=D(0)), "order_form"),
        (order(qty=D(-1)), "order_form"),
        (order(qty=D("NaN")), "order_form"),
        (order(qty=1.0), "order_form"),
        (order(limit_px=None), "order_form"),
        (order(limit_px=D("Infinity")), "order_form"),
        (order(limit_px=D("100.005")), "tick"),
        (order(limit_px=D(0)), "price_sign"),
        (order(limit_px=D(-100)), "price_sign"),
        (order(qty=D("0.009")), "min_notional"),
        (order(qty=D(2000)), "max_qty"),
        (order(order_type=OrderType.MARKET), "order_form"),
        (order(post_only=True), "order_form"),
        (order(time_in_force=TimeInForce.GTD), "order_form"),
        (order(time_in_force=TimeInForce.GTD, expire_ns=1), "order_form"),
        (order(order_type=OrderType.STOP_LIMIT), "order_form"),
        (order(trigger_px=D(100)), "order_form"),
        (order(trailing_px=D(1)), "order_form"),
        (order(instrument="DOGE/USD@coinbase"), "instrument"),
        (order(side=7), "order_form"),
    ],
)
def test_malformed_orders_are_denied_by_name(intent: OrderIntent, check: str) -> None:
    """One defect each."""
    assert review(intent) == check


def test_the_venues_smallest_quantity_binds() -> None:
    """min_qty above one lot."""
    view = FakeView(make_instrument(min_qty=D("0.5")))
    assert review(order(qty=D("0.4")), view) == "min_qty"
    assert review(order(qty=D("0.5")), view) == ""


MISSING: list[tuple[Callable[[FakeView], None], str]] = [
    (change("tops", {}), "no_quote"),
    (lambda view: view.tops.update({NAME: Top()}), "no_quote"),
    (age(1.1), "stale_quote"),
    (age(-1.1), "stale_quote"),
    (quote(100.02, 100.01), "crossed_book"),
    (quote(100.0, 100.0), "crossed_book"),
    (quote(NAN, 100.01), "crossed_book"),
    (quote(99.99, NAN), "crossed_book"),
    (quote(99.99, 100.01, crossed=True), "crossed_book"),
    (quote(99.99, 100.01, suspect=True), "suspect_book"),
    (change("marks_known", False), "no_price"),
    (change("rates", {}), "rate_unknown"),
    (change("rates", {"USD": D(0)}), "rate_unknown"),
    (change("rates", {"USD": D("NaN")}), "rate_unknown"),
    (change("equity_now", None), "equity_unknown"),
    (change("peak", None), "equity_unknown"),
    (change("day_start", None), "equity_unknown"),
    (change("closed", {NAME: "user stream down"}), "tradable"),
    (change("defined", {}), "instrument"),
    (change("risk_state", None), "risk_state"),
    (change("risk_state", RiskState.HALTED), "risk_state"),
    (change("risk_state", RiskState.REDUCING), "risk_state"),
    (change("equity_now", D(9_500)), "daily_loss"),
    (change("equity_now", D(0)), "daily_loss"),
    (change("peak", D(11_200)), "drawdown"),
]


@pytest.mark.fault("D2")
@pytest.mark.fault("D4")
@pytest.mark.fault("F6")
@pytest.mark.parametrize(("alter", "check"), MISSING)
@pytest.mark.parametrize("intent", [order(), market()])
def test_entries_are_denied_when_anything_is_missing_or_bad(
    alter: Callable[[FakeView], None], check: str, intent: OrderIntent
) -> None:
    """Takes one piece of a healthy view away."""
    view = FakeView()
    alter(view)
    assert review(intent, view) == check


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({"max_order_qty": {"*": "0.9"}}, "max_order_qty"),
        ({"max_order_qty": {OTHER: 5}}, "max_order_qty"),
        ({"max_order_qty": {NAME: "0.9", "*": 5}}, "max_order_qty"),
        ({"max_position_qty": {"*": "0.9"}}, "max_position_qty"),
        ({"max_position_qty": {OTHER: 5}}, "max_position_qty"),
        ({"max_order_notional": 100}, "max_order_notional"),
        ({"max_position_notional": 100}, "max_position_notional"),
        ({"max_gross_notional": 100}, "max_gross_notional"),
        ({"max_net_notional": 100}, "max_net_notional"),
        ({"allowed_instruments": [OTHER]}, "allow_list"),
        ({"collar_bps": "1.9"}, "collar"),
    ],
)
def test_each_limit_denies_by_name(limits: dict[str, Any], check: str) -> None:
    """The order is worth 100.02 at 2 bps from the mid; each limit is just below it, and just enough lets it pass."""
    assert review(order(), limits=make_limits(**limits)) == check


def test_limits_are_inclusive() -> None:
    """Exactly at each limit the order passes."""
    exact = make_limits(
        max_order_qty={"*": 1},
        max_position_qty={"*": 1},
        max_order_notional="100.02",
        max_position_notional="100.02",
        max_gross_notional="100.02",
        max_net_notional="100.02",
        collar_bps=2,
    )
    assert review(order(), limits=exact) == ""


@pytest.mark.parametrize(("px", "check"), [("100.50", ""), ("100.51", "collar"), ("99.50", ""), ("99.49", "collar")])
def test_the_collar_of_entries_has_two_sides(px: str, check: str) -> None:
    """50 bps on a mid of 100."""
    assert review(order(limit_px=D(px))) == check


def test_a_market_entry_is_denied_by_a_wide_spread() -> None:
    """The far touch is 60 bps from the mid, the collar 50."""
    view = FakeView()
    view.quote(NAME, 99.4, 100.6)
    assert review(market(), view) == "collar"


def test_a_stop_limit_is_collared_by_its_trigger() -> None:
    """Far from the mid, near its own trigger, and the reverse."""
    stop = order(
        order_type=OrderType.STOP_LIMIT, trigger_px=D(110), limit_px=D("110.10"), time_in_force=TimeInForce.GTC
    )
    assert review(stop) == ""
    assert review(order(order_type=OrderType.STOP_LIMIT, trigger_px=D(110))) == "collar"


def test_spot_cannot_be_sold_short_but_a_perpetual_can() -> None:
    """Sells 1 of nothing."""
    sell = order(side=Side.SELL, limit_px=D("99.98"))
    assert review(sell) == "short_sale"
    limits = make_limits(allowed_instruments=[PERP])
    assert review(order(side=Side.SELL, limit_px=D("99.98"), instrument=PERP), short_view(), limits) == ""


def test_an_expired_instrument_is_denied() -> None:
    """Expiry at this very nanosecond."""
    assert review(order(), FakeView(make_instrument(expiry_ns=FakeView().now_ns))) == "expiry"


def test_open_orders_are_bounded() -> None:
    """The second of two with a limit of one; a reducing one passes."""
    view, gate = FakeView(), Gate(make_limits(max_open_orders=1))
    view.open(order(limit_px=D("99.90"), time_in_force=TimeInForce.GTC))
    assert check_of(gate.review(order(), view)) == "max_open_orders"


@pytest.mark.fault("F12")
def test_no_entry_may_trade_with_an_order_of_ours() -> None:
    """A resting sell at 100.02 of another strategy stands in the way of a buy at that price, not of one below."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    view.open(order(instrument=PERP, side=Side.SELL, strategy="other"))
    assert check_of(gate.review(order(instrument=PERP), view)) == "self_trade"
    assert check_of(gate.review(market(instrument=PERP), view)) == "self_trade"
    assert check_of(gate.review(order(instrument=PERP, limit_px=D("100.01")), view)) == ""


@pytest.mark.fault("F12")
def test_no_entry_against_what_another_strategy_holds() -> None:
    """The other is long 2: our sell is no exit of ours, so it is an entry against it; our own exit passes."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    view.hold(PERP, D(2), strategy="other")
    sell = order(instrument=PERP, side=Side.SELL, limit_px=D("99.98"))
    assert check_of(gate.review(sell, view)) == "opposing_strategy"
    view.hold(PERP, D(3))
    view.strategy_qtys["s", PERP] = D(1)
    assert check_of(gate.review(sell, view)) == ""


# --- exposure and reservations ------------------------------------------------------------------------------------


@pytest.mark.fault("F4")
def test_a_batch_counts_against_itself() -> None:
    """Five orders of 400 each under an order limit of 1,000: only five fit into 2,000, filled or not."""
    view, gate = FakeView(), Gate(make_limits(max_net_notional=3_000))
    verdicts = []
    for i in range(7):
        intent = order(qty=D(4), limit_px=D("100.00") - D("0.01") * i)
        verdict = gate.review(intent, view)
        verdicts.append(check_of(verdict))
        if isinstance(verdict, Approved):
            gate.on_opened(view.open(intent))
    assert verdicts == [""] * 5 + ["max_position_qty"] * 2


def test_an_unknown_order_holds_its_risk() -> None:
    """The order never resolves: its quantity stays counted however long it takes."""
    view, gate = FakeView(), Gate(make_limits(max_position_qty={"*": 1}))
    gate.on_opened(view.open(order()))
    view.now_ns += 3600 * SECOND
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(order(), view)) == "max_position_qty"
    view.close("o1")
    assert check_of(gate.review(order(), view)) == ""


def test_exposure_sums_over_instruments_in_portfolio_currency() -> None:
    """Long 10 ETH at 100 and 5 BTC at 100 EUR with EUR at 1.2 are 1,600; with this order 1,700.02."""
    view = FakeView(make_instrument(), make_instrument(OTHER), make_instrument(EURO))
    view.rates["EUR"] = D("1.2")
    view.hold(OTHER, D(10))
    view.hold(EURO, D(5))
    assert review(order(), view, make_limits(max_gross_notional=1_701)) == ""
    assert review(order(), view, make_limits(max_gross_notional=1_700)) == "max_gross_notional"
    assert review(order(), view, make_limits(max_net_notional=1_700)) == "max_net_notional"


@pytest.mark.fault("F13")
def test_an_unknown_rate_or_price_of_anything_held_denies() -> None:
    """A second holding whose currency, then whose price, is not known; flat in it, nobody asks."""
    view = FakeView(make_instrument(), make_instrument(EURO))
    assert review(order(), view) == ""
    view.hold(EURO, D(1))
    assert review(order(), view) == "rate_unknown"
    view.rates["EUR"] = D("1.2")
    assert review(order(), view) == ""
    del view.tops[EURO]
    assert review(order(), view) == "no_price"


def test_open_orders_elsewhere_count_too() -> None:
    """No position in the other instrument, only an order: its worst case is in the gross."""
    view = FakeView(make_instrument(), make_instrument(OTHER))
    view.open(order(instrument=OTHER, qty=D(5), limit_px=D(110)))
    assert review(order(), view, make_limits(max_gross_notional=650)) == "max_gross_notional"
    assert review(order(), view, make_limits(max_gross_notional=651)) == ""


def test_long_and_short_offset_in_net_but_not_in_gross() -> None:
    """Short 5 of a perpetual, long 5 bought: net 0, gross 1,000."""
    perp = make_instrument(PERP, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD")
    view = FakeView(make_instrument(), perp)
    view.hold(PERP, D(-5))
    buy = order(qty=D(5), limit_px=D("100.00"))
    assert review(buy, view, make_limits(max_net_notional=1)) == ""
    assert review(buy, view, make_limits(max_gross_notional=999)) == "max_gross_notional"


def test_an_inverse_contract_is_worth_more_the_lower_its_price() -> None:
    """100 contracts of 1 USD at 100 USD are 1 BTC; BTC at 100 USD makes it 100 USD, and a limit below the mid more."""
    name = "BTC/USD@deribit"
    inverse = make_instrument(
        name, settlement="BTC", asset_class=AssetClass.PERPETUAL, inverse=True, can_short=True, lot_qty=D(1)
    )
    view = FakeView(inverse)
    view.rates["BTC"] = D(100)
    intent = order(instrument=name, qty=D(100), limit_px=D("99.60"))
    verdict = Gate(
        make_limits(allowed_instruments=[name], max_order_qty={"*": 100}, max_position_qty={"*": 100})
    ).review(intent, view)
    assert isinstance(verdict, Approved)
    assert verdict.notional.quantize(D("0.01")) == D("100.40")


# --- pace ---------------------------------------------------------------------------------------------------------


def test_rates_hold_in_any_second() -> None:
    """Three at once, the fourth is early until the first is one second old."""
    view, gate = FakeView(), Gate(make_limits(max_orders_per_s=3))
    assert [send(gate, view, order()) for _ in range(2)] == ["", "duplicate"]
    view.now_ns += 10
    assert send(gate, view, order()) == ""
    view.now_ns += 10
    assert send(gate, view, order()) == ""
    view.now_ns += 10
    assert send(gate, view, order()) == "order_rate"
    view.now_ns += SECOND - 31
    assert send(gate, view, order()) == "order_rate"
    view.now_ns += 1
    assert send(gate, view, order()) == ""


def test_rates_hold_for_each_instrument() -> None:
    """One a second each: the other instrument still has its own."""
    view = FakeView(make_instrument(), make_instrument(OTHER))
    gate = Gate(make_limits(max_orders_per_s_instrument=1, allowed_instruments=[NAME, OTHER]))
    assert send(gate, view, order()) == ""
    assert send(gate, view, order(qty=D(2))) == "order_rate_instrument"
    assert send(gate, view, order(instrument=OTHER)) == ""


def test_the_same_wish_within_the_window_is_a_duplicate() -> None:
    """Same strategy, instrument, side, quantity and price; any one of them changed is another wish."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=SECOND))
    assert send(gate, view, order()) == ""
    assert send(gate, view, order(reason="again", ts_ns=2)) == "duplicate"
    assert send(gate, view, order(qty=D(2))) == ""
    assert send(gate, view, order(limit_px=D("100.01"))) == ""
    assert send(gate, view, order(strategy="t")) == ""
    view.now_ns += SECOND
    view.quote(NAME, 99.99, 100.01)
    assert send(gate, view, order()) == ""


@pytest.mark.fault("F3")
def test_a_runaway_loop_halts() -> None:
    """The same wish over and over: after ten refusals entries stop and the breaker asks for HALTED, until a resume."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=SECOND, max_rejections_per_s=10))
    found = [send(gate, view, order()) for _ in range(12)]
    assert found == [""] + ["duplicate"] * 10 + ["runaway"]
    breach = gate.breach(view)
    assert breach is not None
    assert breach[0] is RiskState.HALTED
    assert "runaway" in breach[1]
    gate.apply(Resumed(1, 1, "cli", "fixed"))
    assert gate.breach(view) is None
    assert send(gate, view, order(qty=D(2))) == ""


def test_refusals_spread_over_time_are_no_runaway() -> None:
    """One a second for a while."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=1000 * SECOND, max_rejections_per_s=3))
    send(gate, view, order())
    for _ in range(10):
        view.now_ns += SECOND
        view.quote(NAME, 99.99, 100.01)
        assert send(gate, view, order()) == "duplicate"
    assert gate.breach(view) is None


def test_an_order_judged_again_is_not_counted_twice() -> None:
    """It waited: rate and duplicate are skipped, everything else is not."""
    view, gate = FakeView(), Gate(make_limits(max_orders_per_s=1, duplicate_window_ns=SECOND))
    intent = order()
    assert send(gate, view, intent) == ""
    assert check_of(gate.review_again(intent, view)) == ""
    assert check_of(gate.review(intent, view)) == "order_rate"
    view.now_ns += 2 * SECOND
    assert check_of(gate.review_again(intent, view)) == "stale_quote"


# --- breaches, state, failing guards ------------------------------------------------------------------------------


@pytest.mark.fault("F6")
@pytest.mark.parametrize(
    ("equity", "peak", "expected"),
    [
        ("10000", "10000", None),
        ("9500.01", "10000", None),
        ("9500", "10000", RiskState.REDUCING),
        ("9600", "10667", RiskState.HALTED),
        ("-1", "10000", RiskState.HALTED),
    ],
)
def test_losses_breach(equity: str, peak: str, expected: RiskState | None) -> None:
    """Daily loss limit 500 from 10,000, drawdown limit 1,000 bps of the peak."""
    view = FakeView()
    view.equity_now, view.peak = D(equity), D(peak)
    found = Gate(make_limits()).breach(view)
    assert (None if found is None else found[0]) is expected


def test_unknown_equity_latches_nothing() -> None:
    """It is unknown at every start; entries are denied meanwhile (see the table above)."""
    view = FakeView()
    view.equity_now = None
    assert Gate(make_limits()).breach(view) is None


@pytest.mark.fault("F7")
def test_control_events_and_latches_move_the_state() -> None:
    """Halt, resume, reduce, latch."""
    gate = Gate(make_limits())
    assert gate.state is RiskState.ACTIVE
    change = gate.apply(Halted(1, 2, "file", "HALT"))
    assert change is not None
    assert gate.state is RiskState.HALTED
    assert gate.apply(Reduced(1, 2, "cli", "x")) is None
    assert gate.apply(Resumed(1, 2, "cli", "x")) is not None
    assert gate.state is RiskState.ACTIVE
    assert gate.latch(RiskState.REDUCING, "daily loss", 3) is not None
    assert check_of(gate.review(order(), FakeView())) == "risk_state"


class Broken(FakeView):
    """One method of the view raises."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.hold(NAME, D(0))
        setattr(self, method, self._raise)

    def _raise(self, *_: object) -> None:
        raise RuntimeError("guard\nbroke")


READS = [
    "instrument",
    "instruments",
    "top",
    "position",
    "strategy_qty",
    "open_orders",
    "open_qty",
    "mark_px",
    "rate",
    "equity",
    "equity_peak",
    "equity_day_start",
    "tradable",
]


@pytest.mark.fault("F5")
@pytest.mark.parametrize("method", READS)
def test_a_guard_that_raises_denies(method: str) -> None:
    """Each thing the gate reads raises in turn (I12): one line, the check named, no exception."""
    verdict = Gate(make_limits()).review(order(), Broken(method))
    assert isinstance(verdict, Rejected)
    assert verdict.check == "guard_error"
    assert verdict.seen == "RuntimeError: guard broke"


def test_a_breaker_that_raises_halts() -> None:
    """Equity raises."""
    found = Gate(make_limits()).breach(Broken("equity"))
    assert found is not None
    assert found[0] is RiskState.HALTED


def test_a_rejection_says_what_was_seen_and_the_limit() -> None:
    """As it goes to the journal."""
    view = FakeView()
    verdict = Gate(make_limits(max_order_qty={"*": "0.5"})).review(order(), view)
    assert verdict == Rejected(view.now_ns, order(), "max_order_qty", "1", "0.5")


def test_an_opened_order_nobody_reviewed_counts_as_an_entry() -> None:
    """Adopted orders use up the entries' rate, never the exits'."""
    view, gate = held(), Gate(make_limits(max_orders_per_s=1))
    gate.on_opened(NewOrder(view.now_ns, "x", "coinbase", leave()))
    assert check_of(gate.review(order(qty=D(2)), view)) == "order_rate"
    assert check_of(gate.review(leave(), view)) == ""
