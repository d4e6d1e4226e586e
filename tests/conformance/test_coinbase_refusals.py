"""What the venue refuses or closes while a session runs, over real sockets: keys, permissions, products, books.

The exchange is the sandbox; what the venue's own people do to it goes through its operator's door.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connectors.coinbase import access, cancels, products
from connectors.coinbase.sandbox import listings, queries, wire
from connectors.coinbase.sandbox.auth import AuthError
from connectors.coinbase.sandbox.server import RunningSandbox
from engine.errors import VenueError
from engine.events import (
    AccountSettled,
    BookSnapshot,
    CancelRejected,
    FeedDown,
    FeedUp,
    Gap,
    InstrumentDefined,
    InstrumentStatus,
    OrderCancelled,
    OrderRejected,
    Side,
    TradingStatus,
    VenueStatus,
)
from tests.conformance.test_coinbase_account import One, session, still_exchange
from tests.support.coinbase import BTC
from tests.support.coinbase_sandbox import Client
from tests.support.waiting import until

D = Decimal
HALTED, TRADING = TradingStatus.HALTED, TradingStatus.TRADING


async def operate(sandbox: RunningSandbox, act: str, **fields: Any) -> None:
    """Raises where the sandbox does not take it."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{sandbox.rest_url}/sandbox/operator", json={"act": act, **fields}) as answer,
    ):
        assert answer.status == 200, await answer.text()


def statuses(one: One) -> list[TradingStatus]:
    return [event.status for event in one.log.of(VenueStatus)]


def counting_private(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request whose token was looked at, from now on."""
    seen: list[str] = []
    check = sandbox.verifier.request

    def counted(authorization: str, method: str, path: str, now_s: float) -> Any:
        seen.append(f"{method} {path}")
        return check(authorization, method, path, now_s)

    monkeypatch.setattr(sandbox.verifier, "request", counted)
    return seen


@pytest.mark.fault("C8")
async def test_a_key_that_expires_halts_the_venue_until_it_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It expires while an order rests.  One refused order is no reason, the second one is.  A cancel is tried on; few
    requests leave meanwhile.  When the key is back the venue trades, the account is confirmed after that, and the
    cancel has had its effect."""
    monkeypatch.setattr(access, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(access, "LONGEST_PAUSE_S", 0.4)
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 0.01)
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        one.submit("rest", limit_px=hand.best()[0] - 100)
        await one.accepted("rest")
        await operate(hand.sandbox, "expire_key")
        for name in ("first", "second"):
            one.submit(name, limit_px=hand.best()[0] - 100)
            await until(lambda name=name: one.of(name))
            assert one.of(name)[0].reason == "unauthorized"
            assert statuses(one) == ([] if name == "first" else [HALTED])
        assert "answered 401" in one.log.of(VenueStatus)[0].text
        seen = counting_private(hand.sandbox, monkeypatch)
        one.cancel("rest")
        one.venue.confirm()  # what asks about the account is held back
        await asyncio.sleep(1.0)
        assert 0 < len(seen) <= 16
        assert set(seen) <= {
            "GET /api/v3/brokerage/key_permissions",
            "POST /api/v3/brokerage/orders/batch_cancel",
        }
        assert statuses(one) == [HALTED]
        settled = len(one.settled())
        await operate(hand.sandbox, "restore_key")
        await until(lambda: len(one.settled()) > settled)
        assert statuses(one) == [HALTED, TRADING]
        assert one.log.index(one.log.of(VenueStatus)[1]) < one.log.index(one.settled()[-1])
        if CancelRejected in one.kinds("rest"):  # given up three times: the core asks again
            one.cancel("rest")
        await until(lambda: one.kinds("rest")[-1] is OrderCancelled)
        one.submit("after", limit_px=hand.best()[0] - 100)
        await one.accepted("after")


@pytest.mark.fault("C8")
async def test_one_token_that_is_refused_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the account is answered 401 once: it is asked again with a fresh token, and nothing is halted."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        verifier = hand.sandbox.verifier
        check, tokens = verifier.request, []

        def refuse_first(authorization: str, *request: Any) -> Any:
            tokens.append(authorization)
            if len(tokens) == 1:
                raise AuthError("spurious")
            return check(authorization, *request)

        monkeypatch.setattr(verifier, "request", refuse_first)
        settled = len(one.settled())
        one.venue.confirm()
        await until(lambda: len(one.settled()) > settled)
        assert tokens[0] != tokens[1]
        assert statuses(one) == []


@pytest.mark.fault("C8")
async def test_a_user_stream_that_is_refused_twice_halts_the_venue_until_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token is refused while those of REST are taken: the stream is tried at its own pace and no order leaves."""
    async with still_exchange(tmp_path) as hand, session(hand, backoff_cap_s=0.05) as one:
        verifier = hand.sandbox.verifier
        with monkeypatch.context() as refusing:

            def refuse(*_: Any) -> Any:
                raise AuthError("spurious")

            refusing.setattr(verifier, "message", refuse)
            assert one.venue.trading is not None
            one.venue.trading.user_feed._handle.close("cut by the test")  # type: ignore[union-attr]
            await until(lambda: statuses(one) == [HALTED])
            assert "authentication failure" in one.log.of(VenueStatus)[0].text
            assert len([e for e in one.log.of(FeedDown) if "authentication" in e.reason]) >= 2
        await until(lambda: statuses(one) == [HALTED, TRADING])
        await until(lambda: [e.stream for e in one.log.of(FeedUp)].count("user") == 2)


@pytest.mark.fault("C9")
@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        ({"can_trade": False}, r"API key of coinbase lacks the permission trade; expected a key that may view and"),
        ({"can_view": False}, r"answered 403: .*API key's permissions"),
    ],
)
async def test_a_key_that_may_not_do_what_is_needed_ends_the_start_in_one_line(
    tmp_path: Path, permissions: dict[str, bool], words: str
) -> None:
    """By what the venue says of the key, before anything else is asked with it; nothing is told, nothing stays open."""
    async with still_exchange(tmp_path) as hand:
        await operate(hand.sandbox, "permit", **permissions)
        with pytest.raises(VenueError, match=words) as caught:
            async with session(hand):
                pass
        assert "\n" not in str(caught.value)
        assert hand.sandbox.hub.connections == {}


@pytest.mark.fault("C9")
@pytest.mark.parametrize(("status", "words"), [(403, "serves this place"), (451, "does not serve this place")])
async def test_a_place_that_is_not_served_ends_the_start_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    """A page of HTML instead of an answer, as a gateway in front of the venue sends it."""
    async with still_exchange(tmp_path) as hand:

        async def blocked(_: Any) -> web.Response:
            return web.Response(
                status=status, text="<html>\n<h1>not available\nin your region</h1>", content_type="text/html"
            )

        for route in hand.sandbox._runner.app.router.routes():
            if route.resource is not None and route.resource.canonical.endswith("/key_permissions"):
                monkeypatch.setattr(route, "_handler", blocked)
        with pytest.raises(VenueError, match=f"answered {status}.*{words}") as caught:
            async with session(hand):
                pass
        assert "\n" not in str(caught.value)


@pytest.mark.fault("C9")
async def test_a_key_that_may_move_money_is_said_and_needed_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the permission there is one warning, without it none; the session starts either way."""
    async with still_exchange(tmp_path) as hand:
        for may, warnings in ((False, 0), (True, 1)):
            caplog.clear()
            await operate(hand.sandbox, "permit", can_transfer=may)
            async with session(hand) as one:
                assert one.settled()
            assert len([r for r in caplog.records if "may move money" in r.getMessage()]) == warnings


@pytest.mark.fault("C9")
async def test_a_permission_that_is_taken_away_halts_the_venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are answered 403 from then on; looking is still allowed, and does not count as being let in again."""
    monkeypatch.setattr(access, "FIRST_PAUSE_S", 0.05)
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await operate(hand.sandbox, "permit", can_trade=False)
        for name in ("first", "second"):
            one.submit(name, limit_px=hand.best()[0] - 100)
            await until(lambda name=name: one.of(name))
        assert statuses(one) == [HALTED]
        await asyncio.sleep(0.3)
        assert statuses(one) == [HALTED]
        await operate(hand.sandbox, "permit", can_trade=True)
        await until(lambda: statuses(one) == [HALTED, TRADING])


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("switches", "expected", "reason"),
    [
        ({"trading_disabled": True}, HALTED, "trading_halted"),
        ({"status": "offline"}, HALTED, "trading_halted"),
        ({"cancel_only": True}, TradingStatus.CANCEL_ONLY, "trading_halted"),
        ({"post_only": True}, TradingStatus.POST_ONLY, "trading_halted"),
        ({"limit_only": True}, TradingStatus.LIMIT_ONLY, ""),
    ],
)
async def test_a_product_that_is_switched_is_noticed_by_a_refusal_and_opens_through_a_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any], expected: TradingStatus, reason: str
) -> None:
    """Nobody tells of the switch; an order is refused (or, in limit-only, the product is asked for).  When the switch
    is back the state is told, and what was closed has the account confirmed after it."""
    monkeypatch.setattr(products, "SOON_S", 0.02)
    async with still_exchange(tmp_path) as hand, session(hand, products_s=0.05 if not reason else 0.0) as one:
        await operate(hand.sandbox, "product", product_id="BTC-USD", **switches)
        if reason:
            one.submit("refused", limit_px=hand.best()[0] - 100)
            await until(lambda: one.of("refused"))
            assert (type(one.of("refused")[0]), one.of("refused")[0].reason) == (OrderRejected, reason)
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is expected)
        off = {name: "online" if name == "status" else False for name in switches}
        await operate(hand.sandbox, "product", product_id="BTC-USD", **off)
        one.venue.products._wake.set()
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is TRADING)
        if expected in (HALTED, TradingStatus.CANCEL_ONLY):
            opened = one.log.index(one.log.of(InstrumentStatus)[-1])
            await until(lambda: any(type(event) is AccountSettled for event in list(one.log)[opened:]))
        assert len(one.log.of(InstrumentStatus)) == 3


async def test_whatever_wakes_the_watchers_as_the_session_stops_it_stops(tmp_path: Path) -> None:
    """The order to stop comes some turns of the loop after the reason to look again, each number of them in turn."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        venue = one.venue
        assert venue.trading is not None
        for turns in range(6):
            for watcher in (venue.products, venue.trading.reconciler.rounds):
                watcher._wake.set()
                for _ in range(turns):
                    await asyncio.sleep(0)
                async with asyncio.timeout(30):
                    await watcher.stop()
                watcher.start()
                await asyncio.sleep(0.01)


@pytest.mark.fault("C10")
async def test_the_status_channel_closes_at_once_and_opens_by_the_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel says offline, then online while the product is cancel-only: what it leaves out is asked for."""
    monkeypatch.setattr(products, "SOON_S", 0.02)
    channels = ("heartbeats", "ticker", "market_trades", "status")
    async with still_exchange(tmp_path) as hand, session(hand, channels=channels) as one:
        told = one.log.of(InstrumentStatus)
        await operate(hand.sandbox, "product", product_id="BTC-USD", status="offline")
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is HALTED)
        await operate(hand.sandbox, "product", product_id="BTC-USD", status="online", cancel_only=True)
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is TradingStatus.CANCEL_ONLY)
        assert [event.status for event in told] == [TRADING]


@pytest.mark.fault("D9")
async def test_rules_that_change_live_are_told_and_a_product_that_goes_is_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coarser price step; then the product is gone, and the venue has cancelled what rested; then it is back."""
    monkeypatch.setattr(products, "SOON_S", 0.02)
    async with still_exchange(tmp_path) as hand, session(hand, products_s=0.05) as one:
        await operate(hand.sandbox, "product", product_id="BTC-USD", price_increment="0.5", base_min_size="0.001")
        await until(lambda: len(one.log.of(InstrumentDefined)) == 2)
        new = one.log.of(InstrumentDefined)[1].definition
        assert (str(new.tick_px), str(new.min_qty)) == ("0.5", "0.001")
        assert new.taker_fee_rate == one.log.of(InstrumentDefined)[0].definition.taker_fee_rate
        one.submit("rest", qty=D("0.01"), limit_px=D(1000))
        await one.accepted("rest")
        await operate(hand.sandbox, "product", product_id="BTC-USD", listed=False)
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is HALTED)
        await until(lambda: OrderCancelled in one.kinds("rest"))
        await operate(hand.sandbox, "product", product_id="BTC-USD", listed=True)
        await until(lambda: one.log.of(InstrumentStatus)[-1].status is TRADING)


@pytest.mark.fault("D9")
@pytest.mark.fault("D10")
async def test_a_product_that_is_answered_as_another_one_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live: halted.  At a start: one line that names both."""
    told = listings.product
    async with still_exchange(tmp_path) as hand:
        async with session(hand, products_s=0.05) as one:
            monkeypatch.setattr(
                listings, "product", lambda *given, **named: {**told(*given, **named), "base_currency_id": "BCH"}
            )
            await until(lambda: one.log.of(InstrumentStatus)[-1].status is HALTED)
        with pytest.raises(VenueError, match="BTC/USD on coinbase is answered with the product 'BTC-USD' of BCH/USD"):
            async with session(hand):
                pass


@pytest.mark.fault("D2")
async def test_a_crossed_book_is_asked_for_anew_and_then_by_another_connection(tmp_path: Path) -> None:
    """A level that is not there stands in the way.  Asked once: the book is invalid, then whole again.  Asked twice:
    the connection is another one."""
    async with still_exchange(tmp_path) as hand, session(hand, channels=("heartbeats", "level2")) as one:
        await until(lambda: one.log.of(BookSnapshot))
        hub = hand.sandbox.hub
        level = wire.level_change(Side.BUY, hand.best()[1] + 100, hand.best()[0], wire.SNAPSHOT_TIME)
        hub._deliver(
            hub._listeners("level2", "BTC-USD"),
            "level2",
            [{"type": "update", "product_id": "BTC-USD", "updates": [level]}],
        )
        one.venue.renew(BTC, 1)
        (gap,) = one.log.of(Gap)
        assert (gap.instrument, gap.got) == (BTC, 0)
        await until(lambda: len(one.log.of(BookSnapshot)) == 2)
        book = one.log.of(BookSnapshot)[1]
        assert book.bids[0][0] < book.asks[0][0]
        assert [event.stream for event in one.log.of(FeedUp)].count("market") == 1
        one.venue.renew(BTC, 2)
        await until(lambda: [event.stream for event in one.log.of(FeedUp)].count("market") == 2)
        assert "made no sense" in one.log.of(FeedDown)[0].reason
        await until(lambda: len(one.log.of(BookSnapshot)) == 3)


@pytest.mark.fault("B11")
async def test_an_order_that_no_list_shows_any_more_is_asked_for_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests half filled; the list of open orders leaves it out and a look-up says 404: nothing is told of it, over
    several confirmations.  Then it was cancelled while the stream was mute: told by its id, after its fill."""
    listing = queries.list_orders
    async with still_exchange(tmp_path) as hand, session(hand, reconcile_s=1.0) as one:
        one.submit("half", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
        await one.accepted("half")
        before = one.kinds("half")
        with monkeypatch.context() as blind:
            blind.setattr(queries, "list_orders", lambda *given: {**listing(*given), "orders": []})
            found = dict(hand.exchange.orders)
            hand.exchange.orders.clear()
            for _ in range(2):
                settled = len(one.settled())
                one.venue.confirm()
                await until(lambda settled=settled: len(one.settled()) > settled)
            assert one.kinds("half") == before
            hand.exchange.orders.update(found)
            blind.setattr(hand.sandbox.hub, "pump", lambda: hand.exchange.drain())
            hand.fill("half", "0.004")
            hand.cancel("half")
            one.venue.confirm()
            await until(lambda: one.kinds("half")[-1] is OrderCancelled)
        assert [kind.__name__ for kind in one.kinds("half")] == ["OrderAccepted", "OrderFilled", "OrderCancelled"]


async def test_the_operators_door_takes_only_what_it_knows(tmp_path: Path) -> None:
    """Everything else is a 400 in the venue's shape."""
    async with still_exchange(tmp_path) as hand, aiohttp.ClientSession() as http:
        client = Client(hand.sandbox, http)
        assert (await client.get("/key_permissions"))["can_transfer"] is False
        for body in (
            {"act": "explode"},
            {"act": "expire_key", "surplus": 1},
            {"act": "permit", "can_fly": True},
            {"act": "permit", "key": "nobody", "can_trade": True},
            {"act": "product", "product_id": "XXX-USD"},
            {"act": "product", "product_id": "BTC-USD", "price_increment": "NaN"},
            {"act": "product", "product_id": "BTC-USD", "cancel_only": "yes"},
        ):
            async with http.post(f"{hand.sandbox.rest_url}/sandbox/operator", json=body) as answer:
                assert answer.status == 400, body
