"""Who holds what, and who has lost it to whom."""

from __future__ import annotations

from engine.events import Side
from engine.owners import Owners
from engine.portfolio import Portfolio
from tests.support.core import BTC, D, execution, spot


def test_what_others_close_is_told_and_what_one_closes_itself_is_not() -> None:
    """Also for who looks at the list again after it was emptied."""
    owners = Owners()
    taken = owners.taken
    owners.share_out(BTC, [("a", D(2)), ("b", D(1))])
    owners.take_from(BTC, [("a", D(-2)), ("b", D(-1))], "b")
    assert (taken, list(owners.holders())) == ([("a", BTC, D(-2))], [])
    taken.clear()
    owners.take_from(BTC, [("b", D(-1))])
    assert (taken, owners.qty("b", BTC), list(owners.holders())) == ([("b", BTC, D(-1))], -1, [("b", BTC)])


def test_who_holds_what_follows_closers_venues_and_sessions() -> None:
    """The guardian closes for one of two holders, the venue then shows less; a next session knows who is left, also of
    what it does not list."""
    book = Portfolio("USD")
    book.define(spot())
    book.report_balance("coinbase", "USD", D(1000))
    for strategy, qty in (("a", "2"), ("b", "1")):
        book.apply_fill(execution(Side.BUY, qty, "100"), strategy)
    assert [list(book.held_by(one)) for one in ("a", "b", "c")] == [[BTC], [BTC], []]
    book.apply_fill(execution(Side.SELL, "2", "100"), "guardian")
    assert [list(book.held_by(one)) for one in ("a", "b", "guardian")] == [[], [BTC], []]
    book.apply_fill(execution(Side.BUY, "1", "100"), "a")
    book.adjust_balance("coinbase", "BTC", D(1), lambda _: D(100))
    left = [one for one in ("a", "b") if book.strategy_qty(one, BTC)]
    assert [list(book.held_by(one)) for one in left] == [[BTC]]
    after = Portfolio("USD")
    after.define(spot())
    after.report_balance("coinbase", "USD", D(1000))
    after.apply_fill(execution(Side.BUY, "1", "100"), "c")
    after.restore(book.carried())
    for one in ("a", "b", "c"):
        assert list(after.held_by(one)) == list(book.held_by(one))
