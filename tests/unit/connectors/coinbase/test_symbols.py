"""Symbols and product ids, there and back."""

from __future__ import annotations

import pytest

from connectors.coinbase.symbols import is_contract, product_id_of, symbol_of


@pytest.mark.parametrize(
    ("symbol", "product_id", "contract"),
    [
        ("BTC/USD", "BTC-USD", False),
        ("00/USDC", "00-USDC", False),
        ("BIP-20DEC30-CDE/USD", "BIP-20DEC30-CDE", True),
        ("BIT-24APR26-CDE/USD", "BIT-24APR26-CDE", True),
    ],
)
def test_a_symbol_is_its_product_and_the_other_way_round(symbol: str, product_id: str, contract: bool) -> None:
    """Also as the beginning of an instrument's id."""
    assert (product_id_of(symbol), symbol_of(product_id)) == (product_id, symbol)
    assert product_id_of(f"{symbol}@coinbase") == product_id
    assert is_contract(product_id) is contract
