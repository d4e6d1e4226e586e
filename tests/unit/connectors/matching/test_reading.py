"""Questions asked of a book that is small enough to check by eye; none of them changes it."""

from __future__ import annotations

from engine.events import Side
from tests.support.matching import D, book, ladder, limit, market, stop

BUY, SELL = Side.BUY, Side.SELL


def test_changes_replayed_on_a_copy_give_the_same_book():
    """A receiver that applies drained changes has the engine's levels after each step."""
    engine = ladder()
    copy = {}
    steps = [
        lambda: engine.submit(market("t1", BUY, "6"), 1),
        lambda: engine.submit(limit("n1", SELL, "1", "100.5"), 2),
        lambda: engine.cancel("b2", 3),
        lambda: engine.submit(market("t2", SELL, "5"), 4),
    ]
    for step in steps:
        step()
        for side, px, qty in engine.drain_changes():
            copy[side, px] = qty
        told = {key: qty for key, qty in copy.items() if qty}
        real = {(side, px): qty for side in (BUY, SELL) for px, qty in engine.levels(side, 99)}
        assert told == real
    assert engine.drain_changes() == []


def test_sweep_tells_what_a_market_order_would_do_without_doing_it():
    """6 units reach 102; a budget of 530 gets 5.2; a limit of 101 gets 5."""
    engine = ladder()
    assert engine.sweep(BUY, qty=D(6)) == (D(6), D(102))
    assert engine.sweep(BUY, quote_qty=D(530)) == (D("5.2"), D(102))
    assert engine.sweep(BUY, qty=D(9), limit_px=D(101)) == (D(5), D(101))
    assert engine.sweep(SELL, qty=D(99)) == (D(5), D(99))
    assert engine.best() == (D(100), D(2), D(101), D(5))
    assert engine.ahead_qty("a2") == D(2)


def test_levels_are_told_best_first_and_as_deep_as_asked():
    """The ladder's sides; an empty side has no best."""
    engine = ladder()
    assert engine.levels(SELL, 99) == [(D(101), D(5)), (D(102), D(4))]
    assert engine.levels(BUY, 1) == [(D(100), D(2))]
    assert (engine.best_px(BUY), engine.best_px(SELL)) == (D(100), D(101))
    assert (engine.level_count(BUY), engine.qty_at(SELL, D(102)), engine.qty_at(SELL, D(103))) == (2, D(4), D(0))
    engine.submit(market("t", BUY, "9"), 1)
    assert engine.best() is None


def test_orders_are_found_by_id_by_account_and_in_their_queue():
    """Two of one account at one price, one that waits for its trigger, one of the market's own."""
    engine = book()
    assert not engine.has_clients()
    engine.submit(limit("m", SELL, "1", "101", account="market"), 0)
    assert not engine.has_clients()
    for name in ("a", "b"):
        engine.submit(limit(name, SELL, "2", "101", account="me"), 0)
    engine.submit(stop("s", BUY, "1", "105", "106"), 0)
    assert [live.order_id for live in engine.queue(SELL, D(101))] == ["m", "a", "b"]
    assert list(engine.orders_of("me")) == ["a", "b"]
    assert sorted(live.order_id for live in engine.client_orders()) == ["a", "b", "s"]
    assert engine.has_clients()
    assert engine.order("s").waiting
    assert [engine.ahead_qty(name) for name in ("m", "b", "s", "never")] == [D(0), D(3), None, None]
