"""Plain orders by which a strategy wanted to leave, after somebody else has closed its position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.paper.exchange import PaperExchange
from engine import events as e
from engine.carried import encode_carried
from engine.commands import GroupIntent, NewOrder, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from engine.continuity import take
from engine.plain_exits import REASON
from engine.replay import ReplayRecorder, replay
from engine.stakes import OPERATOR
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import BTC, Scripted, build_core, fill, intent, perpetual, quote, spot
from tests.support.groups import SECOND_NS, Trader, exit_of, stop, target
from tests.support.limits import make_limits

D = Decimal
SALE = intent(e.Side.SELL, "2", limit_px=D(101), time_in_force=TimeInForce.GTC)


class Sandbox:
    """A market that allows shorts, at 100, and a core behind the real gate; the strategy holds 2 and rests orders."""

    def __init__(self, *wishes: OrderIntent, **limits: Any) -> None:
        usual = {"allowed_instruments": [BTC], "collar_bps": 2000, "stale_quote_ns": 60 * SECOND_NS}
        self.limits = make_limits(**{**usual, **limits})
        self.account = Account(opened=False, gate=Gate(self.limits))
        self.now_ns = 1
        publish = self.account.publish
        self.exchange = PaperExchange(
            publish, [perpetual()], venue="coinbase", balances={"USD": D(10_000)}, latency_ns=1
        )
        self.account.venue.submit, self.account.venue.cancel = self.exchange.submit, self.exchange.cancel  # type: ignore[method-assign]
        self.exchange.start(self.now_ns)
        self.price(100.0)
        self.account._next.append(intent(qty="2", limit_px=D(101)))
        self.price(100.0)
        self.account._next.extend(wishes)
        self.price(100.0)
        assert self.held == 2

    def price(self, px: float) -> None:
        """Often enough to be believed, and for what is under way to arrive."""
        for _ in range(6):
            self.now_ns += SECOND_NS
            told = e.Quote(self.now_ns, self.now_ns, BTC, px - 0.01, 10.0, px + 0.01, 10.0)
            self.exchange.advance(self.now_ns)
            self.exchange.on_market(told)
            self.account.publish(told)
            self.account.publish(e.Timer(self.now_ns, self.now_ns, "heartbeat"))

    def sell_elsewhere(self, qty: str) -> None:
        """The account's owner, at the venue."""
        wish = intent(e.Side.SELL, qty, limit_px=D(99), strategy="")
        self.exchange.submit(NewOrder(self.now_ns, f"phone-{self.now_ns}", "coinbase", wish))
        self.price(100.0)

    @property
    def held(self) -> Decimal:
        qty = self.account.core.portfolio.qty(BTC)
        assert qty == self.exchange.position(BTC).qty
        return qty


def resting(account: Account) -> list[tuple[Decimal, bool]]:
    """Size and kind of what is open."""
    return [(one.leaves_qty, one.intent.reduce_only) for one in account.core.orders.open_orders()]


@pytest.mark.parametrize(("qty", "left"), [("2", []), ("1.5", [(D("0.5"), True)])])
def test_a_resting_sale_never_opens_the_opposite_position(qty: str, left: list[Any]) -> None:
    """The owner sells at the venue what the strategy holds; the price then reaches the strategy's own sale."""
    sandbox = Sandbox(SALE)
    sandbox.sell_elsewhere(qty)
    assert resting(sandbox.account) == left
    sandbox.price(102.0)
    assert sandbox.held == 0


def test_by_hand_it_is_the_same() -> None:
    """An operator's plain sale, where opposing entries are netted."""
    sandbox = Sandbox(SALE, opposing="net")
    at = sandbox.now_ns
    sandbox.account.publish(
        e.OperatorRequested(
            at, at, "order", "ana", "why", instrument=BTC, side=e.Side.SELL, qty=D(2), order_type="market",
            time_in_force="ioc",
        )
    )  # fmt: skip
    sandbox.price(100.0)
    assert sandbox.account.core.portfolio.strategy_qty(OPERATOR, BTC) == 0
    assert resting(sandbox.account) == []
    sandbox.price(102.0)
    assert sandbox.held == 0


def test_what_was_taken_back_and_made_smaller_replays_identically() -> None:
    """Each cancel and each smaller order is made again from the same record."""
    sandbox = Sandbox(SALE)
    sandbox.sell_elsewhere("1.5")
    sandbox.price(102.0)
    written = sandbox.account.journal.written
    sent = [one.record.intent for one in written if isinstance(one.record, NewOrder)]
    wishes = [intent(qty="2", limit_px=D(101)), SALE]
    quotes = [0]

    def ask(*_: Any) -> list[OrderIntent]:
        quotes[0] += 1
        return {7: [wishes[0]], 13: [wishes[1]]}.get(quotes[0], [])

    recorder = ReplayRecorder()
    core = build_core(recorder, Scripted("s", on_quote=ask), gate=Gate(sandbox.limits))
    result = replay(written, recorder, core)
    assert (result.first_difference, len(sent), sent[-1].qty) == (None, 3, D("0.5"))


def contract() -> Account:
    """What it trades can be sold short."""
    account = Account(opened=False)
    for event in (
        e.InstrumentDefined(1, 1, perpetual()),
        e.BalanceReported(1, 1, "coinbase", "USD", D(1000), D(1000)),
        e.PositionReported(1, 1, "coinbase", BTC, D(0), D(0)),
        e.FeedUp(1, 1, "coinbase", "market"),
        e.FeedUp(1, 1, "coinbase", "user"),
        quote(2),
    ):
        account.publish(event)
    return account


def held_on_spot() -> tuple[Account, NewOrder]:
    """The owner has 5, the strategy has bought 2 besides and offers them."""
    account = Account()
    account.publish(e.BalanceReported(1, 1, "coinbase", "BTC", D(5), D(5)))
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE)
    account.accept(account.venue.orders[-1])
    return account, account.venue.orders[-1]


def closed_by_hand(account: Account, qty: str = "2") -> None:
    """By an operator's order, of which nothing else is told."""
    at = account._at()
    account.publish(
        e.OperatorRequested(
            at, at, "order", "ana", "", instrument=BTC, side=e.Side.SELL, qty=D(qty), order_type="market",
            time_in_force="ioc",
        )
    )  # fmt: skip
    account.fill(account.venue.orders[-1], qty, "100", f"hand {at}")


def test_what_is_the_owners_is_not_sold_in_place_of_what_was_closed() -> None:
    account, sale = held_on_spot()
    closed_by_hand(account)
    assert account.venue.cancelled == [sale.client_order_id]
    account.end(sale, e.OrderCancelled)
    assert len(account.venue.orders) == 3
    assert (account.core.portfolio.qty(BTC), account.core.portfolio.strategy_qty("s", BTC)) == (5, 0)


def test_a_cancel_that_is_refused_is_asked_for_again() -> None:
    """As long as the order is more than is left; a late fill ends that."""
    account, sale = held_on_spot()
    closed_by_hand(account)
    for times in (2, 3):
        account.end(sale, e.CancelRejected)
        account.now_ns += SECOND_NS
        account.publish(e.Timer(account.now_ns, account.now_ns, "heartbeat"))
        assert account.venue.cancelled == [sale.client_order_id] * times
    account.fill(sale, "2", "101", "late")
    account.now_ns += SECOND_NS
    account.publish(e.Timer(account.now_ns, account.now_ns, "heartbeat"))
    assert len(account.venue.cancelled) == 3
    assert not account.core.desk.plain_exits


def test_what_was_wished_in_its_place_may_only_reduce() -> None:
    """The strategy changes its price just before it is closed by hand: the cancel is out already."""
    account, sale = held_on_spot()
    account.wish(ReplaceIntent(1, "s", sale.client_order_id, D(2), D("100.5")))
    closed_by_hand(account, "1")
    account.end(sale, e.OrderCancelled)
    assert account.venue.cancelled == [sale.client_order_id]
    assert account.venue.orders[-1].intent.reduce_only


def test_orders_that_open_stay_and_others_orders_too() -> None:
    """Of two sales only the first was a way out; the second was to turn the position and was judged as that."""
    account = contract()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE, msgspec.structs.replace(SALE, limit_px=D(102)))
    account.wish(intent(limit_px=D(98), time_in_force=TimeInForce.GTC))
    first, second, purchase = account.venue.orders[-3:]
    closed_by_hand(account)
    assert account.venue.cancelled == [first.client_order_id]
    assert second.intent.qty == 2
    assert purchase.client_order_id not in account.venue.cancelled


def test_what_its_strategy_closes_itself_is_its_own_affair() -> None:
    account = contract()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE)
    account.fill(account.place(e.Side.SELL, "2"), "2", "100", "own")
    assert (account.venue.cancelled, bool(account.core.desk.plain_exits)) == ([], False)


def test_exits_of_a_group_come_first_and_are_its_own() -> None:
    """A target of 1 rests beside a plain sale of 1: of the 1 that is left the group has it."""
    trader = Trader()
    trader.fill(trader.place(qty="2"), "2", "100", "t1")
    trader.wish(GroupIntent(1, "s", (target(qty="1"), stop(qty="1"))))
    trader.accept(trader.last)
    trader.wish(msgspec.structs.replace(SALE, qty=D(1)))
    plain = trader.last
    trader.accept(plain)
    closed_by_hand(trader, "1")
    assert trader.venue.cancelled == [plain.client_order_id]


@pytest.mark.parametrize("told", ["balance", "position"])
def test_what_the_venue_tells_as_gone_after_a_start_is_no_more_to_leave(told: str) -> None:
    """Closed by nobody knows whom while no session ran: nothing is asked for before the account is confirmed."""
    before = Account() if told == "balance" else contract()
    before.fill(before.place(qty="2"), "2", "100", "t1")
    before.wish(SALE)
    sale = before.venue.orders[-1]
    state = encode_carried(take(before.core, ""))
    after = Account(opened=False, id_prefix="l")
    after.publish(e.StateCarried(1, 1, "before", 0, state))
    after.publish(e.InstrumentDefined(2, 2, before.core.view.instrument(BTC)))
    if told == "position":
        after.publish(e.PositionReported(60, 60, "coinbase", BTC, D(0), D(0)))
    after.publish(e.Timer(60, 60, "heartbeat"))
    assert after.venue.cancelled == []
    left = (("USD", D(800)), *((("BTC", D(0)),) if told == "balance" else ()))
    after.publish(e.AccountSettled(61, 61, "coinbase", left))
    assert after.venue.cancelled == [sale.client_order_id]
    (cancel,) = [one for one in after.records if getattr(one, "reason", "") == REASON]
    assert cancel.client_order_id == sale.client_order_id


def test_a_position_that_was_short_is_the_mirror_image() -> None:
    account = contract()
    account.fill(account.place(e.Side.SELL, "2"), "2", "100", "t1")
    account.wish(intent(e.Side.BUY, "2", limit_px=D(99), time_in_force=TimeInForce.GTC))
    purchase = account.venue.orders[-1]
    bought = NewOrder(1, "phone", "coinbase", intent(e.Side.BUY, "2"))
    account.fill(bought, "2", "100", "elsewhere")
    assert account.venue.cancelled == [purchase.client_order_id]


def test_reduce_only_alone_is_no_promise_where_the_venue_does_not_know_it() -> None:
    """On spot a venue sells what there is: the owner's."""
    account = Account()
    account.publish(e.BalanceReported(1, 1, "coinbase", "BTC", D(5), D(5)))
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(exit_of(SALE.order_type, limit_px=D(101)))
    sale = account.venue.orders[-1]
    closed_by_hand(account)
    assert account.venue.cancelled == [sale.client_order_id]


def test_what_goes_in_its_place_follows_what_is_closed_in_parts() -> None:
    """A close fills in two parts while the cancel of the strategy's sale is under way: what was to follow after the
    first is more than is left after the second."""
    account, sale = held_on_spot()
    at = account._at()
    account.publish(
        e.OperatorRequested(
            at, at, "order", "ana", "", instrument=BTC, side=e.Side.SELL, qty=D("1.5"), order_type="market",
            time_in_force="ioc",
        )
    )  # fmt: skip
    close = account.venue.orders[-1]
    account.fill(close, "0.5", "100", "hand 1")
    account.fill(close, "1", "100", "hand 2")
    account.end(sale, e.OrderCancelled)
    assert [one.intent.qty for one in account.venue.orders[3:]] == [D("0.5")]


def test_a_stop_at_the_venue_goes_on_protecting_what_is_left() -> None:
    """It became smaller as a limit does; it went, and nothing came in its place."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    stop_limit = {"order_type": OrderType.STOP_LIMIT, "trigger_px": D(95), "limit_px": D(94)}
    account.wish(msgspec.structs.replace(SALE, **stop_limit))
    protection = account.venue.orders[-1]
    account.accept(protection)
    closed_by_hand(account, "0.5")
    assert account.venue.cancelled == [protection.client_order_id]
    account.end(protection, e.OrderCancelled)
    left = account.venue.orders[-1].intent
    assert (left.qty, left.order_type, left.trigger_px, left.reduce_only) == (D("1.5"), OrderType.STOP_LIMIT, 95, True)


def test_what_the_owner_sells_in_another_symbol_takes_the_exit_of_who_held_the_coins() -> None:
    """The second symbol in the same coins has none: they are of the strategy, whose sale rests in the first."""
    account = Account()
    euro = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    account.publish(e.InstrumentDefined(1, 1, euro))
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE)
    sale = account.venue.orders[-1]
    elsewhere = NewOrder(1, "phone", "coinbase", intent(e.Side.SELL, "2", instrument=euro.id))
    account.fill(elsewhere, "2", "100", "elsewhere")
    assert account.core.portfolio.strategy_qty("s", BTC) == 0
    assert account.venue.cancelled == [sale.client_order_id]


def test_a_fee_of_somebody_elses_sale_is_no_more_to_leave() -> None:
    """Paid in the coins that were sold, all of them the seller's: what is left is one fee less than its holder had."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE)
    sale = account.venue.orders[-1]
    book = account.core.portfolio
    for side, at in ((e.Side.BUY, 1), (e.Side.SELL, 2)):
        other = NewOrder(1, f"t-{at}", "coinbase", intent(side, "1", "t"))
        account.core.orders.adopt(other)
        told = msgspec.structs.replace(
            fill(other, "1", "100", f"other {at}", "0.01" if at == 2 else "0"), fee_currency="BTC"
        )
        account.publish(told)
    assert (book.strategy_qty("s", BTC), book.qty(BTC)) == (D("1.99"), D("1.99"))
    assert account.venue.cancelled == [sale.client_order_id]


def test_two_closes_that_are_looked_at_together() -> None:
    """What was held before both is what the sale was to leave: the books of one are not the other's beginning."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.wish(SALE)
    exits = account.core.desk.plain_exits
    for trade, qty in (("phone 1", "0.5"), ("phone 2", "1.5")):
        sold = fill(NewOrder(1, "phone", "coinbase", intent(e.Side.SELL, qty)), qty, "100", trade)
        account.core.portfolio.apply_fill(sold, "")
    exits.lost(account.core.portfolio.taken)
    exits.look()
    assert account.core.orders.open_orders()[0].cancel_sent
