"""Laws of the gate, over arbitrary accounts, limits and orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.commands import Approved, OrderIntent, OrderType, Rejected, RiskState, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass
from engine.ports import Tally, Top
from risk.gate import Gate
from risk.limits import REQUIRED, GroupLimits, Limits, StrategyLimits
from tests.support.fake_view import START_NS, FakeView, make_instrument
from tests.support.limits import make_limits

D = Decimal
ZERO = Decimal(0)
A, B = "BTC/USDT@binance_usdm", "ETH/EUR@binance_usdm"
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

qtys = st.integers(1, 12_000).map(lambda lots: D(lots) / 1000)
pxs = st.integers(9_900, 10_100).map(lambda ticks: D(ticks) / 100)
sides = st.sampled_from([Side.BUY, Side.SELL])


@st.composite
def intents(draw: st.DrawFn) -> OrderIntent:
    """Well-formed orders in two instruments, limit and market, reducing or not."""
    is_market = draw(st.booleans())
    return OrderIntent(
        ts_ns=1,
        strategy=draw(st.sampled_from(["s", "t"])),
        instrument=draw(st.sampled_from([A, B])),
        side=draw(sides),
        qty=draw(qtys),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        limit_px=None if is_market else draw(pxs),
        reduce_only=draw(st.booleans()),
    )


@st.composite
def limit_values(draw: st.DrawFn) -> dict[str, Any]:
    """Limits near the sizes the orders have, so that each binds now and then."""
    money = st.integers(1, 6_000)
    return {
        "allowed_instruments": draw(st.sampled_from([[A], [A, B]])),
        "max_order_qty": {"*": draw(st.integers(1, 12))},
        "max_position_qty": {"*": draw(st.integers(1, 30))},
        "max_order_notional": draw(money),
        "max_position_notional": draw(money),
        "max_gross_notional": draw(money),
        "max_net_notional": draw(money),
        "collar_bps": draw(st.integers(1, 120)),
        "max_open_orders": draw(st.integers(1, 6)),
        "max_orders_per_s": draw(st.integers(1, 8)),
        "max_orders_per_s_instrument": draw(st.integers(1, 8)),
        "max_daily_loss": draw(st.integers(1, 200)),
        "max_drawdown_bps": draw(st.integers(1, 200)),
    }


@dataclass
class Account:
    """What the fake view is built from, so that two gates can be shown equal ones."""

    positions: dict[str, Decimal]
    loss: int
    state: RiskState

    def view(self) -> FakeView:
        defined = [
            make_instrument(
                name,
                asset_class=AssetClass.PERPETUAL,
                can_short=True,
                settlement=name[4:].split("@")[0],
                margin_rate=D("0.1"),
            )
            for name in (A, B)
        ]
        view = FakeView(*defined)
        view.rates = {"USDT": D(1), "EUR": D("1.2")}
        for name, qty in self.positions.items():
            view.hold(name, qty, strategy="s")
        view.equity_now = D(10_000 - self.loss)
        view.risk_state = self.state
        return view


accounts = st.builds(
    Account,
    positions=st.fixed_dictionaries({n: st.integers(-9_000, 9_000).map(lambda lots: D(lots) / 1000) for n in (A, B)}),
    loss=st.integers(0, 150),
    state=st.sampled_from([RiskState.ACTIVE, RiskState.ACTIVE, RiskState.REDUCING]),
)


def approvals(limits: Limits, view: FakeView, batch: list[OrderIntent]) -> list[bool]:
    """Judge one after the other; the approved stay open, as in the core."""
    gate, found = Gate(limits), []
    for intent in batch:
        verdict = gate.review(intent, view)
        found.append(isinstance(verdict, Approved))
        if isinstance(verdict, Approved):
            gate.on_opened(view.open(intent))
    return found


def tightened(limits: Limits, name: str, percent: int) -> Limits:
    """The named limit lowered to that share of itself."""

    def lower(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lower(part) for key, part in value.items()}
        if isinstance(value, StrategyLimits | GroupLimits):
            numbers = {field: getattr(value, field) for field in value.__struct_fields__}
            lowered = {k: lower(v) for k, v in numbers.items() if isinstance(v, int | Decimal)}
            return msgspec.structs.replace(value, **lowered)
        return value * percent // 100 if isinstance(value, int) else value * percent / 100

    return msgspec.structs.replace(limits, **{name: lower(getattr(limits, name))})


TIGHTENABLE = [name for name in REQUIRED if name not in {"allowed_instruments", "duplicate_window_ns"}]
MORE = [
    "max_credit",
    "max_leverage",
    "max_margin_bps",
    "max_orders_per_fill",
    "max_repeats",
    "max_consecutive_losses",
    "reference_collar_bps",
    "stale_mark_ns",
    "max_spread_bps",
    "strategy_limits",
    "group_limits",
]
"""Controls that are tightened by lowering their numbers."""


@st.composite
def more_values(draw: st.DrawFn) -> dict[str, Any]:
    """Controls beyond the required limits, near the sizes the orders have; each is in use now and then."""
    money = st.integers(1, 6_000)
    values: dict[str, Any] = {
        "max_credit": money,
        "max_leverage": st.sampled_from(["0.05", "0.1", "0.3", 1]),
        "max_margin_bps": st.integers(1, 2_000),
        "max_repeats": st.integers(1, 6),
        "max_consecutive_losses": st.integers(1, 4),
        "reference_collar_bps": st.integers(1, 120),
        "stale_mark_ns": st.sampled_from([1, 10_000_000_000]),
        "max_spread_bps": st.sampled_from([1, 2, 10]),
        "strategy_limits": st.fixed_dictionaries(
            {
                "*": st.fixed_dictionaries(
                    {"max_order_notional": money},
                    optional={
                        "max_position_notional": money,
                        "max_gross_notional": money,
                        "max_open_orders": st.integers(1, 6),
                        "max_orders_per_s": st.integers(1, 6),
                        "max_daily_loss": st.integers(1, 200),
                    },
                )
            }
        ),
        "group_limits": st.fixed_dictionaries(
            {
                "g": st.fixed_dictionaries(
                    {
                        "instruments": st.sampled_from([[A], [A, "ETH/EUR"]]),
                        "max_gross_notional": money,
                        "max_net_notional": money,
                    }
                )
            }
        ),
    }
    found = {name: draw(one) for name, one in values.items() if draw(st.booleans())}
    if "max_repeats" in found:
        found["repeat_window_ns"] = 1_000_000_000
    if "max_consecutive_losses" in found:
        found["loss_cooldown_ns"] = 1_000_000_000
    return {**found, "references": {A: B}, "opposing": draw(st.sampled_from(["block", "net"]))}


@pytest.mark.fault("F2")
@QUICK
@given(limit_values(), accounts, intents(), st.sampled_from(TIGHTENABLE), st.integers(0, 100))
def test_tightening_a_limit_never_approves_more(
    values: dict[str, Any], account: Account, intent: OrderIntent, name: str, percent: int
) -> None:
    """One order before two gates whose limits differ in one number: what the tight one lets in, the loose one does."""
    loose = make_limits(**values)
    tight = tightened(loose, name, percent)
    if approvals(tight, account.view(), [intent]) == [True]:
        # An unusable collar holds exits to a fixed one instead; that one may be wider than a tiny collar.
        if name in {"collar_bps", "stale_quote_ns"} and percent == 0:
            return
        assert approvals(loose, account.view(), [intent]) == [True]


tallied = st.builds(
    Tally,
    fills=st.integers(0, 5),
    losses=st.integers(0, 4),
    lost_ns=st.sampled_from([0, START_NS - 500_000_000]),
    day=st.sampled_from([None, D(-150), D(-20), D(0), D(5)]),
)


@pytest.mark.fault("F2")
@QUICK
@given(limit_values(), more_values(), accounts, intents(), st.integers(0, 100), tallied, st.data())
def test_tightening_a_control_never_approves_more(
    values: dict[str, Any],
    more: dict[str, Any],
    account: Account,
    intent: OrderIntent,
    percent: int,
    tally: Tally,
    data: st.DataObject,
) -> None:
    """The same with one of the controls that a configuration may add: lowered, or put in use at all."""
    used = sorted(name for name in more if name in MORE)
    view, again = account.view(), account.view()
    view.tally_of = again.tally_of = {"s": tally}
    tight = make_limits(**values, **more)
    if not used or data.draw(st.booleans()):
        loose = make_limits(**values, opposing=more["opposing"])
    else:
        loose, tight = tight, tightened(tight, data.draw(st.sampled_from(used)), percent)
    if approvals(tight, view, [intent]) == [True]:
        assert approvals(loose, again, [intent]) == [True]


@pytest.mark.fault("F4")
@QUICK
@given(limit_values(), more_values(), st.lists(intents(), max_size=8), st.randoms())
def test_a_batch_never_exceeds_what_a_strategy_a_group_or_the_credit_allows(
    values: dict[str, Any], more: dict[str, Any], batch: list[OrderIntent], random: Any
) -> None:
    """From a flat account, whatever part of a batch fills: each strategy, the group, leverage and credit hold."""
    account = Account({A: ZERO, B: ZERO}, 0, RiskState.ACTIVE)
    limits, view = make_limits(**values, **more), account.view()
    approvals(limits, view, batch)
    assume(limits.unusable() == "")
    worth = {A: D(100), B: D(120)}
    if limits.max_credit is not None:
        assert sum(worth[order.instrument] * order.leaves_qty for order in view.orders) <= limits.max_credit
    for order in random.sample(view.orders, len(view.orders)):
        if random.random() < 0.7:
            view.fill(order.client_order_id, order.leaves_qty * random.choice([1, D("0.5")]), D(100))
    gross = sum((abs(qty) * worth[name] for name, qty in view.positions.items()), ZERO)
    if limits.max_leverage is not None:
        assert gross <= limits.max_leverage * 10_000
    if limits.max_margin_bps is not None:
        assert gross / 10 <= limits.max_margin_bps
    for own in (limits.strategy_limits or {}).values():
        for strategy in ("s", "t"):
            held = [abs(view.strategy_qty(strategy, name)) * worth[name] for name in (A, B)]
            assert own.max_position_notional is None or max(held) <= own.max_position_notional
            assert own.max_gross_notional is None or sum(held) <= own.max_gross_notional
    for group in (limits.group_limits or {}).values():
        names = [A] if len(group.instruments) == 1 else [A, B]
        assert sum(abs(view.positions[name]) * worth[name] for name in names) <= (group.max_gross_notional or 0)


@pytest.mark.fault("F4")
@QUICK
@given(limit_values(), accounts, st.lists(intents(), max_size=8), st.randoms())
def test_a_batch_never_exceeds_a_limit(
    values: dict[str, Any], account: Account, batch: list[OrderIntent], random: Any
) -> None:
    """Opens what is approved, then fills any part of it in any order: no fill leads beyond what the limits allow.

    The account may start beyond a limit; then nothing but the start may exceed it.
    """
    limits = make_limits(**values)
    view = account.view()
    start = dict(view.positions)
    approvals(limits, view, batch)
    for order in random.sample(view.orders, len(view.orders)):
        if random.random() < 0.7:
            view.fill(order.client_order_id, order.leaves_qty * random.choice([1, D("0.5")]), D(100))
    gross = ZERO
    start_gross = ZERO
    for name in (A, B):
        mark = D(100) * (D("1.2") if name == B else 1)
        qty = view.positions[name]
        assert abs(qty) <= max(limits.max_position_qty["*"], abs(start[name]))
        assert abs(qty) * mark <= max(limits.max_position_notional, abs(start[name]) * mark)
        gross += abs(qty) * mark
        start_gross += abs(start[name]) * mark
    assert gross <= max(limits.max_gross_notional, start_gross)


@pytest.mark.fault("F4")
@QUICK
@given(accounts, st.lists(intents(), max_size=8), st.randoms())
def test_net_exposure_of_entries_stays_within_its_limit(
    account: Account, batch: list[OrderIntent], random: Any
) -> None:
    """From a flat account, whatever part of a batch fills: net within the limit."""
    limits = make_limits(allowed_instruments=[A, B], max_net_notional=900, max_order_notional=600)
    account.positions = {A: ZERO, B: ZERO}
    view = account.view()
    approvals(limits, view, batch)
    for order in random.sample(view.orders, len(view.orders)):
        if random.random() < 0.7:
            view.fill(order.client_order_id, order.leaves_qty, D(100))
    assert abs(view.positions[A] * 100 + view.positions[B] * 120) <= 900


def _without(view: FakeView, piece: str) -> None:
    if piece == "top":
        view.tops = {}
    elif piece == "empty top":
        view.tops = {name: Top() for name in view.tops}
    elif piece == "mark":
        view.marks_known = False
    elif piece == "rate":
        view.rates = {}
    elif piece == "instrument":
        view.defined = {}
    elif piece == "streams":
        view.closed = {A: "down", B: "down"}
    else:
        setattr(view, piece, None)


flat_accounts = st.builds(
    Account, positions=st.just({A: ZERO, B: ZERO}), loss=st.just(0), state=st.just(RiskState.ACTIVE)
)
PIECES = ["top", "empty top", "mark", "rate", "instrument", "streams", "equity_now", "peak", "day_start", "risk_state"]


@pytest.mark.fault("F5")
@QUICK
@given(flat_accounts, intents(), st.sampled_from(PIECES))
def test_any_missing_piece_denies_entries(account: Account, intent: OrderIntent, piece: str) -> None:
    """From a flat account everything is an entry: one piece of the view is taken away, nothing passes."""
    view = account.view()
    _without(view, piece)
    assert approvals(make_limits(allowed_instruments=[A, B], max_order_qty={"*": 12}), view, [intent]) == [False]


anything = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.decimals() | st.just(D("1E+999999"))


@pytest.mark.fault("F1")
@pytest.mark.fault("F5")
@QUICK
@given(
    qty=anything,
    limit_px=anything,
    trigger_px=anything,
    instrument=st.sampled_from([A, "", None, 7]),
    side=st.sampled_from([Side.BUY, Side.SELL, 0, 3, None, "buy"]),
    order_type=st.sampled_from([*OrderType, "limit", None]),
    time_in_force=st.sampled_from([*TimeInForce, None]),
    reduce_only=st.booleans(),
    expire_ns=anything,
    account=accounts,
)
def test_the_gate_never_raises(account: Account, **fields: Any) -> None:
    """Arbitrary garbage in every field: a typed verdict, and never an approval of a quantity that is not a Decimal."""
    gate = Gate(make_limits(allowed_instruments=[A, B]))
    verdict = gate.review(OrderIntent(ts_ns=1, strategy="s", **fields), account.view())
    assert isinstance(verdict, Approved | Rejected)
    if isinstance(verdict, Approved):
        assert type(fields["qty"]) is Decimal
        assert fields["qty"] > 0
    assert isinstance(gate.review(None, account.view()), Rejected)  # type: ignore[arg-type]
    assert isinstance(gate.review(OrderIntent(ts_ns=1, strategy="s", **fields), None), Rejected)  # type: ignore[arg-type]
