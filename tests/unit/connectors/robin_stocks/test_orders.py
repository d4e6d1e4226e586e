"""Forms of orders, what their answers prove, and instruments."""

from __future__ import annotations

from math import nan
from typing import Any
from uuid import UUID

import msgspec
import pytest

from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.orders import define_option, define_stock, encode, option_name, read_answer, ref_id
from connectors.robin_stocks.wire import ContractRow, InstrumentRow, Ticks
from connectors.verdicts import Verdict
from engine.commands import OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from tests.support.robin_stocks import OPTION, OPTION_URL, STOCK, STOCK_URL, D, listings, new_order

SLIP = D("0.01")


def form(side: Side = Side.BUY, instrument: str = STOCK, ask_px: float = 231.42, **fields: Any) -> dict[str, Any]:
    return encode(new_order(1, side, instrument, **fields), listings()[instrument], "5QT1", ask_px, SLIP)


def test_a_reference_is_a_uuid_of_its_order_alone() -> None:
    """The same for ever, another for another order."""
    made = UUID(ref_id("k20261120T140307-abcd-1"))
    assert str(made) == ref_id("k20261120T140307-abcd-1") != ref_id("k20261120T140307-abcd-2")
    assert made.version == 8


def test_a_limit_order_for_stock() -> None:
    """Whole form: digits of the grid, references as addresses, the collar that every buy has."""
    made = form()
    assert made == {
        "account": "https://api.robinhood.com/accounts/5QT1/", "instrument": STOCK_URL, "symbol": "AAPL",
        "quantity": "2", "ref_id": ref_id("k20261120T140307-abcd-1"), "type": "limit", "time_in_force": "gtc",
        "trigger": "immediate", "side": "buy", "market_hours": "regular_hours", "extended_hours": "false",
        "order_form_version": 4, "price": "230.00", "preset_percent_limit": "0.05",
    }  # fmt: skip


def test_a_market_buy_is_a_limit_beyond_the_ask_and_a_market_sale_has_no_price() -> None:
    """The ask and one per cent, rounded down to the grid and never below the ask; good for the day alone."""
    made = form(order_type=OrderType.MARKET)
    assert (made["type"], made["price"], made["time_in_force"]) == ("limit", "233.73", "gfd")
    sold = form(Side.SELL, order_type=OrderType.MARKET)
    assert (sold["type"], "price" in sold) == ("market", False)
    with pytest.raises(LocalProtocolError, match="without an ask"):
        form(order_type=OrderType.MARKET, ask_px=nan)


def test_a_stop_limit_has_both_prices() -> None:
    """For stock and for options, whose steps grow at three dollars."""
    made = form(Side.SELL, order_type=OrderType.STOP_LIMIT, limit_px=D("229.50"), trigger_px=D("229.60"))
    assert (made["trigger"], made["stop_price"], made["price"]) == ("stop", "229.60", "229.50")
    made = form(Side.SELL, OPTION, order_type=OrderType.STOP_LIMIT, limit_px=D("2.91"), trigger_px=D("3.05"), qty=D(1))
    assert (made["stop_price"], made["price"]) == ("3.05", "2.91")


def test_an_option_order_has_one_leg() -> None:
    """Bought to open for a debit, sold to close for a credit."""
    made = form(instrument=OPTION, limit_px=D("4.50"))
    assert made["legs"] == [
        {"position_effect": "open", "side": "buy", "ratio_quantity": 1, "option": OPTION_URL}
    ]  # fmt: skip
    assert (made["direction"], made["price"], made["quantity"]) == ("debit", "4.50", "2")
    sold = form(Side.SELL, OPTION, limit_px=D("2.99"), reduce_only=True)
    assert (sold["direction"], sold["legs"][0]["position_effect"]) == ("credit", "close")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"post_only": True}, "post-only"),
        ({"time_in_force": TimeInForce.FOK}, "fok"),
        ({"order_type": OrderType.STOP, "trigger_px": D(231)}, "stop"),
        ({"trailing_px": D(1)}, "takes no"),
        ({"reduce_only": True}, "reduce-only buy"),
        ({"limit_px": D("230.005")}, "multiple of 0.01"),
        ({"limit_px": D("NaN")}, "price NaN"),
        ({"limit_px": None}, "price None"),
        ({"qty": D("1.5")}, "quantity"),
        ({"qty": D(0)}, "quantity"),
        ({"instrument": OPTION, "limit_px": D("4.51")}, "multiple of 0.05"),
        ({"instrument": OPTION, "order_type": OrderType.MARKET}, "market order for an option"),
        ({"side": 0}, "side"),
    ],
)
def test_what_the_venue_does_not_take_never_leaves(fields: dict[str, Any], words: str) -> None:
    """One field wrong each."""
    with pytest.raises(LocalProtocolError, match=words):
        form(**fields)


def test_parts_of_a_share_are_for_market_orders() -> None:
    """Where they are wanted and the venue has them: a sixth digit in a market order, none in a limit order."""
    row = InstrumentRow("1", STOCK_URL, "AAPL", fractional_tradability="tradable")
    listing = msgspec.structs.replace(
        listings()[STOCK], instrument=define_stock(row, "robin_stocks", 231.4, fractional=True)
    )
    order = new_order(order_type=OrderType.MARKET, qty=D("0.123456"))
    assert encode(order, listing, "1", 231.42, SLIP)["quantity"] == "0.123456"
    with pytest.raises(LocalProtocolError, match="whole shares"):
        encode(new_order(qty=D("0.5")), listing, "1", 231.42, SLIP)


def told(outcome: Outcome, status: int = 200, body: bytes = b"") -> Told:
    return Told(1, outcome, status, body)


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (told(Outcome.OK, 201, b'{"id":"1","state":"unconfirmed"}'), Verdict.ACCEPTED, ""),
        (told(Outcome.OK, 200, b'{"detail":"odd"}'), Verdict.UNKNOWN, "HTTP 200"),
        (told(Outcome.OK, 200, b'{"id":"","state":"queued"}'), Verdict.UNKNOWN, "HTTP 200"),
        (told(Outcome.OK, 200, b"[]"), Verdict.UNKNOWN, "HTTP 200"),
        (told(Outcome.REFUSED, 400, b'{"detail":"Not enough shares to sell."}'), Verdict.REJECTED, "insufficient_pos"),
        (told(Outcome.REFUSED, 400, b'{"quantity":["bad"]}'), Verdict.REJECTED, "refused"),
        (told(Outcome.REFUSED, 401), Verdict.REJECTED, "unauthorized"),
        (told(Outcome.REFUSED, 429), Verdict.REJECTED, "rate_limited"),
        (
            told(Outcome.REFUSED, 400, b'{"ref_id":["This field must be unique."]}'),
            Verdict.UNKNOWN,
            "duplicate_client_id",
        ),
        (told(Outcome.NOT_SENT), Verdict.REJECTED, "not_sent"),
        (told(Outcome.UNKNOWN, 500), Verdict.UNKNOWN, "no answer"),
    ],
)
def test_what_an_answer_proves(answer: Told, verdict: Verdict, reason: str) -> None:
    """Only an order with an id is one; whatever is not understood is unknown."""
    found = read_answer(answer)
    assert found.verdict is verdict
    assert found.reason.startswith(reason)


def test_names_of_options() -> None:
    """Taken apart; what is none is None."""
    name = option_name("BRK.B/USD:USD-261218-412.5-P")
    assert name is not None
    assert (name.symbol, name.expiry, name.strike, name.kind) == ("BRK.B", "2026-12-18", "412.5", "put")
    for symbol in ("AAPL/USD", "AAPL/USD:USD-2612-200-C", "aapl/USD:USD-261218-200-C", "AAPL/USD:USD-261218-200-X"):
        assert option_name(symbol) is None


def test_rules_of_instruments() -> None:
    """A step of the venue's own wins; below a dollar there are two more digits; options are a hundred shares."""
    row = InstrumentRow("1", STOCK_URL, "PNNY")
    assert define_stock(row, "robin_stocks", 0.42, fractional=True).tick_px == D("0.0001")
    assert define_stock(row, "robin_stocks", 0.42, fractional=True).lot_qty == 1
    own = msgspec.structs.replace(row, min_tick_size=D("0.05"))
    assert define_stock(own, "robin_stocks", 12.0, fractional=False).tick_px == D("0.05")
    option = define_option(
        ContractRow("1", OPTION_URL, "AAPL", "2026-12-18", D(230), "call"), "robin_stocks", OPTION.partition("@")[0], 5
    )
    assert (option.id, option.multiplier, option.expiry_ns, option.can_short) == (OPTION, 100, 5, False)
    stepped = ContractRow(
        "1", OPTION_URL, "AAPL", "2026-12-18", D(230), "call", min_ticks=Ticks(D("0.05"), D("0.01"), D("3.00"))
    )
    for px, tick in ((4.2, "0.05"), (2.9, "0.01")):
        assert define_option(stepped, "robin_stocks", OPTION.partition("@")[0], 5, px).tick_px == D(tick)
