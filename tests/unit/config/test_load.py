"""Layers of configuration, and the words of every mistake a user can make in one."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.layers import all_keys
from config.load import explain, load, profile_path, session_limits
from config.risk_schema import GroupLimitSettings, GuardianSettings, RiskSettings, StrategyLimitSettings
from config.schema import PROFILES
from engine.errors import ConfigError
from risk.limits import DECIDED, GroupLimits, GuardianRules, Limits, StrategyLimits

BTC = "BTC/USD@coinbase"


def write(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def error_of(tmp_path: Path, text: str, name: str = "mine.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        load([write(tmp_path, text, name)], env={})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_each_layer_goes_over_the_one_below(tmp_path: Path) -> None:
    """Sets one key in one more layer at a time and reads which value won."""
    key = "models.deadline_us"
    low = write(tmp_path, "models: {deadline_us: 1}", "low.yaml")
    high = write(tmp_path, "models: {deadline_us: 2}", "high.yaml")
    env = {"KESTREL_MODELS__DEADLINE_US": "3"}
    assert load([], env={}).models.deadline_us == 1000
    assert load([low], env={}).models.deadline_us == 1
    assert load([low, high], env={}).models.deadline_us == 2
    assert load([low, high], env=env).models.deadline_us == 3
    assert load([low, high], env=env, overrides={key: 4}).models.deadline_us == 4


def test_config_file_variable_names_a_file_only_when_none_is_given(tmp_path: Path) -> None:
    """Loads with the variable alone and with a file beside it."""
    by_env = write(tmp_path, '{"sandbox": {"seed": 11}}', "env.json")
    given = write(tmp_path, "sandbox: {seed: 12}")
    env = {"CONFIG_FILE": str(by_env)}
    assert load(env=env).sandbox.seed == 11
    assert load([given], env=env).sandbox.seed == 12


def test_lists_and_free_maps_are_replaced_whole(tmp_path: Path) -> None:
    """A limit for "*" of the profile must not survive under the user's own map."""
    settings = load([write(tmp_path, "risk: {max_order_qty: {BTC/USD@coinbase: 0.1}}")], env={})
    assert settings.risk.max_order_qty == {"BTC/USD@coinbase": Decimal("0.1")}
    assert settings.risk.max_open_orders == 50  # its neighbours in the section stay


def test_variables_reach_lists_maps_and_strategy_parameters() -> None:
    """Sets one key of each kind from the environment and reads the typed result."""
    settings = load(
        env={
            "KESTREL_VENUE__SYMBOLS": "BTC/USD, SOL/USD",
            "KESTREL_PAPER__BALANCES__EUR": "5",
            "KESTREL_SANDBOX__BALANCES": '{"BTC": "2"}',
            "KESTREL_STRATEGIES__0__PARAMS__COST_MULTIPLE": "1.5",
            "KESTREL_ENGINE__UVLOOP": "false",
            "KESTREL_DATA": "/somewhere/else",
            "KESTREL_DATA__CATALOGUE": "/stored",
            "KESTREL_SECRET_X": "hush",
            "OTHER": "ignored",
        }
    )
    assert settings.data.catalogue == Path("/stored")
    assert settings.venue.symbols == ["BTC/USD", "SOL/USD"]
    assert settings.paper.balances == {"USD": Decimal(100_000), "EUR": Decimal(5)}
    assert settings.sandbox.balances == {"BTC": Decimal(2)}
    assert settings.strategies[0].params["cost_multiple"] == 1.5
    assert settings.engine.uvloop is False


def test_overriding_one_parameter_leaves_the_profile_alone() -> None:
    """Overrides a strategy parameter, then loads again without: the shipped value is back."""
    changed = load(env={}, overrides={"strategies.0.params.cost_multiple": 3})
    assert changed.strategies[0].params["cost_multiple"] == 3
    assert load(env={}).strategies[0].params["cost_multiple"] == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_every_shipped_profile_loads_by_name_and_as_a_file(profile: str) -> None:
    """Loads each profile in both ways and compares the results."""
    by_name = load(env={}, overrides={"profile": profile})
    by_file = load([profile_path(profile)], env={})
    assert by_name.profile == by_file.profile == profile
    assert by_name.digest() == by_file.digest()


def test_the_last_profile_named_is_used(tmp_path: Path) -> None:
    """A file, a variable and an override each name another profile."""
    file = write(tmp_path, "profile: development")
    assert load([file], env={}).profile == "development"
    assert load([file], env={}).logs.level == "debug"
    assert load([file], env={"KESTREL_PROFILE": "testing"}).profile == "testing"
    assert load([], env={}, default_profile="production").venue.feed == "live"


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("venue: {simbols: [BTC/USD]}", ["mine.yaml", "'venue.simbols'", "'venue.symbols'"]),
        ("venu: {}", ["'venu'", "'venue'"]),
        ("seed: 3", ["'seed'", "'sandbox.seed'"]),
        ("strategies: [{name: a, kind: x, parms: {}}]", ["'strategies.0.parms'", "'strategies.0.params'"]),
        ("venue: {zzzzzz: 1}", ["'venue.zzzzzz'", "one of name, feed"]),
        ("venue: coinbase", ["venue is a text", "the keys name, feed"]),
        ("venue: {name: kraken}", ["venue.name is 'kraken'", "'coinbase'"]),
        ("venue: {feed: life}", ["venue.feed is 'life'", "'sandbox', 'live' or 'replay'"]),
        ("venue: {symbols: BTC/USD}", ["venue.symbols is 'BTC/USD'", "a list"]),
        ("venue: {symbols: [BTCUSD]}", ["venue.symbols.0 is 'BTCUSD'", "a symbol such as BTC/USD"]),
        ("venue: {symbols: [A/B, A/B]}", ["venue is not consistent", "each symbol once"]),
        ("venue: {symbols: []}", ["venue.symbols is []; expected at least 1 item; correct it"]),
        ("metrics: {host: ''}", ["metrics.host is ''; expected at least 1 character; correct it"]),
        ("strategies: [{kind: x}]", ["strategies.0.name is missing; expected a value"]),
        ("venue: {rest_url: 'http://example.com'}", ["venue.rest_url", "https or wss for any other machine"]),
        ("sandbox: {port: abc}", ["sandbox.port is 'abc'", "a whole number"]),
        ("models: {deadline_us: 1.5}", ["models.deadline_us is 1.5", "a whole number"]),
        ("metrics: {port: abc}", ["metrics.port is 'abc'", "'auto' or a whole number"]),
        ("engine: {uvloop: maybe}", ["engine.uvloop is 'maybe'", "true or false"]),
        ("sandbox: {balances: {usd: 1}}", ["sandbox.balances.usd", "a currency such as USD"]),
        ("risk: {max_order_qty: {X: -1}}", ["risk.max_order_qty.X is -1", "greater than or equal to 0"]),
        ("risk: {max_order_qty: 5}", ["risk.max_order_qty is 5", "keys with values"]),
        ("risk: {collar_bps: .nan}", ["risk.collar_bps is nan", "a finite number"]),
        ("risk: {max_gross_notional: 1.0e+16}", ["risk.max_gross_notional is 1e+16", "less than or equal to"]),
        ("risk: {collar_bps: 10001}", ["risk.collar_bps is 10001", "less than or equal to 10000"]),
        ("risk: {max_open_orders: 99999999}", ["risk.max_open_orders is 99999999", "less than or equal to"]),
        ("strategies: [{name: a}]", ["strategies.0 is not consistent", "either kind or path"]),
        ("strategies: [{name: a, kind: x}, {name: a, kind: y}]", ["each strategy name once"]),
        ("strategies: [{name: a, kind: x, instruments: [1]}]", ["strategies.0.instruments is [1]", "'all'"]),
        ("features: {sampling: {kind: time_bar, every: 5}}", ["features.sampling", "500ms, 1s, 5m or 1h"]),
        ("features: {set: core4}", ["features.set is 'core4'; expected 'core40'; correct it"]),
        ("profile: prod", ["profile is 'prod'", "production"]),
        ("a: [1", ["not valid YAML in line 1"]),
        ("venue: {feed: live}\nvenue: {feed: live}", ["line 2", "'venue' is given twice"]),
        ("- 1", ["holds a list"]),
        ("x: !!python/object/apply:os.getcwd []", ["not valid YAML in line 1"]),
    ],
)
def test_a_mistake_names_key_seen_and_expected(tmp_path: Path, text: str, parts: list[str]) -> None:
    """Loads a file with one mistake and looks for each part of the one-line error."""
    message = error_of(tmp_path, text)
    for part in [*parts, "mine.yaml"]:
        assert part in message, message


@pytest.mark.fault("F9")
def test_mistakes_in_json_variables_and_overrides_name_their_source(tmp_path: Path) -> None:
    """One mistake in each of the other sources."""
    assert "'feed' is given twice" in error_of(tmp_path, '{"venue": {"feed": "live", "feed": "live"}}', "a.json")
    assert "a.json" in error_of(tmp_path, '{"venue": ', "a.json")
    with pytest.raises(ConfigError, match=r"env KESTREL_VENUE__FEEED: unknown key 'venue.feeed'.*'venue.feed'"):
        load(env={"KESTREL_VENUE__FEEED": "live"})
    with pytest.raises(ConfigError, match=r"env KESTREL_VENUE__FEED: venue.feed is 'x'"):
        load(env={"KESTREL_VENUE__FEED": "x"})
    with pytest.raises(ConfigError, match=r"command line: strategies.3 does not exist"):
        load(env={}, overrides={"strategies.3.params.a": 1})
    with pytest.raises(ConfigError, match=r"venue.feed has no keys of its own"):
        load(env={}, overrides={"venue.feed.x": 1})
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read: No such file"):
        load([tmp_path / "nowhere.yaml"], env={})
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load([binary], env={})


@pytest.mark.fault("F15")
@pytest.mark.parametrize(
    "text",
    [
        "venue: {api_secret: hush-hush}",
        "venue: {key_file: '-----BEGIN EC PRIVATE KEY----- hush-hush'}",
        "venue: {rest_url: 'https://me:hush-hush@example.com'}",
        "strategies: [{name: a, kind: x, params: {api_token: hush-hush}, instruments: 5}]",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_error(tmp_path: Path, text: str) -> None:
    """Puts a recognisable secret where it must not be and searches the error for it."""
    message = error_of(tmp_path, text)
    assert "hush" not in message


@pytest.mark.fault("F15")
def test_redacted_settings_hide_secrets_and_are_json(tmp_path: Path) -> None:
    """A user's strategy parameter that looks like a secret is starred in the dump, in explain and in repr of rows."""
    text = "strategies: [{name: a, kind: x, params: {api_token: hush, nested: {password: hush}, depth: 2}}]"
    settings = load([write(tmp_path, text)], env={})
    dump = json.dumps(settings.redacted())
    assert "hush" not in dump
    assert "hush" not in repr(explain(settings))
    assert '"depth": 2' in dump


def test_digest_changes_with_any_value_and_with_nothing_else() -> None:
    """Compares digests of equal settings from different sources, and of settings that differ in one value."""
    base = load(env={})
    assert base.digest() == load(env={"KESTREL_MODELS__DEADLINE_US": "1000"}).digest()
    assert base.digest() != load(env={"KESTREL_MODELS__DEADLINE_US": "1001"}).digest()
    assert len(base.digest()) == 64


def test_explain_lists_every_key_with_its_source(tmp_path: Path) -> None:
    """One key from each source; all keys once."""
    file = write(tmp_path, "journal: {segment_mb: 9}")
    settings = load([file], env={"KESTREL_LOGS__KEEP": "3"}, overrides={"venue.feed": "replay"})
    rows = {row.key: row for row in explain(settings)}
    assert list(rows) == list(all_keys())
    assert rows["journal.segment_mb"][1:] == ("9", str(file))
    assert rows["logs.keep"][1:] == ("3", "env KESTREL_LOGS__KEEP")
    assert rows["venue.feed"][1:] == ('"replay"', "command line")
    assert rows["risk.collar_bps"][1:] == ('"100"', "profile paper")
    assert rows["engine.timer_ms"][1:] == ("100", "default")


def test_a_key_beside_one_that_was_set_is_still_at_its_default() -> None:
    """One key of a section on the command line, one in a variable: what the section holds besides has no source."""
    settings = load(env={"KESTREL_PORTFOLIO__CURRENCY": "EUR"}, overrides={"paper.latency_ms": 3})
    rows = {row.key: row.source for row in explain(settings)}
    assert (rows["paper.latency_ms"], rows["portfolio.currency"]) == ("command line", "env KESTREL_PORTFOLIO__CURRENCY")
    assert (rows["paper.balances"], rows["portfolio.rates"]) == ("default", "default")
    assert rows["risk.max_order_qty"] == "profile paper"


def test_risk_settings_are_exactly_the_limits() -> None:
    """Compares the names with those of the struct that the gate uses."""
    assert tuple(RiskSettings.model_fields) == Limits.__struct_fields__
    assert tuple(StrategyLimitSettings.model_fields) == StrategyLimits.__struct_fields__
    assert tuple(GroupLimitSettings.model_fields) == GroupLimits.__struct_fields__
    assert tuple(GuardianSettings.model_fields) == GuardianRules.__struct_fields__


def test_paper_limits_take_the_instruments_of_the_session() -> None:
    """Reads the limits of the shipped paper profile for two instruments."""
    limits = session_limits(load(env={}), ["BTC/USD@coinbase", "ETH/USD@coinbase"], live=False)
    assert limits.allowed_instruments == ("BTC/USD@coinbase", "ETH/USD@coinbase")
    assert limits.unusable() == ""


def explicit_limits(**changes: Any) -> str:
    risk = load(env={}).risk.model_dump(mode="json") | {"allowed_instruments": ["BTC/USD@coinbase"]} | changes
    return json.dumps({"risk": risk})


def test_a_limit_emptied_on_the_command_line_is_missing_and_an_unknown_key_stays_unknown() -> None:
    """``--set KEY=`` with a limit, with a key that may be empty, with a key that does not exist."""
    cleared = load(env={}, overrides={"risk.max_order_notional": None})
    with pytest.raises(ConfigError, match="'max_order_notional' is missing"):
        session_limits(cleared, ["BTC/USD@coinbase"], live=False)
    assert load(env={}, overrides={"venue.key_file": None}).venue.key_file is None
    with pytest.raises(ConfigError, match=r"command line: unknown key 'venue.nope'"):
        load(env={}, overrides={"venue.nope": None})


def test_live_needs_every_limit_in_the_users_own_file(tmp_path: Path) -> None:
    """Live refuses limits of a shipped profile, by name or as the file, a missing one, and "all"."""
    for settings in (load(env={}), load([profile_path("paper")], env={}), load(env={}, default_profile="production")):
        with pytest.raises(ConfigError, match="missing"):
            session_limits(settings, ["BTC/USD@coinbase"], live=True)
    own = load([write(tmp_path, explicit_limits(), "own.json")], env={})
    assert session_limits(own, ["ETH/USD@coinbase"], live=True).allowed_instruments == ("BTC/USD@coinbase",)
    partly = load([write(tmp_path, explicit_limits(max_daily_loss=None), "part.json")], env={})
    with pytest.raises(ConfigError, match="'max_daily_loss' is missing"):
        session_limits(partly, [], live=True)
    everything = load([write(tmp_path, explicit_limits(allowed_instruments="all"), "all.json")], env={})
    with pytest.raises(ConfigError, match="'all'"):
        session_limits(everything, [], live=True)


@pytest.mark.fault("F5")
@pytest.mark.parametrize("name", DECIDED)
def test_live_wants_each_control_decided(tmp_path: Path, name: str) -> None:
    """All of them emptied in the user's own file is a decision; one that is left out is none."""
    own = json.loads(explicit_limits())
    del own["risk"][name]
    with pytest.raises(ConfigError, match=rf"risk\.{name} is not decided"):
        session_limits(load([write(tmp_path, json.dumps(own), "own.json")], env={}), [], live=True)
    paper = session_limits(load([write(tmp_path, json.dumps(own), "own.json")], env={}), [BTC], live=False)
    assert getattr(paper, name) is None


def test_references_are_the_consolidated_prices_an_instrument_is_part_of(tmp_path: Path) -> None:
    """With a reference collar and nothing else said, each member refers to its consolidated price."""
    members = [BTC, "BTC/USD@other"]
    text = json.dumps(
        {"consolidated": [{"instrument": "BTC/USD", "members": members}], "risk": {"reference_collar_bps": 50}}
    )
    limits = session_limits(load([write(tmp_path, text, "own.json")], env={}), [BTC], live=False)
    assert limits.references == dict.fromkeys(members, "BTC/USD@consolidated")
    assert session_limits(load(env={}), [BTC], live=False).references is None


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ({"max_leverag": 2}, "risk.max_leverage"),
        ({"guardian": {"stop_bp": 5}}, "risk.guardian.stop_bps"),
        ({"strategy_limits": {"a": {"max_daily_los": 5}}}, "max_daily_los"),
        ({"max_leverage": "NaN"}, "risk.max_leverage"),
        ({"opposing": "allow"}, "block"),
        ({"restricted_instruments": ["BTC"]}, "risk.restricted_instruments"),
        ({"group_limits": {"g": {"instruments": ["btc"], "max_net_notional": 1}}}, "risk.group_limits"),
    ],
)
def test_a_mistake_in_a_control_is_named(tmp_path: Path, risk: dict[str, Any], said: str) -> None:
    """Unknown keys, also within, no number and no such policy: the session does not start."""
    with pytest.raises(ConfigError, match=said):
        load([write(tmp_path, json.dumps({"risk": risk}), "own.json")], env={})


@pytest.mark.fault("F11")
def test_loaded_settings_cannot_be_changed() -> None:
    """Assigning to a loaded value raises: what was hashed is what runs."""
    with pytest.raises(ValueError, match="frozen"):
        load(env={}).sandbox.seed = 1


@pytest.mark.fault("F9")
def test_a_truth_value_is_no_number_and_a_path_is_one_that_can_be() -> None:
    """``true`` for each number that there is, also where it may be empty; odd paths; a strategy index in odd digits."""
    for key in ("risk.max_open_orders", "logs.max_mb", "metrics.port", "venue.reconcile_s", "risk.max_order_notional"):
        with pytest.raises(ConfigError, match=f"{key} is True; expected .*number"):
            load(env={}, overrides={key: True})
    assert load(env={}, overrides={"engine.busy_poll": True}).engine.busy_poll
    for path in ("a\0b", "~nobody_of_this_name/x"):
        with pytest.raises(ConfigError, match=r"session\.directory"):
            load(env={}, overrides={"session.directory": path})
    with pytest.raises(ConfigError, match="does not exist"):
        load(env={}, overrides={"strategies.\N{SUPERSCRIPT TWO}": 1})
