"""Only what adds to a strategy's own holding is cut, to the lot; what is too small then is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelIntent, GroupIntent, NewOrder, OrderType, Rejected, ReplaceIntent, TimeInForce
from engine.core import TradingCore
from engine.events import Side
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, quote, spot

GTC = TimeInForce.GTC


def opened(lot: str = "0.01", **answers) -> tuple[TradingCore, MemoryRecorder]:
    recorder = MemoryRecorder()
    core = build_core(recorder, Scripted(**answers))
    open_market(core, spot(lot_qty=D(lot), min_qty=D(lot)), cash="100000")
    return core, recorder


def hold(core: TradingCore, qty: str) -> None:
    """The strategy holds so much, by an order of its own."""
    order = core.desk.place(intent(qty=qty))
    assert isinstance(order, NewOrder)
    core.on_event(fill(order, qty, "100", f"t-{qty}"))


def test_an_entry_is_cut_to_the_lot() -> None:
    """1.05 times 0.3 is 0.315: 0.31."""
    core, recorder = opened(on_quote=lambda *_: [intent(qty="1.05")])
    core.desk.sizes.put("s", BTC, D("0.3"), "canary")
    core.on_event(quote(10))
    assert [order.intent.qty for order in recorder.of(NewOrder)] == [D("0.31")]


def test_an_exit_is_not_cut_and_a_turn_is_cut_beyond_it() -> None:
    """2 held: a sale of 2 leaves whole; of 5, the 3 that would open the other way count half.  Where the sale of 2 is
    still open, all 5 would."""
    wishes = [intent(Side.SELL, "2")]
    core, recorder = opened(on_quote=lambda *_: wishes)
    hold(core, "2")
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    core.on_event(quote(60))
    name = recorder.of(NewOrder)[-1].client_order_id
    wishes[:] = [intent(Side.SELL, "5")]
    core.on_event(quote(61))
    assert recorder.of(NewOrder)[-1].intent.qty == D("2.5")
    for one in (name, recorder.of(NewOrder)[-1].client_order_id):
        core.on_event(e.OrderCancelled(62, 62, "coinbase", one, f"v-{one}"))
    core.on_event(quote(63))
    assert recorder.of(NewOrder)[-1].intent.qty == D("3.5")


@pytest.mark.parametrize("fills", [False, True])
def test_a_strategy_that_asks_again_for_what_is_missing_keeps_its_part(fills: bool) -> None:
    """It wants to hold 1 and gets a tenth: neither what is open nor what has filled is asked for once more."""

    def tops_up(name: str, view: Any) -> list[Any]:
        missing_qty = 1 - view.strategy_qty("s", BTC) - view.open_qty(BTC, Side.BUY)
        return [intent(qty=str(missing_qty))] if missing_qty else []

    core, recorder = opened(on_quote=tops_up)
    core.desk.sizes.put("s", BTC, D("0.1"), "canary's share 0.1")
    for number in range(5):
        core.on_event(quote(10 + number))
        for order in recorder.of(NewOrder)[number:]:
            if fills:
                core.on_event(fill(order, str(order.intent.qty), "100", f"t{number}"))
    assert [order.intent.qty for order in recorder.of(NewOrder)] == [D("0.1")]
    assert {one.seen for one in recorder.of(Rejected)} == {"0.90 beside 0.10 times 0.1 (canary's share 0.1)"}


@pytest.mark.fault("E4")
def test_two_exits_of_one_event_do_not_turn_a_position() -> None:
    """1 held and nothing may be added: of two sales of 1 the first leaves; one whose cancel is out still counts."""
    wishes = [intent(Side.SELL, "1", time_in_force=GTC), intent(Side.SELL, "1", limit_px=D(101), time_in_force=GTC)]
    core, recorder = opened(on_quote=lambda *_: wishes)
    hold(core, "1")
    core.desk.sizes.put("s", BTC, D(0), "stopped")
    core.on_event(quote(60))
    (leaving,) = recorder.of(NewOrder)[1:]
    (refused,) = recorder.of(Rejected)
    assert (refused.check, refused.seen) == ("model", "its open orders close what it holds; stopped")
    wishes[:] = [CancelIntent(1, "s", leaving.client_order_id), intent(Side.SELL, "1")]  # type: ignore[list-item]
    core.on_event(quote(61))
    assert len(recorder.of(NewOrder)) == 2
    core.on_event(e.OrderCancelled(62, 62, "coinbase", leaving.client_order_id, "v"))
    core.on_event(quote(63))
    assert recorder.of(NewOrder)[-1].intent.qty == D(1)


@pytest.mark.parametrize(("factor", "qty"), [("0", "1"), ("0.5", "2")])
def test_an_order_that_only_reduces_the_account_turns_no_strategy(factor: str, qty: str) -> None:
    """1 held, 3 by another: of a sale of 3 that the account could bear, what is beyond its own counts as an entry; an
    exit of its own passes beside one that goes."""
    core, recorder = opened()
    hold(core, "1")
    other = core.desk.place(intent(qty="3", strategy="other"))
    assert isinstance(other, NewOrder)
    core.on_event(fill(other, "3", "100", "t-other"))
    core.desk.sizes.put("s", BTC, D(factor), "stopped")
    core.desk.carry_out([intent(Side.SELL, "3", reduce_only=True)])
    made = recorder.of(NewOrder)[-1]
    assert (made.intent.strategy, made.intent.qty) == ("s", D(qty))
    core.on_event(e.OrderCancelled(62, 62, "coinbase", made.client_order_id, "v"))
    first = core.desk.place(intent(Side.SELL, "1", time_in_force=GTC, reduce_only=True))
    assert isinstance(first, NewOrder)
    grown = ReplaceIntent(1, "s", first.client_order_id, D(3), D(100))
    core.desk.carry_out([grown])
    core.on_event(e.OrderCancelled(63, 63, "coinbase", first.client_order_id, "v"))
    assert recorder.of(NewOrder)[-1].intent.qty <= D(qty)
    core.desk.sizes.put("s", BTC, D(0), "stopped")
    core.desk.carry_out([intent(Side.SELL, "1", reduce_only=True, limit_px=D("99.9"))])
    assert recorder.of(NewOrder)[-1].intent.qty == D(1)


def test_an_exit_that_takes_the_place_of_one_that_goes_is_not_cut() -> None:
    """1 held, a sale of 1 is being cancelled: the next sale of 1 leaves whole."""
    core, recorder = opened()
    hold(core, "1")
    first = core.desk.place(intent(Side.SELL, "1", time_in_force=GTC))
    assert isinstance(first, NewOrder)
    core.desk.sizes.put("s", BTC, D("0.9"), "canary")
    core.desk.carry_out([CancelIntent(1, "s", first.client_order_id), intent(Side.SELL, "1", time_in_force=GTC)])
    assert recorder.of(NewOrder)[-1].intent.qty == D(1)


def test_of_orders_that_rest_those_that_would_turn_go() -> None:
    """2 held: an exit that only reduces 1 and a sale of 1 stay, the sale of 1 after them goes; of a strategy with a
    part of its size, none."""
    core, _ = opened()
    hold(core, "2")
    names = []
    for changes in ({}, {"reduce_only": True}, {}):
        made = core.desk.place(intent(Side.SELL, "1", time_in_force=GTC, **changes))  # type: ignore[arg-type]
        assert isinstance(made, NewOrder)
        names.append(made.client_order_id)
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    assert core.desk.sizes.entering(BTC) == []
    core.desk.sizes.put("s", BTC, D(0), "stopped")
    assert [one.client_order_id for one in core.desk.sizes.entering(BTC)] == names[2:]


def test_what_is_left_of_an_entry_may_be_too_small() -> None:
    """0.01 times 0.05 is no lot: refused by name, with the factor."""
    core, recorder = opened(on_quote=lambda *_: [intent(qty="0.01")])
    core.desk.sizes.put("s", BTC, D("0.05"), "canary's share 0.05")
    core.on_event(quote(10))
    (refused,) = recorder.of(Rejected)
    assert (refused.check, refused.seen, refused.limit) == (
        "model_size", "0.01 times 0.05 (canary's share 0.05)", "at least 0.01",
    )  # fmt: skip
    assert core.counters.rejected == {"model_size": 1}


def test_others_and_other_instruments_are_not_cut() -> None:
    """The table is by strategy and instrument."""
    core, recorder = opened(on_quote=lambda *_: [intent()])
    core.desk.sizes.put("another", BTC, D(0), "broken")
    core.desk.sizes.put("s", "ETH/USD@coinbase", D(0), "broken")
    core.on_event(quote(10))
    assert [order.intent.qty for order in recorder.of(NewOrder)] == [D(1)]


def test_a_factor_of_one_ends_it() -> None:
    """Nothing is left in the table, so that orders pass as ever."""
    core, _ = opened()
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    core.desk.sizes.put("s", BTC, D("1.0"), "")
    assert core.desk.sizes.table == {}


def test_a_bracket_is_cut_as_a_whole() -> None:
    """Entry and exits keep one size."""
    exits = (
        intent(Side.SELL, "1", limit_px=D(110), time_in_force=GTC, reduce_only=True),
        intent(
            Side.SELL,
            "1",
            order_type=OrderType.STOP,
            limit_px=None,
            trigger_px=D(90),
            time_in_force=GTC,
            reduce_only=True,
        ),
    )
    core, recorder = opened(on_quote=lambda *_: [GroupIntent(1, "s", exits, intent(qty="1"))])
    core.desk.sizes.put("s", BTC, D("0.25"), "alarm")
    core.on_event(quote(10))
    assert recorder.of(NewOrder)[0].intent.qty == D("0.25")
    (group,) = core.view.groups()
    assert {one.qty for one in core.desk.groups.book.groups[group.group_id].intent.exits} == {D("0.25")}


def test_an_order_grows_to_the_cut_size_and_shrinks_freely() -> None:
    """From 1 to 3: the half of 3; to 1.5 no more than it has; from 1 to 0.4 as asked."""
    core, _ = opened()
    order = core.desk.place(intent(qty="1"))
    assert isinstance(order, NewOrder)
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    name = order.client_order_id
    for wanted, expected in (("3", "1.5"), ("1.5", "1"), ("0.4", "0.4"), ("1", "1")):
        fitted = core.desk.sizes.fit(ReplaceIntent(1, "s", name, D(wanted), D(100)))
        assert isinstance(fitted, ReplaceIntent)
        assert fitted.qty == D(expected)


def test_exits_without_an_entry_are_cut_where_they_would_turn() -> None:
    """1 held, two exits of 3 that are not reduce-only: the 2 beyond count half; reduce-only ones stay whole."""
    core, _ = opened()
    hold(core, "1")
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    target = intent(Side.SELL, "3", limit_px=D(110), time_in_force=GTC)
    stop = intent(
        Side.SELL, "3", order_type=OrderType.STOP, limit_px=None, trigger_px=D(90), time_in_force=GTC, reduce_only=True
    )
    fitted = core.desk.sizes.fit(GroupIntent(1, "s", (stop, target)))
    assert isinstance(fitted, GroupIntent)
    assert (fitted.entry, [one.qty for one in fitted.exits]) == (None, [D(2), D(2)])
    whole = GroupIntent(1, "s", (stop,))
    assert core.desk.sizes.fit(whole) is whole


def test_a_cut_order_that_is_repriced_stays_cut() -> None:
    """Wished at 1 again and again, at other prices, with a fill between: 0.5 in all."""
    core, recorder = opened()
    core.desk.sizes.put("s", BTC, D("0.5"), "alarm")
    core.desk.carry_out([intent(time_in_force=GTC)])
    name = recorder.of(NewOrder)[-1].client_order_id
    for number, left in enumerate(("0.5", "0.5", "0.3", "0.3")):
        if number == 2:
            core.on_event(fill(recorder.of(NewOrder)[-1], "0.2", "100", "t1"))
        core.desk.carry_out([ReplaceIntent(1, "s", name, D(1), D(99 - number))])
        core.on_event(e.OrderCancelled(60 + number, 60 + number, "coinbase", name, f"v-{name}"))
        newest = recorder.of(NewOrder)[-1]
        assert (newest.intent.qty, newest.client_order_id != name) == (D(left), True)
        name = newest.client_order_id


def test_an_exit_that_is_repriced_is_never_cut() -> None:
    """2 held, a sale of 2 that is not reduce-only: 1.2 of it fill, what is left follows the price whole."""
    core, recorder = opened()
    hold(core, "2")
    core.desk.sizes.put("s", BTC, D("0.05"), "alarm")
    core.desk.carry_out([intent(Side.SELL, "2", time_in_force=GTC)])
    name = recorder.of(NewOrder)[-1].client_order_id
    core.on_event(fill(recorder.of(NewOrder)[-1], "1.2", "100", "t1"))
    for number in range(3):
        core.desk.carry_out([ReplaceIntent(1, "s", name, D(2), D(99 - number))])
        core.on_event(e.OrderCancelled(60 + number, 60 + number, "coinbase", name, f"v-{name}"))
        newest = recorder.of(NewOrder)[-1]
        assert (newest.intent.qty, newest.client_order_id != name) == (D("0.8"), True)
        name = newest.client_order_id


@pytest.mark.parametrize("qty", ["1E+39", "9" * 40])
def test_a_size_beyond_all_digits_is_refused(qty: str) -> None:
    """Whatever cannot be computed leaves nothing of the entry."""
    core, recorder = opened(on_quote=lambda *_: [intent(qty=qty)])
    core.desk.sizes.put("s", BTC, D("0.3"), "canary")
    core.on_event(quote(10))
    assert recorder.of(NewOrder) == []
    assert [one.check for one in recorder.of(Rejected)] == ["model_size"]


def test_an_entry_that_waited_for_its_price_is_refused_while_nobody_serves() -> None:
    """A stop entry was taken in before; its price comes after the model broke."""
    wishes = [intent(order_type=OrderType.STOP, limit_px=None, trigger_px=D("100.50"), time_in_force=GTC)]
    core, recorder = opened(on_quote=lambda *_: wishes)
    core.on_event(quote(10))
    wishes.clear()
    core.desk.sizes.put("s", BTC, D(0), "broken")
    core.on_event(quote(11, 100.60, 100.61))
    assert recorder.of(NewOrder) == []
    assert [(one.check, one.seen) for one in recorder.of(Rejected)] == [("model", "broken")]


def test_the_operator_and_risk_are_never_cut() -> None:
    """Orders by hand are in no model's name."""
    core, _ = opened()
    core.desk.sizes.put("s", BTC, D(0), "broken")
    out = core.on_event(
        e.OperatorRequested(
            10, 10, "order", "ana", "", BTC, side=Side.BUY, qty=D(1), order_type="limit", limit_px=D(100)
        )
    )
    assert len(out) == 1
