"""A view made of plain dicts, for tests of risk and strategies: ``engine.ports.View`` without a core behind it.

``open`` and ``fill`` do to it what the core does with an approved order, so that reservations can be tested.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from engine.commands import NewOrder, OrderIntent, OrderType, RiskState
from engine.consolidated import Consolidated
from engine.events import Liquidity, OrderFilled, Side
from engine.instruments import AssetClass, Instrument
from engine.ports import FeatureView, OpenGroup, OpenOrder, Position, ServedModel, Stake, Tally, Top

D = Decimal
ZERO = Decimal(0)
HUNDRED = Decimal(100)
START_NS = 1_700_000_000_000_000_000


def make_instrument(name: str = "BTC/USD@coinbase", **changes: object) -> Instrument:
    """Spot, tick 0.01, lot 0.001, 10 bps taker fee, no short sales, unless changed."""
    pair, venue = name.split("@")
    base, quote = pair.split("/")
    values: dict[str, object] = {
        "id": name,
        "venue": venue,
        "venue_symbol": pair.replace("/", "-"),
        "base": base,
        "quote": quote,
        "settlement": quote,
        "asset_class": AssetClass.SPOT,
        "tick_px": D("0.01"),
        "lot_qty": D("0.001"),
        "min_qty": D("0.001"),
        "max_qty": D("1000"),
        "min_notional": D("1"),
        "maker_fee_rate": D("0.0005"),
        "taker_fee_rate": D("0.001"),
    }
    return Instrument(**{**values, **changes})  # type: ignore[arg-type]


class FakeFeatures:
    """Feature columns by name."""

    def __init__(self, values: dict[str, float], *, warm: bool = True) -> None:
        self.values = values
        self.warm = warm
        self.reason = "" if warm else "warming up"

    def latest(self, column: str) -> float:
        return self.values[column]


class FakeView:
    """Everything known and quiet: bid 99.99, ask 100.01, equity 10,000 in USD.  Tests change the attributes."""

    def __init__(self, *instruments: Instrument) -> None:
        self.now_ns = START_NS
        self.risk_state = RiskState.ACTIVE
        self.defined = {i.id: i for i in instruments or (make_instrument(),)}
        self.tops = {name: Top() for name in self.defined}
        self.positions: dict[str, Decimal] = {}
        self.avg_pxs: dict[str, Decimal] = {}
        self.strategy_qtys: dict[tuple[str, str], Decimal] = {}
        self.stakes: dict[tuple[str, str], Stake] = {}
        self.tally_of: dict[str, Tally] = {}
        self.orders: list[OpenOrder] = []
        self.rates: dict[str, Decimal] = {"USD": D(1)}
        self.rates_by: list[str] = []
        self.equity_now: Decimal | None = D(10_000)
        self.peak: Decimal | None = D(10_000)
        self.day_start: Decimal | None = D(10_000)
        self.feature_views: dict[str, FeatureView] = {}
        self.models: dict[str, ServedModel] = {}
        self.consolidateds: dict[str, Consolidated] = {}
        self.closed: dict[str, str] = {}
        self.marks_known = True
        self._opened = 0
        for name in self.defined:
            self.quote(name, 99.99, 100.01)

    # --- what tests do ----------------------------------------------------------------------------------------

    def quote(self, name: str, bid_px: float, ask_px: float, **flags: bool) -> None:
        """A new quote now; flags: ``crossed``, ``suspect``."""
        self.tops[name] = Top(
            bid_px=bid_px,
            bid_qty=1.0,
            ask_px=ask_px,
            ask_qty=1.0,
            ts_event_ns=self.now_ns,
            ts_recv_ns=self.now_ns,
            **flags,
        )

    def open(self, intent: OrderIntent, other_px: Decimal | None = None) -> NewOrder:
        """The order is open from here on, as in the core after an approval; a limit order may be on its way to another
        price."""
        self._opened += 1
        order_id = f"o{self._opened}"
        self.orders.append(
            OpenOrder(
                client_order_id=order_id,
                strategy=intent.strategy,
                instrument=intent.instrument,
                side=intent.side,
                qty=intent.qty,
                leaves_qty=intent.qty,
                limit_px=intent.limit_px,
                state="accepted",
                reduce_only=intent.reduce_only,
                opened_ns=self.now_ns,
                trigger_px=intent.trigger_px,
                touches=intent.order_type is OrderType.MARKET_IF_TOUCHED,
                other_px=None if intent.limit_px is None or intent.trigger_px is not None else other_px,
            )
        )
        return NewOrder(self.now_ns, order_id, intent.instrument.split("@")[1], intent)

    def close(self, order_id: str) -> None:
        """The order is final."""
        self.orders = [o for o in self.orders if o.client_order_id != order_id]

    def fill(self, order_id: str, qty: Decimal, px: Decimal) -> OrderFilled:
        """Book a fill of an open order; what is left of it stays open."""
        order = next(o for o in self.orders if o.client_order_id == order_id)
        rest = [o for o in self.orders if o.client_order_id != order_id]
        leaves = order.leaves_qty - qty
        self.orders = rest + ([_with_leaves(order, leaves)] if leaves > 0 else [])
        self.hold(order.instrument, self.positions.get(order.instrument, ZERO) + qty * order.side, px)
        key = (order.strategy, order.instrument)
        self.strategy_qtys[key] = self.strategy_qtys.get(key, ZERO) + qty * order.side
        return OrderFilled(
            self.now_ns,
            self.now_ns,
            order.instrument.split("@")[1],
            order_id,
            "v" + order_id,
            f"t{self.now_ns}-{order_id}-{leaves}",
            order.instrument,
            order.side,
            qty,
            px,
            ZERO,
            "USD",
            Liquidity.TAKER,
        )

    def hold(self, name: str, qty: Decimal, avg_px: Decimal = HUNDRED, strategy: str = "") -> None:
        """Set the account's position, and a strategy's part of it when named."""
        self.positions[name] = qty
        self.avg_pxs[name] = avg_px
        if strategy:
            self.strategy_qtys[strategy, name] = qty

    # --- engine.ports.View --------------------------------------------------------------------------------------

    def instrument(self, instrument: str) -> Instrument:
        return self.defined[instrument]

    def instruments(self) -> Sequence[str]:
        return list(self.defined)

    def top(self, instrument: str) -> Top | None:
        return self.tops.get(instrument)

    def position(self, instrument: str) -> Position:
        return Position(self.positions.get(instrument, ZERO), self.avg_pxs.get(instrument, ZERO), ZERO, ZERO)

    def held(self) -> Collection[str]:
        return [name for name, qty in self.positions.items() if qty]

    def strategy_qty(self, strategy: str, instrument: str) -> Decimal:
        return self.strategy_qtys.get((strategy, instrument), ZERO)

    def held_by(self, strategy: str) -> Collection[str]:
        return [name for (owner, name), qty in self.strategy_qtys.items() if owner == strategy and qty]

    def stake(self, strategy: str, instrument: str) -> Stake:
        return self.stakes.get((strategy, instrument), Stake())

    def tallies(self) -> Mapping[str, Tally]:
        return self.tally_of

    def open_orders(self, instrument: str | None = None) -> Sequence[OpenOrder]:
        return tuple(o for o in self.orders if instrument is None or o.instrument == instrument)

    def groups(self, instrument: str | None = None) -> Sequence[OpenGroup]:
        return ()

    def open_qty(self, instrument: str, side: Side) -> Decimal:
        return sum((o.leaves_qty for o in self.orders if o.instrument == instrument and o.side == side), ZERO)

    def mark_px(self, instrument: str) -> Decimal | None:
        top = self.tops.get(instrument)
        if top is None or top.mid_px != top.mid_px or not self.marks_known:
            return None
        return self.defined[instrument].price(top.mid_px)

    def rate(self, currency: str) -> Decimal | None:
        return self.rates.get(currency)

    def rate_markets(self) -> Sequence[str]:
        return self.rates_by

    def equity(self) -> Decimal | None:
        return self.equity_now

    def equity_peak(self) -> Decimal | None:
        return self.peak

    def equity_day_start(self) -> Decimal | None:
        return self.day_start

    def features(self, instrument: str) -> FeatureView | None:
        return self.feature_views.get(instrument)

    def model(self, instrument: str) -> ServedModel | None:
        return self.models.get(instrument)

    def consolidated(self, instrument: str) -> Consolidated | None:
        return self.consolidateds.get(instrument)

    def tradable(self, instrument: str) -> str:
        return self.closed.get(instrument, "")


def _with_leaves(order: OpenOrder, leaves_qty: Decimal) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        strategy=order.strategy,
        instrument=order.instrument,
        side=order.side,
        qty=order.qty,
        leaves_qty=leaves_qty,
        limit_px=order.limit_px,
        state="partially_filled",
        reduce_only=order.reduce_only,
        opened_ns=order.opened_ns,
        trigger_px=order.trigger_px,
        touches=order.touches,
        other_px=order.other_px,
    )
