"""``config.preflight``: what is refused before a session exists, because it could do nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from config.preflight import check_judged, check_models, check_session, seen_in_training
from config.schema import Settings
from config.venue_registry import kind_of
from config.wiring import resolve
from engine.errors import BundleError, ConfigError, KestrelError
from models.bundle import load_bundle
from models.golden import decode_golden, encode_golden
from models.manifest import DataFile
from tests.support.core import spot
from tests.support.daemon import NO_CHAMPIONS, ROOT

BTC, ETH = "BTC/USD@coinbase", "ETH/USD@coinbase"
NO_MODEL = [{"name": "mine", "kind": "ema_cross", "model": "none"}]


def settings_with(**overrides: Any) -> Settings:
    return load(env=NO_CHAMPIONS, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def checked(settings: Settings) -> None:
    check_models(settings, [], ConfiguredAssembly(settings, time.perf_counter_ns))


@pytest.mark.parametrize(
    ("overrides", "error", "parts"),
    [
        ({"features__columns": ["ema_27"]}, ConfigError, ["features:", "'ema_27'", "'ema_26'"]),
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


def test_a_session_without_a_strategy_is_refused() -> None:
    """Nothing could decide; who only wants the market's data is told the command."""
    settings = resolve(settings_with(strategies=[]), [BTC])
    with pytest.raises(ConfigError, match=r"strategies is empty; expected at least one strategy; .*data record"):
        check_session(settings, kind_of(settings).foresee(settings), ConfiguredAssembly(settings, time.perf_counter_ns))


def test_limits_that_bind_nothing_here_are_named_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped symbol and strategy bind nobody: one line, no error; what matches, by id or symbol, is not in it."""
    group = {"instruments": ["BTC/USD", "BTC/UDS@coinbase"], "max_net_notional": 1_000}
    risk = {"restricted_instruments": ["BTC/USD", "DOGE/USD"], "group_limits": {"coins": group}}
    said = "risk.restricted_instruments names DOGE/USD; risk.group_limits.coins names BTC/UDS@coinbase; risk."
    said += "strategy_limits names mnie"
    risk |= {"strategy_limits": {"mnie": {"max_open_orders": 1}, "mine": {"max_open_orders": 1}}}
    for named, expected in (
        (risk, said),
        ({"restricted_instruments": [BTC], "strategy_limits": {"*": {"max_open_orders": 1}}}, ""),
        # What is meant for one falls back to what holds for every other.
        (
            {"max_order_qty": {"BTC/UDS@coinbase": 0.001, "*": 9}, "max_position_qty": {"btc/usd@coinbase": 1, "*": 9}},
            "risk.max_order_qty names BTC/UDS@coinbase; risk.max_position_qty names btc/usd@coinbase",
        ),
        ({"max_order_qty": {BTC: 0.001}, "allowed_instruments": [BTC]}, ""),
        (
            {"references": {"BTC/USD": BTC}, "allowed_instruments": [BTC, "DOGE/USD@coinbase"]},
            "risk.allowed_instruments names DOGE/USD@coinbase; risk.references names BTC/USD",
        ),
    ):
        own = {f"risk__{name}": value for name, value in named.items()}
        settings = resolve(settings_with(strategies=NO_MODEL, **own), [BTC])
        check_session(settings, kind_of(settings).foresee(settings), ConfiguredAssembly(settings, time.perf_counter_ns))
        told = f"warning: {expected}: in this session that binds nothing\n" if expected else ""
        assert capsys.readouterr().err == told


def test_a_damaged_bundle_that_is_named_is_refused_at_once(tmp_path: Path) -> None:
    """A folder of that name with an empty manifest."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="mine"):
        checked(settings_with(models__directory=tmp_path, strategies__0__model="mine"))


@pytest.mark.parametrize("name", ["auto", "demo-crypto"])
def test_a_graph_that_does_not_compute_what_it_should_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Another network under the sums of the manifest's own: every file is as listed, and the golden tape differs."""
    shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "demo-crypto")
    spoil_outputs(tmp_path / "demo-crypto")
    settings = settings_with(models__directory=tmp_path, strategies__0__model=name)
    with pytest.raises(BundleError, match="off the golden tape"):
        check_models(settings, [spot()], ConfiguredAssembly(settings, time.perf_counter_ns))


def spoil_outputs(bundle: Path) -> None:
    """The tape's outputs moved by a half, and the manifest that lists it made to fit."""
    tape = decode_golden((bundle / "golden.msgpack").read_bytes())
    spoilt = encode_golden(msgspec.structs.replace(tape, outputs=tuple(value + 0.5 for value in tape.outputs)))
    (bundle / "golden.msgpack").write_bytes(spoilt)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["golden.msgpack"] = hashlib.sha256(spoilt).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_a_model_that_was_checked_is_not_opened_again() -> None:
    """What the core gets is the object that the check opened: the golden tape runs once in a session."""
    settings = settings_with()
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns)
    instruments = kind_of(settings).foresee(settings)
    check_models(settings, instruments, assembly)
    (model,) = assembly.models
    for instrument in instruments:
        assert assembly.model(instrument, assembly.assign(instrument, True)) is model


def flown(**overrides: Any) -> None:
    """The whole check, as ``paper`` on the sandbox makes it."""
    settings = settings_with(strategies=NO_MODEL, **overrides)
    instruments = kind_of(settings).foresee(settings)
    settings = resolve(settings, [instrument.id for instrument in instruments])
    check_session(settings, instruments, ConfiguredAssembly(settings, time.perf_counter_ns))


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"risk__max_order_qty": {}}, ["risk.max_order_qty is empty", "an entry for each allowed instrument"]),
        ({"risk__max_position_qty": {}}, ["risk.max_position_qty is empty"]),
        ({"risk__max_order_qty": {BTC: 1}}, [f"risk.max_order_qty has no entry for {ETH}", "'*'", f"it has {BTC}"]),
        ({"risk__max_position_qty": {"BTC/USD": 1}}, [f"has no entry for {BTC}, {ETH}", "it has BTC/USD"]),
        ({"risk__max_order_qty": {"*": 1, ETH: 0}}, [f"risk.max_order_qty[{ETH}] is 0", "above 0"]),
        ({"risk__max_open_orders": 0}, ["risk.max_open_orders is 0", "above 0"]),
        ({"risk__allowed_instruments": []}, ["risk.allowed_instruments is empty"]),
        ({"risk__allowed_instruments": ["BTC/USD"]}, ["names none of", f"({BTC}, {ETH})", "it has BTC/USD"]),
    ],
)
def test_limits_that_let_no_order_pass_are_refused(overrides: dict[str, Any], parts: list[str]) -> None:
    """Tables that are empty or leave an allowed instrument out, a zero, an allow-list of other names."""
    with pytest.raises(ConfigError) as caught:
        flown(**overrides)
    for part in parts:
        assert part in str(caught.value)


def test_a_limit_has_to_cover_only_what_may_be_traded() -> None:
    """One of two instruments is allowed, and the table names that one."""
    flown(risk__allowed_instruments=[BTC, "SOL/USD@coinbase"], risk__max_order_qty={BTC: 1})


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"currency": "EUR"}, [f"{BTC} is paid in USD", "in EUR (portfolio.currency)", "portfolio.rates.USD"]),
        ({"currency": "EUR", "rates": {}}, ["portfolio.rates.USD to the EUR for one USD"]),
        ({"rates": {}, "symbols": ["BTC/USDT"]}, ["BTC/USDT@coinbase is paid in USDT", "portfolio.rates.USDT"]),
        ({"currency": "EUR", "symbols": ["BTC/USDT"]}, ["paid in USDT", "in EUR"]),
        ({"currency": "EUR", "symbols": ["BTC/EUR"]}, ["sandbox.balances holds USD"]),
        ({"balances": {"USD": 5, "JPY": 5}}, ["sandbox.balances holds JPY", "portfolio.rates.JPY"]),
    ],
)
def test_money_that_nobody_could_value_is_refused(overrides: dict[str, Any], parts: list[str]) -> None:
    """What is traded and what is held at the start, without a rate to the portfolio's currency."""
    with pytest.raises(ConfigError) as caught:
        flown(**under_keys(overrides))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"currency": "EUR", "rates": {"USD": "0.9"}},
        {"symbols": ["BTC/USDT", "ETH/USDC"]},
        {"currency": "EUR", "symbols": ["BTC/EUR"], "balances": {"EUR": 5}},
        {"balances": {"USD": 5, "BTC": 5, "JPY": 0}},
    ],
)
def test_money_that_has_a_rate_or_a_price_passes(overrides: dict[str, Any]) -> None:
    """A rate of one's own, the default rates of dollars, the base of what is traded, and nothing of something."""
    flown(**under_keys(overrides))


def under_keys(overrides: dict[str, Any]) -> dict[str, Any]:
    section = {"symbols": "venue", "balances": "sandbox"}
    return {f"{section.get(key, 'portfolio')}__{key}": value for key, value in overrides.items()}


def test_a_recording_opens_its_accounts_in_the_currencies_of_its_instruments() -> None:
    """Balances of the paper section count there once they are somebody's own."""
    own = {"venue__feed": "replay", "portfolio__currency": "EUR", "venue__symbols": ["BTC/EUR"]}
    flown(**own)
    with pytest.raises(ConfigError, match=r"paper\.balances holds USD"):
        flown(**own, paper__balances={"USD": 5})


def test_a_file_that_a_model_was_trained_on_is_named(tmp_path: Path) -> None:
    """The same name with the same content, with another content, another name, and both again in two models."""
    seen, other = tmp_path / "seen.parquet", tmp_path / "other" / "seen.parquet"
    other.parent.mkdir()
    seen.write_bytes(b"ticks")
    other.write_bytes(b"other ticks")
    new = tmp_path / "new.parquet"
    new.write_bytes(b"ticks")
    shipped = load_bundle(ROOT / "models" / "artifacts" / "demo-crypto").manifest
    data = (DataFile(name="seen.parquet", sha256=hashlib.sha256(b"ticks").hexdigest()),)
    trained = msgspec.structs.replace(shipped, training=msgspec.structs.replace(shipped.training, data=data))
    again = msgspec.structs.replace(trained, name="another")
    assert seen_in_training([trained, shipped], [other, new]) == []
    assert seen_in_training([trained, shipped, again], [new, seen]) == [
        f"{name} was trained on seen.parquet: what it earns here says nothing about other data"
        for name in ("demo-crypto", "another")
    ]


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        (["close", "basis_bps(BTC/USDT@kraken)"], ["price of BTC/USDT@kraken", BTC, "venue.symbols"]),
        (["close", f"correlation({BTC},20)"], [f"features of {BTC} read the price of {BTC}"]),
        (["close", "exogenous(CPI)"], ["published series CPI", "GDP", "exogenous.series"]),
    ],
)
def test_features_that_read_what_the_session_does_not_have_are_refused(columns: list[str], parts: list[str]) -> None:
    """An instrument of another venue, the instrument itself, a series that is not published: never warm, all three."""
    settings = settings_with(strategies=NO_MODEL, features__columns=columns, exogenous__series=["GDP"])
    instruments = kind_of(settings).foresee(settings)
    resolved = resolve(settings, [instrument.id for instrument in instruments])
    with pytest.raises(ConfigError) as caught:
        check_session(resolved, instruments, ConfiguredAssembly(resolved, time.perf_counter_ns))
    for part in parts:
        assert part in str(caught.value)
    if "CPI" in parts[0]:
        check_session(resolved, instruments, ConfiguredAssembly(resolved, time.perf_counter_ns), published=["CPI"])


def test_a_gate_that_the_model_can_never_pass_is_refused_at_once() -> None:
    """The shipped bundle has no conformal quantiles: the strategy would wait for ever."""
    settings = settings_with(strategies__0__params={"gates": ["conformal"]})
    with pytest.raises(
        ConfigError, match=r"with demo-crypto@\w+ on BTC/USD@coinbase: gate conformal: the model has no"
    ):
        check_models(settings, [spot()], ConfiguredAssembly(settings, time.perf_counter_ns))


def test_rules_that_promote_by_one_output_are_refused_where_strategies_trade_on_several() -> None:
    """What the model is promoted for is traded on by one of them alone."""

    def settings(**given: Any) -> Settings:
        far, near = ({"mode": "return_bps", "output": name, "buy": 5, "sell": -5} for name in ("h20", "h5"))
        strategies = [{"name": name, "kind": "threshold", "params": one} for name, one in (("a", far), ("b", near))]
        live = {"venue.feed": "live", "models.rollout.automatic": True, "strategies": strategies}
        return load(env=NO_CHAMPIONS, overrides=live | {key.replace("__", "."): value for key, value in given.items()})

    wanted = settings()
    with pytest.raises(ConfigError) as caught:
        check_models(wanted, [spot()], ConfiguredAssembly(wanted, time.perf_counter_ns))
    assert f"on {BTC} strategies trade on several outputs of the model: a on h20, b on h5" in str(caught.value)
    assert "models.rollout.automatic: false" in str(caught.value)
    assert "name one output in all of them (params.output)" in str(caught.value)
    for asked in (settings(models__rollout__automatic=False), settings(venue__feed="sandbox")):
        check_judged(asked, asked.strategies, spot())
    check_judged(wanted, wanted.strategies[:1], spot())
