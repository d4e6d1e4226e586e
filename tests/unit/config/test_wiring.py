"""``config.wiring``: what is refused before a session exists, and what a core is built of."""

from __future__ import annotations

import time
from decimal import getcontext
from pathlib import Path
from typing import Any

import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from config.schema import Settings
from config.wiring import build_slots, check_models, resolve
from engine.errors import BundleError, ConfigError, KestrelError

BTC, ETH = "BTC/USD@coinbase", "ETH/USD@coinbase"


def settings_with(**overrides: Any) -> Settings:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def checked(settings: Settings) -> None:
    check_models(settings, [], ConfiguredAssembly(settings, time.perf_counter_ns))


@pytest.mark.parametrize(
    ("overrides", "error", "parts"),
    [
        ({"features__columns": ["ema_26"]}, ConfigError, ["features:", "'ema_26'", "'ema_12'"]),
        ({"features__columns": ["ret_1", "ret_1"]}, ConfigError, ["features:", "ret_1 twice"]),
        ({"strategies__0__model": "nope"}, BundleError, ["'nope'", "demo-crypto", "demo-fx"]),
        ({"strategies__0__model": "../demo-fx"}, BundleError, ["'../demo-fx'", "demo-fx"]),
    ],
)
def test_what_no_instrument_could_use_is_refused_at_once(
    overrides: dict[str, Any], error: type[KestrelError], parts: list[str]
) -> None:
    """No instrument is known yet, as with a venue that tells its own after the start."""
    with pytest.raises(error) as caught:
        checked(settings_with(**overrides))
    for part in parts:
        assert part in str(caught.value)


def test_the_shipped_settings_pass() -> None:
    """The profile paper, and own columns on time bars with a window below the usual bound of flat rows."""
    checked(settings_with())
    small = settings_with(
        features__columns=["ret_1"], features__window=3, features__sampling={"kind": "time_bar", "every": "1s"}
    )
    checked(small)


def test_a_damaged_bundle_that_is_named_is_refused_at_once(tmp_path: Path) -> None:
    """A folder of that name with an empty manifest."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="mine"):
        checked(settings_with(models__directory=tmp_path, strategies__0__model="mine"))


def test_all_instruments_are_written_out() -> None:
    """What a session records must say which, also when more come later; a list of the user's own stays."""
    assert resolve(settings_with(), [BTC]).risk.allowed_instruments == [BTC]
    own = settings_with(risk__allowed_instruments=[ETH])
    assert resolve(own, [BTC, ETH]).risk.allowed_instruments == [ETH]


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
    with pytest.raises(ConfigError, match="strategies is empty"):
        build_slots(settings_with(strategies=[]), [BTC])


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
