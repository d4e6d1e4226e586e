"""Settings that cannot be served are named in one line."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS, SandboxProduct, SandboxSettings
from engine.errors import ConfigError


def test_the_defaults_pass() -> None:
    """As started by a user who gives nothing."""
    SandboxSettings().check()
    assert [p.base + "/" + p.quote for p in DEFAULT_PRODUCTS] == ["BTC/USD", "ETH/USD"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"products": ()}, "no products"),
        ({"products": (SandboxProduct("BTCUSD", Decimal(1)),)}, "BTCUSD"),
        ({"products": DEFAULT_PRODUCTS + DEFAULT_PRODUCTS[:1]}, "given twice"),
        ({"products": (SandboxProduct("BTC-USD", Decimal(0)),)}, "start price"),
        ({"balances": (("USD", Decimal(-1)),)}, "balance USD"),
        ({"balances": (("USD", Decimal("NaN")),)}, "balance USD"),
        ({"port": -1}, "port -1"),
        ({"speed": 0.0}, "speed 0.0"),
        ({"speed": float("nan")}, "speed nan"),
        ({"step_ms": 0.0}, "step_ms 0.0"),
        ({"warmup_s": -1.0}, "warmup_s -1.0"),
        ({"key_algorithm": "RS256"}, "RS256"),
        ({"duplicate_mode": "maybe"}, "maybe"),
        ({"post_only_mode": "maybe"}, "maybe"),
        ({"attached_when": "maybe"}, "attached_when"),
        ({"attached_names": "maybe"}, "attached_names"),
        ({"attached_client_id": "maybe"}, "attached_client_id"),
        ({"attached_lag_s": -1.0}, "attached_lag_s"),
        ({"rate_per_s": 0.0}, "rate_per_s"),
        ({"taker_fee_rate": Decimal(2)}, "fee"),
        ({"outbound_queue": 0}, "outbound_queue"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes, said) -> None:
    """One wrong setting at a time."""
    with pytest.raises(ConfigError, match=said) as caught:
        msgspec.structs.replace(SandboxSettings(), **changes).check()
    assert "\n" not in str(caught.value)
