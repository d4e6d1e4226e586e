"""The gate as a whole on a fake view: breaches, its state, guards that fail, what a rejection says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import NewOrder, Rejected, RiskState
from engine.events import Halted, Reduced, Resumed
from risk.gate import Gate
from tests.support.fake_view import FakeView
from tests.support.gate import check_of, held, leave, order
from tests.support.limits import NAME, make_limits

D = Decimal


@pytest.mark.fault("F6")
@pytest.mark.parametrize(
    ("equity", "peak", "expected"),
    [
        ("10000", "10000", None),
        ("9500.01", "10000", None),
        ("9500", "10000", RiskState.REDUCING),
        ("9600", "10667", RiskState.HALTED),
        ("-1", "10000", RiskState.HALTED),
    ],
)
def test_losses_breach(equity: str, peak: str, expected: RiskState | None) -> None:
    """Daily loss limit 500 from 10,000, drawdown limit 1,000 bps of the peak."""
    view = FakeView()
    view.equity_now, view.peak = D(equity), D(peak)
    found = Gate(make_limits()).breach(view)
    assert (None if found is None else found[0]) is expected


def test_unknown_equity_latches_nothing() -> None:
    """It is unknown at every start; entries are denied meanwhile (see the table above)."""
    view = FakeView()
    view.equity_now = None
    assert Gate(make_limits()).breach(view) is None


@pytest.mark.fault("F7")
def test_control_events_and_latches_move_the_state() -> None:
    """Halt, resume, reduce, latch."""
    gate = Gate(make_limits())
    assert gate.state is RiskState.ACTIVE
    change = gate.apply(Halted(1, 2, "file", "HALT"))
    assert change is not None
    assert gate.state is RiskState.HALTED
    assert gate.apply(Reduced(1, 2, "cli", "x")) is None
    assert gate.apply(Resumed(1, 2, "cli", "x")) is not None
    assert gate.state is RiskState.ACTIVE
    assert gate.latch(RiskState.REDUCING, "daily loss", 3) is not None
    assert check_of(gate.review(order(), FakeView())) == "risk_state"


class Broken(FakeView):
    """One method of the view raises."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.hold(NAME, D(0))
        setattr(self, method, self._raise)

    def _raise(self, *_: object) -> None:
        raise RuntimeError("guard\nbroke")


READS = [
    "instrument",
    "instruments",
    "top",
    "position",
    "strategy_qty",
    "open_orders",
    "open_qty",
    "mark_px",
    "rate",
    "equity",
    "equity_peak",
    "equity_day_start",
    "tradable",
]


@pytest.mark.fault("F5")
@pytest.mark.parametrize("method", READS)
def test_a_guard_that_raises_denies(method: str) -> None:
    """Each thing the gate reads raises in turn (I12): one line, the check named, no exception."""
    verdict = Gate(make_limits()).review(order(), Broken(method))
    assert isinstance(verdict, Rejected)
    assert verdict.check == "guard_error"
    assert verdict.seen == "RuntimeError: guard broke"


@pytest.mark.fault("F5")
def test_a_breaker_that_raises_halts() -> None:
    """Equity raises."""
    found = Gate(make_limits()).breach(Broken("equity"))
    assert found is not None
    assert found[0] is RiskState.HALTED


def test_a_rejection_says_what_was_seen_and_the_limit() -> None:
    """As it goes to the journal."""
    view = FakeView()
    verdict = Gate(make_limits(max_order_qty={"*": "0.5"})).review(order(), view)
    assert verdict == Rejected(view.now_ns, order(), "max_order_qty", "1", "0.5")


def test_an_opened_order_nobody_reviewed_counts_as_an_entry() -> None:
    """Adopted orders use up the entries' rate, never the exits'."""
    view, gate = held(), Gate(make_limits(max_orders_per_s=1))
    gate.on_opened(NewOrder(view.now_ns, "x", "coinbase", leave()))
    assert check_of(gate.review(order(qty=D(2)), view)) == "order_rate"
    assert check_of(gate.review(leave(), view)) == ""
