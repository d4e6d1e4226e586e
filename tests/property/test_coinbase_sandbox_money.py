"""The sandbox's money under any orders: nothing is made, nothing is lost, nothing is held by what is closed."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.coinbase.sandbox import editing, previews
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS, FUTURES, SandboxSettings
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder
from engine.commands import OrderType, TimeInForce
from engine.events import Side

NOW_NS = 1_795_183_387_000_000_000
SECOND_NS = 1_000_000_000
SPOT, CONTRACT = "BTC-USD", FUTURES[0].product_id
START = {"USD": Decimal(200_000), "BTC": Decimal(3)}

sides = st.sampled_from(["BUY", "SELL"])
prices = st.integers(min_value=59_900, max_value=60_100).map(lambda px: px // 5 * 5)
sizes = st.sampled_from(["0.5", "1", "2"])
steps = st.one_of(
    st.tuples(st.just("others"), sides, prices, sizes),
    st.tuples(st.just("limit"), sides, prices, sizes),
    st.tuples(st.just("ioc"), sides, prices, sizes),
    st.tuples(st.just("attached"), sides, prices, sizes),
    st.tuples(st.just("sliced"), sides, prices, sizes),
    st.tuples(st.just("bracket"), sides, prices, sizes),
    st.tuples(st.just("contract"), sides, prices, sizes),
    st.tuples(st.just("edit"), sides, prices, sizes),
    st.tuples(st.just("cancel"), sides, prices, sizes),
    st.tuples(st.just("time"), sides, prices, sizes),
)


class World:
    """One sandbox of a pair and a contract, and what the steps do to it."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        given_ = SandboxSettings(products=(DEFAULT_PRODUCTS[0], FUTURES[0]), balances=tuple(START.items()))
        self.exchange = Exchange(given_, now_ns=NOW_NS, new_id=lambda: f"id{next(self.ids)}")
        self.now_ns = NOW_NS
        for product_id in (SPOT, CONTRACT):
            for px in range(60_005, 60_100, 20):
                self.others(product_id, "SELL", px, "2")
                self.others(product_id, "BUY", 120_000 - px, "2")

    def others(self, product_id: str, side: str, px: int, size: str, *, ioc: bool = False) -> None:
        market = self.exchange.markets[product_id]
        qty = max(Decimal(size), market.instrument.lot_qty) // market.instrument.lot_qty * market.instrument.lot_qty
        force = TimeInForce.IOC if ioc else TimeInForce.GTC
        order = BookOrder(
            f"o{next(self.ids)}", MARKET_ACCOUNT, Side[side], OrderType.LIMIT, qty, Decimal(px), time_in_force=force
        )
        self.exchange.absorb(market, market.engine.submit(order, self.now_ns), self.now_ns)

    def place(self, side: str, configuration: dict[str, Any], product_id: str = SPOT, **more: Any) -> None:
        body = {"client_order_id": f"c{next(self.ids)}", "product_id": product_id, "side": side}
        body |= {"order_configuration": configuration, **more}
        previews.preview(self.exchange, body, self.now_ns, "p")
        self.exchange.place(body, self.now_ns)

    def step(self, kind: str, side: str, px: int, size: str) -> None:
        limit = {"base_size": size, "limit_price": str(px)}
        sign = 1 if side == "BUY" else -1
        around = {"limit_price": str(px + sign * 60), "stop_trigger_price": str(px - sign * 60)}
        if kind == "others":
            self.others(SPOT, side, px, size, ioc=size == "2")
            self.others(CONTRACT, side, px, size, ioc=size == "2")
        elif kind == "limit":
            self.place(side, {"limit_limit_gtc": limit})
        elif kind == "ioc":
            self.place(side, {"sor_limit_ioc": limit})
        elif kind == "attached":
            self.place(side, {"limit_limit_gtc": limit}, attached_order_configuration={"trigger_bracket_gtc": around})
        elif kind == "bracket":
            turned = {"limit_price": around["stop_trigger_price"], "stop_trigger_price": around["limit_price"]}
            self.place(side, {"trigger_bracket_gtc": {"base_size": size, **turned}})
        elif kind == "sliced":
            end_s = self.now_ns // SECOND_NS + 5
            times = {"end_time": str(end_s), "number_buckets": "3", "bucket_duration": "1s"}
            self.place(side, {"twap_limit_gtd": limit | times})
        elif kind == "contract":
            self.place(side, {"limit_limit_gtc": {"base_size": "2", "limit_price": str(px)}}, CONTRACT)
        elif kind == "time":
            self.now_ns += SECOND_NS
            self.exchange.expire(self.now_ns)
        else:
            for record in list(self.exchange.open_orders.values())[:1]:
                if kind == "edit":
                    body = {"order_id": record.order_id, "size": size, "price": str(px)}
                    previews.preview_edit(self.exchange, body)
                    editing.edit(self.exchange, body, self.now_ns)
                else:
                    self.exchange.cancel(record.order_id, self.now_ns)

    def check(self) -> None:
        exchange, ledger = self.exchange, self.exchange.wallets.ledger
        for record in exchange.orders.values():
            fills = exchange.fills_of.get(record.order_id, [])
            assert record.filled_qty == sum((fill.qty for fill in fills), Decimal(0))
            assert record.fees == sum((fill.commission for fill in fills), Decimal(0))
            if record.order_id not in exchange.open_orders:
                assert ledger.held(record.order_id) == 0, record
            elif record.spec.base_size is not None:
                assert record.filled_qty < record.spec.base_size
                live = exchange.markets[record.spec.product_id].engine.order(record.order_id)
                assert record.spec.slicing is not None or live is not None
                assert live is None or live.leaves_qty == record.spec.base_size - record.filled_qty
        spot = [f for f in exchange.fills if f.product_id == SPOT]
        held = sum(fill.side * fill.qty for fill in spot)
        assert ledger.balance(ACCOUNT, "BTC").total == START["BTC"] + held
        assert ledger.balance(ACCOUNT, "BTC").available >= 0
        contracts = [f for f in exchange.fills if f.product_id == CONTRACT]
        market = exchange.markets[CONTRACT]
        position = ledger.position(ACCOUNT, market.instrument)
        assert position.qty == sum(fill.side * fill.qty for fill in contracts)
        cash = -sum(f.side * f.qty * f.px for f in spot) - sum(f.commission for f in exchange.fills)
        # What contracts moved: paid and received at their prices, less what the open position still stands for.
        unit = market.instrument.multiplier
        moved = -sum(f.side * f.qty * f.px for f in contracts) * unit + position.qty * position.avg_px * unit
        assert abs(ledger.balance(ACCOUNT, "USD").total - START["USD"] - cash - moved) < Decimal("1E-9")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=5, max_size=25))
def test_money_and_holds_add_up_after_every_step(drawn: list[tuple[str, str, int, str]]) -> None:
    """Balances are what the fills say; holds, leaves and books are those of the open orders; then all is cancelled."""
    world = World()
    for step in drawn:
        world.step(*step)
        world.check()
    for order_id in list(world.exchange.open_orders):
        world.exchange.cancel(order_id, world.now_ns)
    for order_id in list(world.exchange.open_orders):  # what was attached to those
        world.exchange.cancel(order_id, world.now_ns)
    world.check()
    assert world.exchange.open_orders == {}
    assert world.exchange.wallets.amounts("BTC")[1] == 0
