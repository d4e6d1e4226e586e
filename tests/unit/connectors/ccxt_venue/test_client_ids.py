"""Client ids in the form that each exchange takes."""

from __future__ import annotations

import re

import pytest

from connectors.ccxt_venue.client_ids import RULES, ClientIds

OURS = "k20261122T093304-ab12-17"


@pytest.mark.parametrize("exchange", [*RULES, "anything"])
def test_an_id_is_told_in_a_form_that_the_exchange_takes_and_known_again(exchange: str) -> None:
    """The id of a default session on each exchange: it fits or is replaced, the same way each time, and comes back."""
    ids = ClientIds(exchange)
    told = ids.told(OURS)
    assert told == ClientIds(exchange).form(OURS)
    assert ids.ours(told) == OURS
    assert ids.ours(ids.rule.kept + told) == OURS
    assert ids.parameters(OURS) == {ids.rule.param: told}
    assert 1 <= len(told) <= 40
    if told != OURS and not ids.rule.lead and not ids.rule.digits_only:
        assert re.fullmatch(r"[a-f][0-9a-f]{25,31}", told)


def test_ids_differ_where_ours_do_and_strangers_keep_their_names() -> None:
    """A thousand ids of one session; an id that nobody told is somebody else's."""
    ids = ClientIds("kraken")
    told = {ids.told(f"k20261122T093304-ab12-{number}") for number in range(1000)}
    assert len(told) == 1000
    assert ids.ours("by-hand") == "by-hand"
    assert ids.ours("") == ""
    first = ids.form("k20261122T093304-ab12-1")
    hyphened = f"{first[:8]}-{first[8:12]}-{first[12:16]}-{first[16:20]}-{first[20:]}".upper()
    assert ids.ours(hyphened) == "k20261122T093304-ab12-1"
    ids.forget("k20261122T093304-ab12-1")
    assert ids.ours(first) == first


def test_coinbase_is_told_by_its_own_name_of_the_field() -> None:
    """The library drops ``clientOrderId`` there, and finds no order by it."""
    ids = ClientIds("coinbase")
    assert ids.parameters(OURS) == {"client_order_id": OURS}
    assert ids.question(OURS) == {}
    assert ClientIds("binance").question(OURS) == {"clientOrderId": OURS}
