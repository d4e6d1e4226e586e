"""Every refusal of an order is told in the words of ``engine.refusals``: those that stand in the code, and whatever a
venue says."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import connectors.ccxt_venue.errors as ccxt_errors
import connectors.coinbase.orders as coinbase
import connectors.coinbase.refusals as coinbase_refusals
import connectors.oanda.orders as oanda
import connectors.oanda.refusals as oanda_refusals
import connectors.robin_stocks.orders as robin_stocks
import connectors.robinhood.orders as robinhood
from connectors.matching.orders import RefuseReason
from connectors.paper.account import WORD_OF
from connectors.robin_stocks.messages import Outcome, Told
from engine.refusals import WORDS

ROOT = Path(__file__).resolve().parent.parent.parent
WHERE = {"OrderRejected": 4, "Unfit": 0, "_refuse": 1, "refused": 1, "reject": 2, "_take_out": 1, "refusal_of": 1}
"""Calls that name a reason, and which of their arguments it is."""
SHORTEST = {"_refuse": 3, "refused": 4, "reject": 4, "_take_out": 3}
"""How many arguments they have where they are about an order: others of the name are about cancels, or access."""


def named(path: Path) -> Iterator[str]:
    """Reasons that stand as plain text in a call."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in WHERE and len(call.args) >= SHORTEST.get(name, 1) and len(call.args) > WHERE[name]:
            said = call.args[WHERE[name]]
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield said.value


def test_every_reason_in_the_code_is_a_word_of_the_list() -> None:
    """Collected from the calls that tell them; each venue that trades has some, or this would prove nothing."""
    files = [
        path
        for folder in ("connectors", "engine")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not {"sandbox", "simulation", "local"} & set(path.parts)
    ]
    found = {path.relative_to(ROOT).as_posix(): set(named(path)) for path in files}
    for venue in ("coinbase", "oanda", "robinhood", "robin_stocks", "ccxt_venue"):
        assert len(found[f"connectors/{venue}/gateway.py"]) >= 2, venue
    assert {path: words - set(WORDS) for path, words in found.items() if words - set(WORDS)} == {}


def test_the_tables_of_the_venues_use_no_other_words() -> None:
    """What each connector translates to, and every way in which the book of paper refuses."""
    tables: dict[str, set[str]] = {
        "coinbase": {word for _, word in coinbase_refusals._REASONS} | set(coinbase_refusals._STATUSES.values()),
        "oanda": {word for _, word in oanda_refusals._RULES} | set(oanda_refusals._EXACT.values()),
        "oanda statuses": set(oanda_refusals._STATUSES.values()),
        "robinhood": {word for _, word in (*robinhood._BY_WORD, *robinhood._BY_FIELD)},
        "robin_stocks": {word for _, word in robin_stocks._WORDS},
        "ccxt": {word for _, word in ccxt_errors._REASONS} - {"timeout"},  # of questions: no refusal
        "paper": set(WORD_OF.values()),
    }
    assert {name: words - set(WORDS) for name, words in tables.items() if words - set(WORDS)} == {}
    assert {reason.value for reason in RefuseReason} - set(WORDS) <= set(WORD_OF)


STATUSES = st.integers(200, 599)
CODES = st.sampled_from(["INSUFFICIENT_FUND", "NEW_IN_2031", "UNKNOWN", "", "MARKET_HALTED", "invalid"]) | st.text()
BODIES = st.one_of(
    st.binary(max_size=60),
    CODES.map(lambda code: f'{{"success":false,"error_response":{{"error":{json.dumps(code)}}}}}'.encode()),
    CODES.map(
        lambda code: f'{{"error":{json.dumps(code)},"errorMessage":"no","errorCode":{json.dumps(code)}}}'.encode()
    ),
    CODES.map(lambda code: f'{{"errors":[{{"detail":{json.dumps(code)},"attr":"limit_price"}}]}}'.encode()),
)


@settings(max_examples=200)
@given(STATUSES, BODIES)
def test_whatever_a_venue_answers_a_rejection_has_a_word_of_the_list(status: int, body: bytes) -> None:
    """Any status with any body, to each connector's reading of the answer to an order."""
    answers = [
        coinbase.read_order_answer(status, body),
        oanda.read_answer(status, body),
        robinhood.read_answer(status, body),
        robin_stocks.read_answer(Told(1, Outcome.REFUSED, status, body)),
    ]
    for answer in answers:
        if answer.verdict.value == "rejected":
            assert answer.reason in WORDS, answer
    word, _ = coinbase_refusals.told_end(body.decode("utf-8", "replace"))
    assert word in WORDS


@pytest.mark.parametrize(
    "error", [KeyError("x"), TimeoutError(), ValueError("odd"), type("ExchangeError", (Exception,), {})("no")]
)
def test_whatever_the_library_raises_has_a_word_of_the_list(error: Exception) -> None:
    """Also what is none of its own classes; what it said stays in the text."""
    word, text = ccxt_errors.refusal(error)
    assert word in WORDS
    assert type(error).__name__ in text
