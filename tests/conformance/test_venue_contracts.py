"""The contract of ``venue_contract`` for every venue."""

from __future__ import annotations

from engine.commands import OrderType, TimeInForce
from engine.events import BalanceReported, FeedDown, FeedUp, InstrumentDefined, OrderFilled
from tests.conformance.venue_contract import VenueContract, same_touch
from tests.support.venues.binance import BinanceSpotRig, BinanceUsdmRig
from tests.support.venues.ccxt import CcxtBinanceRig, CcxtCoinbaseRig, CcxtKrakenRig
from tests.support.venues.coinbase import CoinbaseRig
from tests.support.venues.oanda import OandaRig
from tests.support.venues.rig import Rig, session
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
    test_16_exits = VenueContract.test_16_exits


class TestCcxtBinance(_CcxtInShort):
    Rig = CcxtBinanceRig


class TestCcxtCoinbase(_CcxtInShort):
    Rig = CcxtCoinbaseRig


class TestRobinStocks(VenueContract):
    Rig = RobinStocksRig


class TestRobinhood(VenueContract):
    Rig = RobinhoodRig


class _OfItsMarket:
    """A venue whose market alone is read: orders are matched in this process, so nothing of an account can go wrong."""

    rig = VenueContract.rig
    test_02_snapshot_and_delta = VenueContract.test_02_snapshot_and_delta
    test_03_gap = VenueContract.test_03_gap
    test_12_halt = VenueContract.test_12_halt
    test_16_exits = VenueContract.test_16_exits

    async def test_01_subscribe(self, rig: Rig) -> None:
        """The instrument and its rules, both streams, money to begin with, and the touch as the venue has it."""
        async with session(rig) as s:
            defined = [event.definition for event in s.log if type(event) is InstrumentDefined]
            assert [one.id for one in defined] == [rig.instrument]
            assert any(type(event) is BalanceReported and event.total > 0 for event in s.log)
            assert {event.stream for event in s.log if type(event) is FeedUp} == {"market", "user"}
            await same_touch(s, *rig.best())

    async def test_04_reconnect(self, rig: Rig) -> None:
        """Every stream ends in mid-word while the touch moves: down once, then up with the touch as it is."""
        async with session(rig) as s:
            await rig.wire.cut_streams()
            moved = await rig.move(3)
            await s.until(lambda: any(type(event) is FeedDown for event in s.log), "the stream is down")
            await same_touch(s, *moved)
            await s.until(lambda: s.core.view.tradable(rig.instrument) == "", "tradable again")

    async def test_05_orders_meet_its_market(self, rig: Rig) -> None:
        """A market buy fills at the ask that the venue has; the venue never hears of it."""
        async with session(rig) as s:
            await same_touch(s, *rig.best())
            client = s.order(order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
            await s.heard(client, OrderFilled)
            (fill,) = [event for event in s.of(client) if type(event) is OrderFilled]
            assert fill.px == rig.best()[1]
            assert s.position == rig.qty
            assert rig.position() == 0


class TestBinanceSpot(_OfItsMarket):
    Rig = BinanceSpotRig


class TestBinanceUsdm(_OfItsMarket):
    Rig = BinanceUsdmRig
