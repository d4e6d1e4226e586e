"""The rules of money hold for all that the engine computes, whatever user code does to decimal arithmetic."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from decimal import Context, Decimal, FloatOperation, Inexact, getcontext, setcontext
from typing import Any

import pytest

from engine import events as e
from engine.arithmetic import MONEY, install, own_context, plain
from tests.support.core import BTC, D, MemoryRecorder, MidModel, Scripted, build_core, fill, intent, open_market, quote


def coarse() -> None:
    getcontext().prec = 2


def trapped() -> None:
    setcontext(Context(prec=3, traps=[Inexact]))


def unguarded() -> None:
    getcontext().traps[FloatOperation] = False


CHANGES = [coarse, trapped, unguarded]


def test_floats_are_refused_in_this_thread_and_in_later_ones() -> None:
    """``install`` in a context of its own, then a thread that knows nothing of it."""
    refused = []

    def refuse() -> None:
        with pytest.raises(FloatOperation):
            Decimal(0.1)  # noqa: RUF032
        refused.append(getcontext().prec)

    def run() -> None:
        install()
        assert getcontext() is MONEY
        refuse()
        thread = threading.Thread(target=refuse)
        thread.start()
        thread.join()

    copy_context().run(run)
    assert refused == [28, 28]


def test_a_context_of_ones_own_begins_with_the_rules_of_money_and_shares_nothing() -> None:
    """Changed inside: neither the rules, nor the caller, nor the next context."""
    before = str(MONEY)
    first, second = own_context(), own_context()
    first.run(coarse)
    first.run(unguarded)
    assert first.run(getcontext).prec == 2
    assert (str(MONEY), getcontext().prec) == (before, 28)
    rules = second.run(getcontext)
    assert (rules.prec, rules.rounding, rules.traps) == (MONEY.prec, MONEY.rounding, MONEY.traps)


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_strategy_is_told_and_what_risk_judges_by_is_exact(change: Callable[[], None]) -> None:
    """It changes the rules, then is the first to ask for everything that is computed on request; beside it the same
    session with a strategy that changes nothing: what both see, equity and every record are the same."""

    def session(spoil: Callable[[], None] | None) -> tuple[list[Any], list[Any], Any]:
        seen: list[Any] = []

        def on_quote(instrument: str, view: Any) -> list[Any]:
            if spoil is not None:
                spoil()
            seen.append((view.mark_px(instrument), view.open_orders(instrument), view.open_orders()))
            seen.append((view.position(instrument), view.equity(), view.open_qty(instrument, e.Side.BUY)))
            return [intent(qty="0.87654321", limit_px=D("65498.99"))] if len(seen) == 2 else []

        recorder = MemoryRecorder()
        core = build_core(recorder, Scripted(on_quote=on_quote), model=MidModel())
        open_market(core, cash="1000000")
        (order,) = core.on_event(quote(10, 65499.00, 65499.02))
        core.on_event(fill(order, "0.12345678", "65498.99", "t1", ts_ns=11))
        for ts_ns in range(12, 15):
            core.on_event(quote(ts_ns, 65499.00 + ts_ns / 100, 65500.03))
            core.on_event(e.Timer(ts_ns, ts_ns, "tick"))
        return seen, recorder.records, core.portfolio.equity

    assert session(change) == session(None)


@pytest.mark.parametrize("change", CHANGES)
def test_telling_a_strategy_its_model_is_running_its_code(change: Callable[[], None]) -> None:
    """``on_model`` changes the rules: its own from then on, not ours."""

    class Careless(Scripted):
        def on_model(self, instrument: str, facts: Any) -> None:
            change()

    before = str(getcontext())
    core = build_core(MemoryRecorder(), strategy := Careless(on_quote=lambda *_: rules.append(str(getcontext())) or ()))
    rules: list[str] = []
    open_market(core)
    assert str(getcontext()) == before
    core.on_event(quote(10))
    assert strategy.calls
    assert rules != [before]
    assert core.view.mark_px(BTC) is not None


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0E-8", "0.00000000"), ("1E+3", "1000"), ("1E-9", "0.000000001"), ("-2.50", "-2.50"), ("7", "7"),
        ("1E+400", "1E+400"), ("1E-400", "1E-400"), ("NaN", "NaN"), ("Infinity", "Infinity"),
    ],
)  # fmt: skip
def test_amounts_are_said_without_an_exponent_while_that_fits_a_line(amount: str, said: str) -> None:
    """A difference of two quantities in satoshis is 0E-8 to Python; what would fill the screen stays as it is."""
    assert plain(Decimal(amount)) == said
