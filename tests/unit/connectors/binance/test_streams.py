"""Names of Binance's streams."""

from __future__ import annotations

import msgspec
import pytest

from connectors.binance.streams import NAMES_PER_REQUEST, requests, route, split_name, stream_names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("btcusdt@bookTicker", ("BTCUSDT", "bookTicker")),
        ("btcusdt@depth", ("BTCUSDT", "depth")),
        ("btcusdt@depth@100ms", ("BTCUSDT", "depth")),
        ("btcusdt@depth20@100ms", ("BTCUSDT", "partial")),
        ("btcusdt@kline_1M", ("BTCUSDT", "kline")),
        ("btcusdt@markPrice@1s", ("BTCUSDT", "markPrice")),
        ("btcusdt_261225@aggTrade", ("BTCUSDT_261225", "aggTrade")),
        ("!bookTicker", ("", "bookTicker")),
        ("btcusdt@depth7", ("", "")),
        ("btcusdt", ("", "")),
    ],
)
def test_a_name_says_the_symbol_and_what_it_carries(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


def test_futures_serve_books_and_best_prices_apart_from_the_rest() -> None:
    assert {route("binance_spot", name) for name in stream_names(["BTCUSDT"], ["depth", "trade"])} == {""}
    names = stream_names(["BTCUSDT"], ["bookTicker", "depth@100ms", "depth5", "aggTrade", "markPrice"])
    assert [route("binance_usdm", name) for name in names] == ["/public"] * 3 + ["/market"] * 2


def test_requests_name_so_many_streams_and_count_up() -> None:
    names = stream_names([f"C{i}USDT" for i in range(NAMES_PER_REQUEST + 1)], ["trade"])
    made = requests("UNSUBSCRIBE", names, first_id=7)
    assert [(number, len(own)) for number, own, _ in made] == [(7, NAMES_PER_REQUEST), (8, 1)]
    assert msgspec.json.decode(made[1][2]) == {"method": "UNSUBSCRIBE", "params": ["c100usdt@trade"], "id": 8}
