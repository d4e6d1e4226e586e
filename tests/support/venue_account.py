"""What the built-in exchange of a running session says of the account, beside what the session's journal holds."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.codec import Record
from engine.events import BalanceReported, OrderFilled, Side
from tests.support.coinbase_sandbox import PREFIX, sign

Execution = tuple[str, Decimal, Decimal, Decimal]
"""Venue's order, quantity, price, fee."""


class VenueAccount:
    """Read over the exchange's REST interface with the session's own key.  ``url`` as the session prints it."""

    def __init__(self, session: Path, url: str) -> None:
        self._key_file = session / "sandbox_key.json"
        self._url = url

    def _get(self, path: str, query: str = "") -> dict[str, Any]:
        token = sign(self._key_file, f"GET {self._url.partition('://')[2]}{PREFIX}{path}")
        asked = urllib.request.Request(self._url + PREFIX + path + query, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def executions(self) -> dict[str, Execution]:
        """All of them, by the venue's id."""
        found: dict[str, Execution] = {}
        cursor = ""
        while True:
            page = self._get("/orders/historical/fills", f"?limit=1000&cursor={cursor}" if cursor else "?limit=1000")
            for one in page["fills"]:
                amounts = [Decimal(one[name]) for name in ("size", "price", "commission")]
                found[one["entry_id"]] = (one["order_id"], *amounts)  # type: ignore[assignment]
            cursor = page["cursor"]
            if not cursor:
                return found

    def balances(self) -> dict[str, Decimal]:
        return {
            one["currency"]: Decimal(one["available_balance"]["value"]) + Decimal(one["hold"]["value"])
            for one in self._get("/accounts")["accounts"]
        }


def booked_executions(records: Iterable[Record]) -> list[tuple[str, Execution]]:
    """Those of a journal, as often as they stand there."""
    return [
        (one.trade_id, (one.venue_order_id, one.qty, one.px, one.fee))
        for one in records
        if isinstance(one, OrderFilled)
    ]


def booked_balances(records: Iterable[Record]) -> dict[str, Decimal]:
    """What was told first, and each execution since."""
    found: dict[str, Decimal] = {}
    for one in records:
        if isinstance(one, BalanceReported):
            found.setdefault(one.currency, one.total)
        elif isinstance(one, OrderFilled):
            base, _, quote = one.instrument.partition("@")[0].partition("/")
            sign_of = 1 if one.side is Side.BUY else -1
            found[base] = found.get(base, Decimal(0)) + sign_of * one.qty
            found[quote] = found.get(quote, Decimal(0)) - sign_of * one.qty * one.px - one.fee
    return found
