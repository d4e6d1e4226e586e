"""What the library's classes are told."""

from __future__ import annotations

import asyncio

from connectors.ccxt_venue.keys import Credentials
from connectors.ccxt_venue.library import Handle
from connectors.ccxt_venue.options import NONCED, options_of, trades_kept
from connectors.ccxt_venue.settings import CcxtSettings


async def test_numbers_of_two_objects_with_one_key_only_grow() -> None:
    """One that the exchange's clock was told to, in whole seconds, and one that was made a moment later."""
    made = CcxtSettings(exchange="kraken", rest_url="http://127.0.0.1:9", ws_market_url="ws://127.0.0.1:9/v2")
    key = Credentials({"apiKey": "a", "secret": "c2VjcmV0"})
    first = Handle(made, key)
    before = first.ex.nonce()
    await asyncio.sleep(0.003)
    second = Handle(made, key)
    assert second.ex.options["adjustForTimeDifference"] is False
    assert before < second.ex.nonce()
    for one in (first, second):
        await one.close()


def test_no_class_repeats_requests_and_clocks_are_adjusted_where_requests_carry_a_time() -> None:
    """Binance's requests expire by the clock; Kraken's are numbered by it."""
    assert options_of("binance")["adjustForTimeDifference"] is True
    assert {name: options_of(name)["adjustForTimeDifference"] for name in NONCED} == dict.fromkeys(NONCED, False)
    assert options_of("anything")["maxRetriesOnFailure"] == 0


def test_what_the_library_keeps_of_many_symbols_is_no_more_than_of_ten() -> None:
    """Its caches are full after a while: ten thousand trades together, a thousand of a symbol, and never too few."""
    assert [trades_kept(count) for count in (0, 1, 10, 50, 100, 1_000)] == [1_000, 1_000, 1_000, 200, 100, 100]
    assert options_of("kraken", [f"S{number}/USD" for number in range(50)])["tradesLimit"] == 200
