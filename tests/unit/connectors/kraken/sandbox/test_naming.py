"""Names of assets and pairs, ids of orders and trades."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kraken.sandbox.naming import make_id, pair_names, read_id
from connectors.local.settings import SpotProduct


@pytest.mark.parametrize(
    ("symbol", "name", "altname", "wsname"),
    [
        ("BTC/USD", "XXBTZUSD", "XBTUSD", "XBT/USD"),
        ("ETH/BTC", "XETHXXBT", "ETHXBT", "ETH/XBT"),
        ("SOL/USD", "SOLUSD", "SOLUSD", "SOL/USD"),
        ("BTC/USDT", "XBTUSDT", "XBTUSDT", "XBT/USDT"),
    ],
)
def test_old_assets_have_two_spellings_and_young_ones_have_one(
    symbol: str, name: str, altname: str, wsname: str
) -> None:
    """A pair has its long id where both of its assets are old."""
    names = pair_names(SpotProduct(symbol, Decimal(100), Decimal("0.1"), Decimal("0.00000001")))
    assert (names.id, names.altname, names.wsname) == (name, altname, wsname)
    assert (names.px_decimals, names.qty_decimals) == (1, 8)


@given(st.integers(0, (1 << 60) - 1), st.sampled_from("OT"))
def test_an_id_is_its_number_and_looks_like_none(number: int, kind: str) -> None:
    """Read back, and of its kind alone."""
    text = make_id(kind, number)
    assert len(text) == 18
    assert text[0] == kind
    assert read_id(kind, text) == number
    assert read_id("OT".replace(kind, ""), text) is None


@given(st.text(max_size=20))
def test_any_text_is_an_id_or_none(text: str) -> None:
    """Nothing raises."""
    assert read_id("O", text) is None or text.startswith("O")
