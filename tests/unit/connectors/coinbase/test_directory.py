"""Products to instruments, switches to states, clocks and balances."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase import product_wire
from connectors.coinbase.directory import Directory, make_instrument, trading_status
from connectors.coinbase.settings import CoinbaseSettings
from connectors.fakes import FakeClock
from connectors.rest import RestError
from engine.errors import VenueError
from engine.events import InstrumentDefined, TradingStatus

PRODUCT = {
    "product_id": "BTC-USD",
    "base_increment": "0.00000001",
    "price_increment": "0.01",
    "quote_increment": "0.05",
    "quote_min_size": "1",
    "base_min_size": "0.00001",
    "base_max_size": "3400",
    "status": "online",
    "product_type": "SPOT",
    "alias": "",
    "is_disabled": False,
}


def product(**change: Any) -> product_wire.Product:
    return msgspec.json.decode(json.dumps({**PRODUCT, **change}), type=product_wire.Product, strict=False)


class Answers:
    """The REST client's ``get``, from a table by path; a list gives one answer per call."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    async def get(self, path: str, params: Any = (), *, auth: bool = True) -> bytes:
        answer = self.answers.get(path)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if answer is None:
            raise RestError(f"GET {path} answered 404", status=404)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def directory(answers: Any, *, private: bool = False, **settings: Any) -> Directory:
    return Directory(CoinbaseSettings(**settings), Answers(answers), FakeClock(10**18), private=private)  # type: ignore[arg-type]


def test_an_instrument_has_the_products_rules() -> None:
    """price_increment is the tick; quote_increment only where a product has no tick of its own."""
    made = make_instrument("coinbase", "BTC/USD", product(), Decimal("0.001"), Decimal("0.002"))
    assert (made.id, made.venue_symbol, made.base, made.quote) == ("BTC/USD@coinbase", "BTC-USD", "BTC", "USD")
    assert (made.tick_px, made.lot_qty, made.min_qty, made.max_qty, made.min_notional) == tuple(
        Decimal(x) for x in ("0.01", "0.00000001", "0.00001", "3400", "1")
    )
    assert (made.maker_fee_rate, made.taker_fee_rate, made.can_short) == (Decimal("0.001"), Decimal("0.002"), False)
    assert make_instrument("c", "A/B", product(price_increment=""), Decimal(0), Decimal(0)).tick_px == Decimal("0.05")


@pytest.mark.parametrize("channels", [("ticker", "market_trades"), ("ticker", "level2")])
async def test_an_instrument_has_levels_where_they_are_subscribed(channels: tuple[str, ...]) -> None:
    """What a feature of the book may count on: ``level2`` is among the channels."""
    answers = {"/market/products/BTC-USD": PRODUCT}
    event = (await directory(answers, symbols=("BTC/USD",), channels=channels).define())[0]
    assert isinstance(event, InstrumentDefined)
    assert event.definition.has_depth == ("level2" in channels)


@pytest.mark.parametrize("change", [{"product_type": "FUTURE"}, {"base_increment": "0"}])
def test_a_product_that_cannot_be_traded_here_is_refused(change: dict[str, str]) -> None:
    """A future by the name of a pair, and a product without a size step."""
    with pytest.raises(VenueError, match="expected"):
        make_instrument("coinbase", "BTC/USD", product(**change), Decimal(0), Decimal(0))


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, TradingStatus.TRADING),
        ({"is_disabled": True, "post_only": True}, TradingStatus.HALTED),
        ({"trading_disabled": True}, TradingStatus.HALTED),
        ({"auction_mode": True}, TradingStatus.HALTED),
        ({"view_only": True}, TradingStatus.HALTED),
        ({"status": "delisted"}, TradingStatus.HALTED),
        ({"cancel_only": True, "post_only": True}, TradingStatus.CANCEL_ONLY),
        ({"post_only": True}, TradingStatus.POST_ONLY),
        ({"limit_only": True}, TradingStatus.LIMIT_ONLY),
    ],
)
def test_the_strictest_switch_wins(change: dict[str, Any], status: TradingStatus) -> None:
    """Each switch of the product."""
    assert trading_status(product(**change)) is status


async def test_a_shared_book_is_subscribed_by_its_label_and_traded_by_its_own_id() -> None:
    """BTC-USDC carries the alias BTC-USD."""
    answers = {
        "/market/products/BTC-USD": PRODUCT,
        "/market/products/BTC-USDC": {**PRODUCT, "product_id": "BTC-USDC", "alias": "BTC-USD"},
    }
    d = directory(answers, symbols=("BTC/USD", "BTC/USDC"))
    assert len([e for e in await d.define() if isinstance(e, InstrumentDefined)]) == 2
    assert d.market_products == {"BTC-USD": ("BTC/USD@coinbase", "BTC/USDC@coinbase")}
    assert d.products == {"BTC/USD@coinbase": "BTC-USD", "BTC/USDC@coinbase": "BTC-USDC"}


async def test_the_accounts_own_fees_are_used_with_a_key() -> None:
    """From transaction_summary."""
    answers = {
        "/products/BTC-USD": PRODUCT,
        "/transaction_summary": {"fee_tier": {"taker_fee_rate": "0.0025", "maker_fee_rate": "0.0015"}},
    }
    event = (await directory(answers, private=True).define())[0]
    assert isinstance(event, InstrumentDefined)
    assert (event.definition.maker_fee_rate, event.definition.taker_fee_rate) == (Decimal("0.0015"), Decimal("0.0025"))


@pytest.mark.fault("C16")
@pytest.mark.parametrize(("venue_ms", "offset_s"), [(10**12 + 2_000, 2), (10**12 - 29_000, -29)])
async def test_the_clock_offset_is_the_venues_minus_ours(venue_ms: int, offset_s: int) -> None:
    """Milliseconds as text, as the venue writes them."""
    d = directory({"/time": {"iso": "x", "epochMillis": str(venue_ms)}})
    assert await d.clock_offset_ns() == offset_s * 10**9


@pytest.mark.fault("C16")
async def test_a_clock_that_is_far_off_stops_the_start() -> None:
    """31 s ahead of the venue."""
    d = directory({"/time": {"epochMillis": str(10**12 - 31_000)}})
    with pytest.raises(VenueError, match=r"clock is \+31\.0 s off.*NTP"):
        await d.clock_offset_ns()


@pytest.mark.fault("C15")
async def test_balances_are_read_over_all_pages_and_summed_by_currency() -> None:
    """Two pages, two wallets of one currency, one without a hold."""

    def account(currency: str, value: str, hold: str | None) -> dict[str, Any]:
        made: dict[str, Any] = {"currency": currency, "available_balance": {"value": value, "currency": currency}}
        return made if hold is None else {**made, "hold": {"value": hold, "currency": currency}}

    pages = [
        {"accounts": [account("USD", "90", "10"), account("BTC", "0.5", None)], "has_next": True, "cursor": "2"},
        {"accounts": [account("USD", "1", "0")], "has_next": False, "cursor": ""},
    ]
    balances = await directory({"/accounts": pages}).balances()
    assert {(b.currency, b.total, b.available) for b in balances} == {
        ("USD", Decimal(101), Decimal(91)),
        ("BTC", Decimal("0.5"), Decimal("0.5")),
    }


@pytest.mark.fault("C14")
@pytest.mark.parametrize("answer", [b"<html>", b'{"accounts":[{"currency":"USD"}]}', RestError("no", status=503)])
async def test_balances_that_cannot_be_read_are_an_error_and_never_zero(answer: Any) -> None:
    """Not JSON, an account without a balance, a failed call."""
    with pytest.raises(VenueError):
        await directory({"/accounts": answer}).balances()


ACCOUNT: dict[str, Any] = {
    "currency": "USD",
    "available_balance": {"value": "90", "currency": "USD"},
    "hold": {"value": "10", "currency": "USD"},
}


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "Infinity"])
@pytest.mark.parametrize("where", ["available_balance", "hold"])
async def test_a_balance_that_is_no_number_is_one_clear_line(where: str, bad: str) -> None:
    """Never a balance of the books."""
    account = {**ACCOUNT, where: {"value": bad, "currency": "USD"}}
    with pytest.raises(VenueError, match="no number"):
        await directory({"/accounts": {"accounts": [ACCOUNT, account]}}, private=True).balances()


@pytest.mark.parametrize("field", ["base_increment", "base_max_size"])
def test_product_sizes_that_are_no_numbers_are_refused(field: str) -> None:
    """NaN compares with nothing."""
    with pytest.raises(VenueError, match="no numbers"):
        make_instrument("coinbase", "BTC/USD", product(**{field: "NaN"}), Decimal(0), Decimal(0))


async def test_a_reading_of_the_balances_says_between_which_moments_it_was_made() -> None:
    """By the venue's clock, with a margin about them in which a fill may be part of it or not."""
    opening = await directory({"/accounts": {"accounts": [ACCOUNT]}}, private=True).opening(lambda: 5)
    assert [(b.currency, b.total) for b in opening.balances] == [("USD", Decimal(100))]
    assert opening.since_ns == opening.until_ns == 10**18 + 5
    assert opening.doubtful_ns[0] < opening.since_ns < opening.doubtful_ns[1]


async def test_a_key_without_a_futures_account_is_told_so_in_one_line() -> None:
    """It names the contracts; a server that fails is another matter, and is asked again."""
    contract = {
        **PRODUCT, "product_id": "BIP-20DEC30-CDE", "product_type": "FUTURE", "quote_currency_id": "USD",
        "future_product_details": {"contract_size": "0.01", "contract_expiry": "2030-12-20T16:00:00Z"},
    }  # fmt: skip
    answers: dict[str, Any] = {
        "/products/BIP-20DEC30-CDE": contract,
        "/transaction_summary": {"fee_tier": {"taker_fee_rate": "0.002", "maker_fee_rate": "0.001"}},
        "/accounts": {"accounts": []},
    }
    found = directory(answers, private=True, symbols=("BIP-20DEC30-CDE/USD",))
    (defined, _) = await found.define()
    assert isinstance(defined, InstrumentDefined)
    assert (defined.definition.multiplier, defined.definition.taker_fee_rate) == (Decimal("0.01"), Decimal("0.002"))
    with pytest.raises(VenueError, match=r"does not show a futures account.*BIP-20DEC30-CDE"):
        await found.opening(lambda: 0)
    answers["/cfm/balance_summary"] = RestError("GET answered 503", status=503)
    with pytest.raises(RestError):
        await found.opening(lambda: 0)
