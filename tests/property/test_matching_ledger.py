"""Money is conserved: whatever two accounts do to each other, nothing appears and nothing is lost."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.matching.ledger import Ledger
from connectors.matching.orders import BookOrder, Closed, Filled, Refused
from engine.commands import OrderType, TimeInForce
from engine.events import Liquidity, Side
from tests.support.matching import PERPETUAL, SPOT, book

BUY, SELL = Side.BUY, Side.SELL
ACCOUNTS = ("ann", "bob")

orders = st.tuples(
    st.sampled_from(ACCOUNTS),
    st.sampled_from([BUY, SELL]),
    st.integers(1, 30),
    st.integers(195, 205),
    st.sampled_from([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
)
steps = st.lists(st.one_of(orders, st.integers(0, 30)), max_size=40)


def trade(instrument, script, deposits):
    """A venue in small: reserve, match, book, release.  Yields the ledger after each step."""
    ledger, engine = Ledger(), book(instrument)
    for account in ACCOUNTS:
        for currency, amount in deposits.items():
            ledger.deposit(account, currency, Decimal(amount))
    for n, step in enumerate(script):
        if isinstance(step, int):
            closed = engine.cancel(f"o{step}", n)
            outcomes = [closed] if closed else []
        else:
            account, side, lots, half_px, tif = step
            px = half_px * instrument.tick_px
            order = BookOrder(f"o{n}", account, side, OrderType.LIMIT, lots * instrument.lot_qty, px, tif)
            best = engine.best_px(BUY) if side is SELL else None
            if ledger.reserve(order, instrument, px if best is None else max(px, best)):
                continue
            outcomes = engine.submit(order, n)
        for outcome in outcomes:
            if isinstance(outcome, Filled):
                for order_id, who, side, liquidity in (
                    (outcome.maker_id, outcome.maker_account, outcome.aggressor.opposite, Liquidity.MAKER),
                    (outcome.taker_id, outcome.taker_account, outcome.aggressor, Liquidity.TAKER),
                ):
                    ledger.apply_fill(
                        who,
                        instrument,
                        order_id=order_id,
                        side=side,
                        qty=outcome.qty,
                        px=outcome.px,
                        liquidity=liquidity,
                    )
            elif isinstance(outcome, (Closed, Refused)):
                ledger.release(outcome.order_id)
        yield ledger, engine


@settings(max_examples=150, deadline=None)
@given(steps)
def test_spot_money_is_conserved_and_never_overspent(script):
    """Sum of both accounts plus fees is the deposit, in each currency; nothing available is ever negative."""
    for ledger, _ in trade(SPOT, script, {"USD": 500, "BTC": 5}):
        for currency, amount in (("USD", 1000), ("BTC", 10)):
            balances = [ledger.balance(account, currency) for account in ACCOUNTS]
            total = sum(b.total for b in balances) + ledger.fees_collected.get(currency, Decimal(0))
            assert total == amount
            assert all(0 <= b.available <= b.total for b in balances)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_holds_are_gone_when_the_orders_are(script):
    """After everything open is cancelled, available is total (spot) again."""
    states = list(trade(SPOT, script, {"USD": 500, "BTC": 5}))
    if not states:
        return
    ledger, engine = states[-1]
    for account in ACCOUNTS:
        for order_id in list(engine.orders_of(account)):
            engine.cancel(order_id, 99)
            ledger.release(order_id)
        for balance in ledger.balances(account).values():
            assert balance.available == balance.total


@settings(max_examples=100, deadline=None)
@given(steps)
def test_margined_positions_mirror_each_other_and_open_profit_is_zero_sum(script):
    """Positions sum to zero; cash plus fees plus open profit at one mark is the deposit (averages: to 1e-15)."""
    mark_px = Decimal(100)
    for ledger, _ in trade(PERPETUAL, script, {"USDT": 400}):
        positions = [ledger.position(account, PERPETUAL) for account in ACCOUNTS]
        assert sum(p.qty for p in positions) == 0
        worth = sum(ledger.balance(account, "USDT").total for account in ACCOUNTS)
        worth += sum(p.qty * (mark_px - p.avg_px) for p in positions)
        worth += ledger.fees_collected.get("USDT", Decimal(0))
        assert abs(worth - 800) < Decimal("1e-15")
