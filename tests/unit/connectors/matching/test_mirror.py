"""A real market inside our book: queue position, prices through us, and what doubt costs."""

from __future__ import annotations

from connectors.matching.mirror import MarketMirror
from connectors.matching.orders import Filled, Triggered
from engine.commands import TimeInForce
from engine.events import Side
from tests.support.matching import FX, NAN, SPOT, D, book, bracket, ends, fills, limit, market, quote, stop, trade

BUY, SELL = Side.BUY, Side.SELL


def mirrored(instrument=SPOT, **settings) -> MarketMirror:
    return MarketMirror(book(instrument), **settings)


def ours(outcomes, order_id="me"):
    """``(price, quantity)`` of fills of our order."""
    return [(p, q) for maker, taker, p, q in fills(list(outcomes)) if order_id in (maker, taker)]


def test_without_orders_of_ours_the_book_is_not_built():
    """A thousand quotes leave an empty book; the first order meets the last one."""
    mirror = mirrored()
    for n in range(1000):
        assert not mirror.on_quote(quote(100 + n, 101 + n, ts=n))
    assert mirror.engine.best() is None
    assert ours(mirror.submit(market("me", BUY, "1"), 1000)) == [("1100", "1")]


def test_a_taker_gets_the_best_size_and_no_more():
    """8 asked, 5 shown: the rest finds no liquidity."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    out = mirror.submit(market("me", BUY, "8"), 1)
    assert ours(out) == [("101", "5")]
    assert ends(out)["me"] == "no_liquidity"


def test_what_we_took_is_missing_until_it_is_refilled():
    """5 shown, 3 taken: 2 left under the same quote, 5 again a second later, and 5 at once at a new price."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101, ts=0))
    mirror.submit(market("a", BUY, "3"), 10)
    assert ours(mirror.submit(market("b", BUY, "9"), 20), "b") == [("101", "2")]
    assert ours(mirror.submit(market("c", BUY, "9"), 1_000_000_020), "c") == [("101", "5")]
    mirror.on_quote(quote(100, 101.5, ts=1_000_000_030))
    assert ours(mirror.submit(market("d", BUY, "9"), 1_000_000_040), "d") == [("101.5", "5")]


def test_a_passive_order_waits_behind_the_size_that_was_there():
    """5 ahead: a trade of 4 does not reach us, the next of 2 fills us with 1."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    assert ours(mirror.on_trade(trade(100, 4, -1, ts=2))) == []
    assert mirror.engine.ahead_qty("me") == D(1)
    assert ours(mirror.on_trade(trade(100, 2, -1, ts=3))) == [("100", "1")]


def test_size_that_joins_later_stands_behind_us():
    """The bid grows from 5 to 9: a trade of 6 takes 5, then 1 of ours."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    mirror.on_quote(quote(100, 101, bid_qty=9, ts=2))
    assert ours(mirror.on_trade(trade(100, 6, -1, ts=3))) == [("100", "1")]


def test_size_that_leaves_goes_from_behind_us_first():
    """9 with 4 behind us shrinks to 5: still 5 ahead."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    mirror.on_quote(quote(100, 101, bid_qty=9, ts=2))
    mirror.on_quote(quote(100, 101, bid_qty=5, ts=3))
    assert mirror.engine.ahead_qty("me") == D(5)


def test_a_quote_before_its_trade_moves_us_forward_once():
    """5 ahead; a trade of 4 shows first as a quote of 1, then as the trade: 1 is still ahead of us."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    mirror.on_quote(quote(100, 101, bid_qty=1, ts=2))
    assert ours(mirror.on_trade(trade(100, 4, -1, ts=3))) == []
    assert mirror.engine.ahead_qty("me") == D(1)
    assert ours(mirror.on_trade(trade(100, 2, -1, ts=4))) == [("100", "1")]


def test_a_level_that_vanishes_before_its_trade_fills_us_only_with_the_excess():
    """5 ahead vanish with the quote; the trade of 6 that did it reaches us with 1."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    mirror.on_quote(quote(99, 101, ts=2))
    assert ours(mirror.on_trade(trade(100, 6, -1, ts=3))) == [("100", "1")]


def test_a_trade_beyond_our_price_fills_us_at_our_price():
    """It traded at 99 while we bid 100: we were first."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    assert ours(mirror.on_trade(trade(99, 50, -1, ts=2))) == [("100", "3")]


def test_a_quote_through_our_order_fills_it_at_our_price_up_to_its_size():
    """We bid 100; the ask comes down to 99.5 with 2: 2 of our 3 fill, at 100."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    assert ours(mirror.on_quote(quote(99, 99.5, ask_qty=2, ts=2))) == [("100", "2")]
    assert mirror.engine.best_px(SELL) is None  # the shown 2 are gone, nothing is left that would cross


def test_an_order_inside_the_spread_is_first():
    """Nobody stands at 100.5: the next sell trade there is ours."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100.5"), 1)
    assert ours(mirror.on_trade(trade(100.5, 1, -1, ts=2))) == [("100.5", "1")]


def test_an_order_behind_the_best_assumes_a_queue_of_the_bests_size():
    """We join 99 while 100 is best with 5: when 99 trades, 5 go first."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "99"), 1)
    assert mirror.engine.ahead_qty("me") == D(5)
    mirror.on_quote(quote(99, 101, bid_qty=5, ts=2))
    assert mirror.engine.ahead_qty("me") == D(5)


def test_our_place_is_kept_while_the_best_price_is_elsewhere():
    """5 ahead at 100; the best goes to 100.5 and back: still 5 ahead, and nothing else is remembered."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100"), 1)
    mirror.on_quote(quote(100.5, 101, ts=2))
    mirror.on_quote(quote(100, 101, ts=3))
    assert mirror.engine.ahead_qty("me") == D(5)
    assert mirror.engine.level_count(BUY) == 1


def test_crossed_locked_and_broken_data_change_nothing():
    """After each bad event the book still shows 100 / 101; all are counted."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "99"), 1)
    bad_quotes = [(102, 101), (101, 101), (NAN, 101), (100, NAN), (-1, 101), (0, 101), (100, float("inf"))]
    for bid_px, ask_px in bad_quotes:
        assert not mirror.on_quote(quote(bid_px, ask_px))
    for px, qty in ((NAN, 1), (100, NAN), (-5, 1), (100, 0), (float("inf"), 1)):
        assert not mirror.on_trade(trade(px, qty, -1))
    assert mirror.engine.best() == (D(100), D(5), D(101), D(5))
    assert (mirror.ignored_quotes, mirror.ignored_trades) == (len(bad_quotes), 5)


def test_missing_sizes_become_the_assumed_notional():
    """100,000 of quote currency at 1.25 is 80,000 base units."""
    mirror = mirrored(FX, assumed_notional=D(100_000))
    mirror.on_quote(quote(1.24999, 1.25, NAN, NAN, of=FX.id))
    out = mirror.submit(market("me", BUY, "90000"), 1)
    assert ours(out) == [("1.25", "80000")]


def test_a_feed_finer_than_the_grid_never_gives_a_better_price():
    """Bid 100.3 and ask 100.7 on a grid of 0.5: we buy at 101 and sell at 100."""
    mirror = mirrored()
    mirror.on_quote(quote(100.3, 100.7))
    assert ours(mirror.submit(market("me", BUY, "1"), 1)) == [("101", "1")]
    assert ours(mirror.submit(market("me2", SELL, "1"), 2), "me2") == [("100", "1")]


def test_a_trade_without_a_side_is_judged_by_the_quote():
    """At the bid it is a sale, inside the spread it is nobody's."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "100.5"), 1)
    assert ours(mirror.on_trade(trade(100.5, 9, 0, ts=2))) == []
    assert ours(mirror.on_trade(trade(100, 2, 0, ts=3))) == [("100.5", "2")]


def test_a_stop_fires_on_the_markets_trades_also_when_the_trade_was_before_it():
    """102 trades before anything rests: a buy stop of 102 fires at once; one of 103 waits for 103."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.on_trade(trade(102, 1, 1))
    assert any(isinstance(o, Triggered) for o in mirror.submit(stop("now", BUY, "1", "102", "103"), 1))
    assert not any(isinstance(o, Triggered) for o in mirror.submit(stop("later", BUY, "1", "103", "103"), 2))
    assert any(isinstance(o, Triggered) for o in mirror.on_trade(trade(103, 1, 1, ts=3)))


def test_where_no_trades_are_told_stops_go_by_the_quote_and_not_by_our_last_fill():
    """We bought at 1.25; the market fell; a buy stop at 1.24 waits until the ask is there."""
    mirror = mirrored(FX)
    mirror.on_quote(quote(1.24999, 1.25, NAN, NAN, of=FX.id))
    mirror.submit(market("me", BUY, "1"), 1)
    mirror.on_quote(quote(1.22999, 1.23, NAN, NAN, ts=2, of=FX.id))
    assert not any(isinstance(o, Triggered) for o in mirror.submit(stop("s", BUY, "1", "1.24", "1.3"), 3))
    out = mirror.on_quote(quote(1.23999, 1.24, NAN, NAN, ts=4, of=FX.id))
    assert any(isinstance(o, Filled) and o.taker_id == "s" and o.px == D("1.24") for o in out)


def test_what_a_fired_stop_took_is_missing_for_the_next_order():
    """5 bid at 100, our stop sells 3 of them when 100 trades: a moment later 2 are left, under the same quote again."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101, ts=0))
    mirror.submit(stop("s", SELL, "3", "100", "99"), 1)
    assert ours(mirror.on_trade(trade(100, 1, 1, ts=2)), "s") == [("100", "3")]
    mirror.on_quote(quote(100, 101, ts=3))
    assert ours(mirror.submit(market("me", SELL, "9"), 4)) == [("100", "2")]


def test_a_bracket_queues_at_its_target_and_leaves_it_when_the_market_trades_at_its_trigger():
    """5 are before us at the ask of 101: of 6 bought there 1 is ours.  99 trades: what is left sells to the bid."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(bracket("me", SELL, "3", "101", "99"), 1)
    assert ours(mirror.on_trade(trade(101, 6, 1, ts=2))) == [("101", "1")]
    mirror.on_quote(quote(98.5, 99, ts=3))
    assert ours(mirror.on_trade(trade(99, 1, 1, ts=4))) == [("98.5", "2")]
    assert mirror.engine.order("me") is None


def test_where_no_trades_are_told_a_bracket_goes_by_the_quote():
    """Its trigger of 1.24 is above the bid of 1.23999: it sells there and then."""
    mirror = mirrored(FX)
    mirror.on_quote(quote(1.24999, 1.25, NAN, NAN, of=FX.id))
    out = mirror.submit(bracket("me", SELL, "1000", "1.26", "1.24"), 1)
    assert not any(isinstance(o, Triggered) for o in out)
    assert ours(mirror.on_quote(quote(1.23999, 1.24001, NAN, NAN, ts=2, of=FX.id))) == [("1.23999", "1000")]


def test_what_is_left_of_a_taker_far_beyond_the_best_price_meets_the_next_quotes_and_not_its_own_limit():
    """8 to sell down to 94.5, 5 are bid: the rest is sold at the bids that come, by nobody at 94.5, also not by a trade
    in between; cancelled it is gone."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(bracket("me", SELL, "9", "105", "99.5"), 1)
    mirror.on_quote(quote(99, 100, bid_qty=5, ts=2))
    assert ours(mirror.on_trade(trade(99.5, 1, -1, ts=3))) == [("99", "5")]
    assert mirror.engine.best_px(SELL) == D(100)
    assert ours(mirror.on_trade(trade(99, 50, 1, ts=4))) == []
    assert ours(mirror.on_quote(quote(98.5, 99, bid_qty=3, ts=5))) == [("98.5", "3")]
    assert mirror.engine.cancel("me", 6).filled_qty == D(8)
    assert ours(mirror.on_quote(quote(98, 99, ts=7))) == []


def test_the_mirror_stays_small_over_many_quotes():
    """5,000 moving quotes with an order of ours far away: at most a handful of orders and no old credit."""
    mirror = mirrored()
    mirror.on_quote(quote(100, 101))
    mirror.submit(limit("me", BUY, "3", "50", tif=TimeInForce.GTC), 1)
    for n in range(5000):
        base = 100 + (n * 7 % 40)
        mirror.on_quote(quote(base, base + 1, bid_qty=1 + n % 9, ask_qty=1 + n % 5, ts=n))
    assert len(mirror.engine.orders_of("market")) < 12
    assert len(mirror._credit) <= 1
