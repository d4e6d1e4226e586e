"""``config.wiring``: what a core is built of."""

from __future__ import annotations

from decimal import getcontext
from pathlib import Path
from typing import Any

import pytest

from config.load import load, restore
from config.schema import Settings
from config.wiring import build_offers, build_slots, resolve
from engine.errors import ConfigError
from engine.seats import ServingRules
from strategies.guardian import Guardian
from tests.support.daemon import NO_CHAMPIONS

BTC, ETH = "BTC/USD@coinbase", "ETH/USD@coinbase"


def settings_with(**overrides: Any) -> Settings:
    return load(env=NO_CHAMPIONS, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def test_all_instruments_are_written_out() -> None:
    """What a session records must say which, also when more come later; a list of the user's own stays."""
    assert resolve(settings_with(), [BTC]).risk.allowed_instruments == [BTC]
    own = settings_with(risk__allowed_instruments=[ETH])
    assert resolve(own, [BTC, ETH]).risk.allowed_instruments == [ETH]


def test_default_rates_are_those_of_dollars() -> None:
    """A tether is a dollar, and no euro; rates of one's own stay whatever the currency."""
    stable = {"USDT": 1, "USDC": 1}
    for currency in ("USD", "USDT"):
        assert resolve(settings_with(portfolio__currency=currency), [BTC]).portfolio.rates == stable
    assert resolve(settings_with(portfolio__currency="EUR"), [BTC]).portfolio.rates == {}
    own = settings_with(portfolio__currency="EUR", portfolio__rates=stable)
    assert resolve(own, [BTC]).portfolio.rates == stable


def test_brackets_leave_with_their_entry_only_where_that_is_set() -> None:
    """And where the venue takes them: fills that are made in process know nothing of it."""
    assert not build_offers(settings_with(), [BTC])["coinbase"].entries
    attached = settings_with(venue__attach_exits=True)
    assert build_offers(attached, [BTC])["coinbase"].entries
    assert not build_offers(settings_with(venue__attach_exits=True, venue__feed="replay"), [BTC])["coinbase"].entries


def test_orders_are_changed_in_place_only_where_that_is_set() -> None:
    """And where the venue does it."""
    assert not build_offers(settings_with(), [BTC])["coinbase"].edits
    assert build_offers(settings_with(venue__edit_orders=True), [BTC])["coinbase"].edits
    assert not build_offers(settings_with(venue__edit_orders=True, venue__feed="replay"), [BTC])["coinbase"].edits


def test_slots_listen_to_their_own_instruments_and_an_unknown_one_is_an_error() -> None:
    """Two strategies, one on everything and one on ETH alone; then one on what the session does not trade."""
    kinds = [
        {"name": "wide", "kind": "threshold"},
        {"name": "narrow", "kind": "ema_cross", "model": "none", "instruments": [ETH]},
    ]
    wide, narrow = build_slots(settings_with(strategies=kinds), [BTC, ETH])
    assert (wide.listens_to(BTC), wide.uses_model) == (True, True)
    assert (narrow.listens_to(BTC), narrow.listens_to(ETH), narrow.uses_model) == (False, True, False)
    with pytest.raises(ConfigError, match="narrow is to trade ETH/USD@coinbase"):
        build_slots(settings_with(strategies=kinds), [BTC])
    assert build_slots(settings_with(strategies=[]), [BTC]) == []


def test_a_strategy_with_a_model_can_have_a_twin() -> None:
    """The same class, instruments and parameters under another name, with a state of its own; without a model: none."""
    wanted = [
        {"name": "mine", "kind": "threshold", "instruments": [ETH], "params": {"stop_bps": 33}},
        {"name": "plain", "kind": "ema_cross", "model": "none"},
    ]
    mine, plain, *_ = build_slots(settings_with(strategies=wanted), [BTC, ETH])
    assert plain.make_twin is None
    assert mine.make_twin is not None
    twin: Any = mine.make_twin("mine.canary")
    original: Any = mine.strategy
    assert (type(twin), twin.name, twin.instruments) == (type(original), "mine.canary", (ETH,))
    assert twin.params == original.params
    assert twin.state() == {**original.state()}
    assert twin._exits is not original._exits


def test_a_session_of_a_release_without_a_breaker_replays_without_one() -> None:
    """However often its predictions were late; one that says what holds is taken at its word."""
    recorded = settings_with().redacted()
    assert restore(recorded, {}).models.breaker.rules() == ServingRules(10, 30_000_000_000, "hold")
    del recorded["models"]["breaker"]
    assert restore(recorded, {}).models.breaker.rules().failures_max == 0
    assert restore(recorded, {"models.breaker.failures_max": 3}).models.breaker.rules().failures_max == 3


def test_the_guardian_is_a_slot_of_its_own_behind_the_strategies() -> None:
    """None unless a rule is set; with one it has every instrument, no model, and its rules in its own units."""
    assert [slot.name for slot in build_slots(settings_with(), [BTC])] == ["demo"]
    assert [slot.name for slot in build_slots(settings_with(risk__guardian__cooldown_s=5), [BTC])] == ["demo"]
    *_, slot = build_slots(settings_with(risk__guardian__stop_bps=75, risk__guardian__max_age_s="1.5"), [BTC, ETH])
    assert isinstance(slot.strategy, Guardian)
    assert (slot.name, slot.uses_model) == ("guardian", False)
    assert (slot.listens_to(BTC), slot.listens_to(ETH), slot.listens_to("BTC/USD@consolidated")) == (True, True, False)
    params = slot.strategy.params
    assert (params.stop_bps, params.take_profit_bps, params.max_age_ns) == (75.0, 0.0, 1_500_000_000)


@pytest.mark.fault("F9")
def test_no_strategy_takes_the_guardians_name() -> None:
    """Its executions would be booked to others."""
    with pytest.raises(ConfigError, match="another name than guardian"):
        settings_with(strategies=[{"name": "guardian", "kind": "ema_cross", "model": "none"}])


def test_a_file_that_sets_decimal_precision_sets_its_own(tmp_path: Path) -> None:
    """At import and in its callbacks: the strategy counts with three digits, the process with as many as before."""
    path = tmp_path / "coarse.py"
    path.write_text(
        "import decimal\n"
        "from strategies.base import BaseStrategy\n"
        "decimal.getcontext().prec = 3\n"
        "class Coarse(BaseStrategy):\n"
        "    def on_quote(self, instrument, view):\n"
        "        self.seen = decimal.getcontext().prec\n"
        "        return ()\n"
    )
    before = getcontext().prec
    strategies = [{"name": "c", "path": f"{path}:Coarse", "instruments": "all"}]
    (slot,) = build_slots(settings_with(strategies=strategies), [BTC])
    slot.run(slot.on_quote, BTC, None)
    assert slot.strategy.seen == 3
    assert getcontext().prec == before


def test_a_session_of_a_release_that_counted_no_equal_answers_is_computed_without_counting() -> None:
    """Else its 101st equal answer would come out as a failure; one that says what holds is taken at its word."""
    recorded = settings_with().redacted()
    assert restore(recorded, {}).models.same_answers_max == 100
    del recorded["models"]["same_answers_max"]
    assert restore(recorded, {}).models.same_answers_max == 0
