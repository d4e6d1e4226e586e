"""Kraken's answers to requests."""

from __future__ import annotations

from connectors.kraken.answers import read_answer
from tests.support.streams import compact


def test_answers_of_the_market_are_typed_and_a_refusal_is_none() -> None:
    body = compact({"error": [], "result": {"XBTUSD": {"asks": [["101", "1", 5]], "bids": []}}})
    assert read_answer("Depth", body)["XBTUSD"].asks == [(101.0, 1.0, 5.0)]
    assert read_answer("Depth", compact({"error": ["EQuery:Unknown asset pair"]})) is None
    assert read_answer("AddOrder", b"{}") is None
