"""How long the gate takes for one entry and one exit.

Measures the whole review (all checks, Decimals included) against a view that answers from attributes, with nothing
open, with five orders open, with every control in use that a configuration may add, and with those in a session that
has opened orders before or knows 256 instruments.  Goal: 3 us at the median for one instrument and nothing open, with
the required limits and with every control.  Not a test: it asserts nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import msgspec

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times, time_each
from benchmarks.market import INSTRUMENT, NAME
from engine.commands import Approved, NewOrder, OrderIntent, OrderType, RiskState
from engine.consolidated import Consolidated
from engine.errors import KestrelError
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import FeatureView, OpenGroup, OpenOrder, Position, ServedModel, Stake, Tally, Top
from risk.gate import Gate
from risk.limits import GroupLimits, Limits, StrategyLimits

NOW_NS = 1_700_000_000_000_000_000
ROUNDS = 50_000
ZERO = Decimal(0)

LIMITS = Limits(
    allowed_instruments=(NAME,),
    max_order_qty={"*": Decimal(10)},
    max_position_qty={"*": Decimal(20)},
    max_order_notional=Decimal(100_000),
    max_position_notional=Decimal(1_000_000),
    max_gross_notional=Decimal(1_000_000),
    max_net_notional=Decimal(1_000_000),
    collar_bps=Decimal(100),
    stale_quote_ns=1_000_000_000,
    max_orders_per_s=100,
    max_orders_per_s_instrument=50,
    max_rejections_per_s=100,
    duplicate_window_ns=1_000_000_000,
    max_open_orders=20,
    max_daily_loss=Decimal(10_000),
    max_drawdown_bps=Decimal(1_000),
)

REFERENCE = "BTC/USD@consolidated"
OTHERS = tuple(f"C{number}/USD@coinbase" for number in range(255))
"""What else a session may know, and nothing is held of."""
EVERY_CONTROL = msgspec.structs.replace(
    LIMITS,
    restricted_instruments=("DOGE/USD",),
    allowed_strategies=("bench",),
    restricted_strategies=("other",),
    strategy_limits={
        "*": StrategyLimits(
            max_order_notional=Decimal(100_000),
            max_position_notional=Decimal(1_000_000),
            max_gross_notional=Decimal(1_000_000),
            max_open_orders=20,
            max_orders_per_s=100,
            max_orders_per_fill=Decimal(100),
            max_daily_loss=Decimal(10_000),
        )
    },
    group_limits={"coins": GroupLimits(instruments=(NAME,), max_gross_notional=Decimal(1_000_000))},
    max_credit=Decimal(1_000_000),
    max_leverage=Decimal(3),
    max_margin_bps=Decimal(5_000),
    max_orders_per_fill=Decimal(100),
    max_repeats=100,
    repeat_window_ns=1_000_000_000,
    max_consecutive_losses=5,
    loss_cooldown_ns=60_000_000_000,
    reference_collar_bps=Decimal(100),
    references={NAME: REFERENCE},
    stale_mark_ns=60_000_000_000,
    max_spread_bps=Decimal(10),
    min_volume=Decimal(1),
)


class Volume:
    """``engine.ports.FeatureView`` of one value."""

    warm, reason = True, ""

    def latest(self, column: str) -> float:  # noqa: ARG002
        return 5.0


class StillView:
    """``engine.ports.View`` whose answers are attributes and dict look-ups, as the core's are."""

    def __init__(self, qty: Decimal, orders: tuple[OpenOrder, ...], others: Sequence[str] = ()) -> None:
        self.now_ns = NOW_NS
        self.risk_state = RiskState.ACTIVE
        self._names = (NAME, *others)
        self._instruments = {NAME: INSTRUMENT}
        top = Top(59_999.99, 1.0, 60_000.01, 1.0, 60_000.0, NOW_NS, NOW_NS)
        self._top = {NAME: top, REFERENCE: top}
        self._position = dict.fromkeys(others, Position(ZERO, ZERO, ZERO, ZERO))
        self._position[NAME] = Position(qty, Decimal(60_000), ZERO, ZERO)
        self._held = {NAME} if qty else set()
        self._orders = orders
        self._open = {
            (NAME, side): sum((o.leaves_qty for o in orders if o.side == side), ZERO) for side in (Side.BUY, Side.SELL)
        }
        self._mark = {NAME: Decimal("60000.00"), REFERENCE: Decimal("60000.00")}
        self._features = Volume()
        self._rates = {"USD": Decimal(1)}
        self._equity = Decimal(100_000)
        self._tallies = {"bench": Tally(fills=1_000)}

    def instrument(self, instrument: str) -> Instrument:
        return self._instruments[instrument]

    def instruments(self) -> Sequence[str]:
        return self._names

    def top(self, instrument: str) -> Top | None:
        return self._top.get(instrument)

    def position(self, instrument: str) -> Position:
        return self._position[instrument]

    def held(self) -> Collection[str]:
        return self._held

    def strategy_qty(self, strategy: str, instrument: str) -> Decimal:  # noqa: ARG002
        return self._position[instrument].qty

    def held_by(self, strategy: str) -> Collection[str]:  # noqa: ARG002
        return self._held

    def stake(self, strategy: str, instrument: str) -> Stake:  # noqa: ARG002
        return Stake(self._position[instrument].qty)

    def rate_markets(self) -> Sequence[str]:
        return ()

    def tallies(self) -> Mapping[str, Tally]:
        return self._tallies

    def model(self, instrument: str) -> ServedModel | None:  # noqa: ARG002
        return None

    def consolidated(self, instrument: str) -> Consolidated | None:  # noqa: ARG002
        return None

    def open_orders(self, instrument: str | None = None) -> Sequence[OpenOrder]:  # noqa: ARG002
        return self._orders

    def groups(self, instrument: str | None = None) -> Sequence[OpenGroup]:  # noqa: ARG002
        return ()

    def open_qty(self, instrument: str, side: Side) -> Decimal:
        return self._open[instrument, side]

    def mark_px(self, instrument: str) -> Decimal | None:
        return self._mark.get(instrument)

    def rate(self, currency: str) -> Decimal | None:
        return self._rates.get(currency)

    def equity(self) -> Decimal | None:
        return self._equity

    def equity_peak(self) -> Decimal | None:
        return self._equity

    def equity_day_start(self) -> Decimal | None:
        return self._equity

    def features(self, instrument: str) -> FeatureView | None:  # noqa: ARG002
        return self._features

    def tradable(self, instrument: str) -> str:  # noqa: ARG002
        return ""


def _measure(
    name: str,
    view: StillView,
    intent: OrderIntent,
    rounds: int,
    targets: tuple[Target, ...] = (),
    limits: Limits = LIMITS,
    before: int = 0,
) -> Reading:
    gate = Gate(limits)
    _open(gate, view, intent, before)
    verdict = gate.review(intent, view)
    if not isinstance(verdict, Approved):
        raise KestrelError(f"{name}: the benchmark's own order was refused: {verdict}")
    return latency(name, time_each(gate.review, [(intent, view)] * rounds, clock_cost_ns()), targets=targets)


def _open(gate: Gate, view: StillView, intent: OrderIntent, count: int) -> None:
    """Let the gate remember so many executed orders, 20 a second, the last of them two seconds ago: ratios are asked
    for then, and windows are not empty."""
    tally, top = view.tallies()["bench"], view.top(intent.instrument)
    if top is None or intent.limit_px is None:
        raise KestrelError("the benchmark's own market has no price")
    for number in range(count):
        view.now_ns = top.ts_recv_ns = NOW_NS - 2_000_000_000 - (count - number) * 50_000_000
        wish = msgspec.structs.replace(intent, limit_px=intent.limit_px - number * INSTRUMENT.tick_px)
        verdict = gate.review(wish, view)
        if not isinstance(verdict, Approved):
            raise KestrelError(f"the benchmark's own order {number} was refused: {verdict}")
        gate.on_opened(NewOrder(view.now_ns, f"o{number}", "coinbase", wish))
        tally.fills += 1
    view.now_ns = top.ts_recv_ns = NOW_NS


ENTRY = OrderIntent(
    NOW_NS, "bench", NAME, Side.BUY, Decimal("0.01"), OrderType.LIMIT, Decimal("60000.03"), reason="bench"
)


def profile(name: str) -> Sequence[str]:
    """The functions of one entry's review."""
    gate, view = Gate(LIMITS if name == "risk_entry" else EVERY_CONTROL), StillView(ZERO, ())
    return own_times(lambda: gate.review(ENTRY, view), 20_000, top=10)


def run(quick: bool) -> list[Reading]:
    """An entry with nothing open, under every control, with five orders open, late in a session, and among many
    instruments; and an exit."""
    rounds = 10_000 if quick else ROUNDS
    leave = OrderIntent(
        NOW_NS, "bench", NAME, Side.SELL, Decimal("0.01"), OrderType.LIMIT, Decimal("59999.97"), reduce_only=True
    )
    resting = tuple(
        OpenOrder(
            client_order_id=f"o{i}",
            strategy="bench",
            instrument=NAME,
            side=Side.BUY,
            qty=Decimal("0.01"),
            leaves_qty=Decimal("0.01"),
            limit_px=Decimal(59_990 - i),
            state="accepted",
            reduce_only=False,
            opened_ns=NOW_NS,
        )
        for i in range(5)
    )
    return [
        _measure("risk_entry", StillView(ZERO, ()), ENTRY, rounds, (Target("p50", 3.0),)),
        _measure("risk_entry_every_control", StillView(ZERO, ()), ENTRY, rounds, (Target("p50", 3.0),), EVERY_CONTROL),
        _measure("risk_entry_five_open", StillView(ZERO, resting), ENTRY, rounds),
        _measure("risk_entry_later", StillView(ZERO, ()), ENTRY, rounds, limits=EVERY_CONTROL, before=100),
        _measure("risk_entry_256_instruments", StillView(ZERO, (), OTHERS), ENTRY, rounds, limits=EVERY_CONTROL),
        _measure("risk_exit", StillView(Decimal("0.01"), ()), leave, rounds),
    ]
