"""The contract of ``venue_contract`` for every venue."""

from __future__ import annotations

from tests.conformance.venue_contract import VenueContract
from tests.support.venues.ccxt import CcxtBinanceRig, CcxtCoinbaseRig, CcxtKrakenRig
from tests.support.venues.coinbase import CoinbaseRig
from tests.support.venues.oanda import OandaRig
from tests.support.venues.robin_stocks import RobinStocksRig
from tests.support.venues.robinhood import RobinhoodRig


class TestCoinbase(VenueContract):
    Rig = CoinbaseRig


class TestOanda(VenueContract):
    Rig = OandaRig


class TestCcxt(VenueContract):
    """Through the library, at the exchange with numbered requests, other client ids and pages by offset."""

    Rig = CcxtKrakenRig


class _CcxtInShort:
    """What differs from class to class of the library: kinds of orders, lost answers, pages."""

    rig = VenueContract.rig
    test_05_each_order_type = VenueContract.test_05_each_order_type
    test_09_nothing_is_sent_twice = VenueContract.test_09_nothing_is_sent_twice
    test_14_paging = VenueContract.test_14_paging


class TestCcxtBinance(_CcxtInShort):
    Rig = CcxtBinanceRig


class TestCcxtCoinbase(_CcxtInShort):
    Rig = CcxtCoinbaseRig


class TestRobinStocks(VenueContract):
    Rig = RobinStocksRig


class TestRobinhood(VenueContract):
    Rig = RobinhoodRig
