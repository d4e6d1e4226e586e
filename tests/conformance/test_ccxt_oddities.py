"""Exchanges that do less than they say, through ccxt: one that tells no names of orders back, one whose trades stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from config.venue_kind import Connector
from connectors.ccxt_venue import streams
from engine.events import FeedDown, FeedUp, OrderAccepted, OrderFound, OrderOutcomeUnknown, OrderRejected, Trade
from tests.support.venues.ccxt import CcxtKrakenRig
from tests.support.venues.rig import session
from tests.support.venues.wire import Plan, Wire

QUIET_S = 0.4


class NamelessWire(Wire):
    """The names are there, under a key that nobody reads."""

    def told(self, chunk: bytes) -> bytes:
        return chunk.replace(b'"cl_ord_id"', b'"no_ord_id"')


class NamelessRig(CcxtKrakenRig):
    wire_type = NamelessWire


@pytest.mark.fault("B14")
async def test_what_was_lost_is_found_by_what_it_is_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """An order that is known rests at the same price and size beside each that is lost: the one that arrived is found
    and can be filled, the other one has never arrived."""
    async with NamelessRig(tmp_path).running() as rig, session(rig) as s:
        known = s.order()
        await s.heard(known, OrderAccepted)
        for forwarded in (True, False):
            await s.ready()
            before = rig.wire.orders
            rig.wire.plan(Plan(forwarded=forwarded))
            lost = s.order()
            await s.heard(lost, OrderOutcomeUnknown)
            await s.heard(lost, OrderAccepted if forwarded else OrderRejected)
            assert rig.wire.orders == before + 1
            assert len(rig.found(lost)) == forwarded
            if forwarded:
                for one in (known, lost):  # the one before it goes first
                    await rig.fill(one, rig.qty)
                await s.until(lambda one=lost: s.filled(one) == rig.qty, "it is filled")  # type: ignore[misc]
        await s.settled()
        assert s.position == rig.position() == 2 * rig.qty
        assert OrderFound not in {type(event) for event in s.log}


class TradelessWire(Wire):
    """From some moment on, messages of trades have a name that nobody knows; prices come as before."""

    is_mute = False

    def told(self, chunk: bytes) -> bytes:
        return chunk.replace(b'"channel":"trade"', b'"channel":"tradf"') if self.is_mute else chunk


class TradelessRig(CcxtKrakenRig):
    wire_type = TradelessWire

    def impatient(self, connector: Connector) -> None:
        super().impatient(connector)
        connector.settings = msgspec.structs.replace(connector.settings, trades_silence_s=QUIET_S)  # type: ignore[attr-defined]


@pytest.mark.fault("C2")
async def test_a_stream_of_trades_that_goes_mute_is_noticed_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trades: it stays up.  Then somebody does, prices move, and no trade is told: another object tells them."""
    monkeypatch.setattr(streams, "SETTLE_S", 0.1)
    monkeypatch.setattr(streams, "SKEW_NS", 0)
    async with TradelessRig(tmp_path).running() as rig, session(rig) as s:
        assert isinstance(rig.wire, TradelessWire)
        told = lambda: sum(type(event) is Trade for event in s.log)  # noqa: E731
        await rig.move(3)
        await s.until(told, "a trade is told")
        await asyncio.sleep(3 * QUIET_S)
        assert FeedDown not in {type(event) for event in s.log}
        rig.wire.is_mute = True
        await rig.move(3)
        await s.until(lambda: any(type(event) is FeedDown for event in s.log), "it is noticed")
        (down,) = [event for event in s.log if type(event) is FeedDown]
        assert "trades of BTC/USD are listed and not told" in down.reason
        rig.wire.is_mute = False
        await s.until(lambda: sum(type(e) is FeedUp and e.stream == "market" for e in s.log) == 2, "it is up again")
        before = told()
        await rig.move(3)
        await s.until(lambda: told() > before, "trades are told again")
