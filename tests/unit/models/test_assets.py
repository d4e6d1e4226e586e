"""Numbers of instruments, and what becomes of one that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import BundleError, DataError
from models.assets import ASSETS, UNKNOWN, AssetIds
from models.bundle import load_bundle

IDS = AssetIds.of(["BTC/USD@coinbase", "ETH/USD@coinbase", "BTC/USD@coinbase"])


def test_numbers_are_those_of_the_training_and_come_back_from_the_file() -> None:
    """Each instrument once, from 1 up; through the file they stay."""
    again = AssetIds.from_json(IDS.to_json())
    assert again == IDS
    assert again.rows == 3
    assert [again.number(name) for name in ("BTC/USD@coinbase", "ETH/USD@coinbase")] == [1, 2]


def test_an_instrument_nobody_has_seen_is_nobody_in_particular() -> None:
    """Another venue is another instrument."""
    assert IDS.number("BTC/USD@kraken") == UNKNOWN == 0
    assert IDS.numbers(["ETH/USD@coinbase", "SOL/USD@coinbase"], np.array([0, 1, 1, 0])).tolist() == [2, 0, 0, 2]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"instruments": [1]}', b'{"instruments": ["a", "a"]}', b'{"instruments": [""]}', b'{"ids": []}'],
)
def test_a_file_that_is_no_list_of_instruments_is_refused(content: bytes) -> None:
    """One line, whatever it holds."""
    with pytest.raises(BundleError, match=r"assets\.json is no list of instruments") as caught:
        AssetIds.from_json(content)
    assert "\n" not in str(caught.value)


def test_an_instrument_twice_is_refused() -> None:
    with pytest.raises(DataError, match="each instrument once"):
        AssetIds(("a", "a"))


def test_the_file_travels_in_a_bundle_under_its_hash(crypto_bundle, replace_file) -> None:
    """Listed, it loads with the rest; one changed number is a damaged bundle."""
    replace_file(crypto_bundle, ASSETS, IDS.to_json())
    load_bundle(crypto_bundle)
    assert AssetIds.from_json((crypto_bundle / ASSETS).read_bytes()) == IDS
    (crypto_bundle / ASSETS).write_bytes(AssetIds.of(["ETH/USD@coinbase", "BTC/USD@coinbase"]).to_json())
    with pytest.raises(BundleError, match=r"assets\.json has sha256"):
        load_bundle(crypto_bundle)
