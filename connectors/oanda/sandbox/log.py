"""The transactions of one account: everything that ever happened to it, numbered without gaps.

Owns ids, batches and the questions that REST and streams ask of the past.  What is in a transaction is its maker's
business (``desk``).  Bounded: the oldest go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from connectors.oanda.sandbox.errors import ApiError, Json
from connectors.oanda.sandbox.times import at

_GROUPS = {
    "ORDER": ("_ORDER", "_ORDER_REJECT", "ORDER_FILL", "ORDER_CANCEL", "ORDER_CANCEL_REJECT",
              "ORDER_CLIENT_EXTENSIONS_MODIFY", "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT"),
    "FUNDING": ("TRANSFER_FUNDS", "TRANSFER_FUNDS_REJECT"),
    "ADMIN": ("CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT"),
}  # fmt: skip
TYPES = frozenset(
    {
        "CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT", "TRANSFER_FUNDS",
        "TRANSFER_FUNDS_REJECT", "MARKET_ORDER", "MARKET_ORDER_REJECT", "FIXED_PRICE_ORDER", "LIMIT_ORDER",
        "LIMIT_ORDER_REJECT", "STOP_ORDER", "STOP_ORDER_REJECT", "MARKET_IF_TOUCHED_ORDER",
        "MARKET_IF_TOUCHED_ORDER_REJECT", "TAKE_PROFIT_ORDER", "TAKE_PROFIT_ORDER_REJECT", "STOP_LOSS_ORDER",
        "STOP_LOSS_ORDER_REJECT", "GUARANTEED_STOP_LOSS_ORDER", "GUARANTEED_STOP_LOSS_ORDER_REJECT",
        "TRAILING_STOP_LOSS_ORDER", "TRAILING_STOP_LOSS_ORDER_REJECT", "ORDER_FILL", "ORDER_CANCEL",
        "ORDER_CANCEL_REJECT", "ORDER_CLIENT_EXTENSIONS_MODIFY", "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT",
        "TRADE_CLIENT_EXTENSIONS_MODIFY", "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT", "MARGIN_CALL_ENTER",
        "MARGIN_CALL_EXTEND", "MARGIN_CALL_EXIT", "DELAYED_TRADE_CLOSURE", "DAILY_FINANCING", "DIVIDEND_ADJUSTMENT",
        "RESET_RESETTABLE_PL",
    }
)  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """One transaction and when it was made."""

    number: int
    ts_ns: int
    body: Json


class TransactionLog:
    """``listeners`` are told of each transaction as it is made."""

    def __init__(self, account_id: str, user_id: int, *, most: int) -> None:
        self.last = 0
        self.listeners: list[Callable[[Entry], None]] = []
        self._account_id = account_id
        self._user_id = user_id
        self._entries: deque[Entry] = deque(maxlen=most)
        self._batch = 0
        self._request_id = ""
        self._made: list[str] = []

    # --- writing ------------------------------------------------------------------------------------------------------

    def begin(self, request_id: str) -> None:
        """Transactions from here on belong together: one request, or one thing that the market did."""
        self._batch = self.last + 1
        self._request_id = request_id
        self._made = []

    @property
    def made(self) -> list[str]:
        """Ids since ``begin``."""
        return self._made

    def add(self, kind: str, now_ns: int, members: Json) -> Json:
        """The next transaction; members that are None are left out, those that every transaction has are kept."""
        self.last += 1
        body: Json = {
            "id": str(self.last),
            "accountID": self._account_id,
            "userID": self._user_id,
            "batchID": str(self._batch or self.last),
            "requestID": self._request_id,
            "time": at(now_ns),
            "type": kind,
        }
        body |= {name: value for name, value in members.items() if value is not None and name not in body}
        entry = Entry(self.last, now_ns, body)
        self._entries.append(entry)
        self._made.append(body["id"])
        for listener in self.listeners:
            listener(entry)
        return body

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The oldest id that is kept."""
        return self.last - len(self._entries) + 1

    def get(self, number: int) -> Entry | None:
        if not self.first <= number <= self.last:
            return None
        return self._entries[number - self.first]

    def between(self, low: int, high: int, types: frozenset[str] | None = None) -> list[Entry]:
        """Entries of ``[low, high]``, oldest first.  Raises ``ApiError`` 416 for what is not kept."""
        if low < self.first or high > self.last:
            raise ApiError(416, f"The Transaction ID range specified is not available: {self.first} to {self.last} is")
        found: Iterable[Entry] = islice(self._entries, low - self.first, high - self.first + 1)
        return [entry for entry in found if types is None or entry.body["type"] in types]

    def since(self, number: int, types: frozenset[str] | None = None) -> list[Entry]:
        """Entries after ``number``.  Raises ``ApiError`` 416 for one that nobody has seen, or that is not kept."""
        if number > self.last:
            raise ApiError(416, f"The Transaction ID {number} is not known; the last one is {self.last}")
        return [] if number == self.last else self.between(number + 1, self.last, types)

    def made_between(self, from_ns: int, to_ns: int, types: frozenset[str] | None) -> list[Entry]:
        return [
            entry
            for entry in self._entries
            if from_ns <= entry.ts_ns < to_ns and (types is None or entry.body["type"] in types)
        ]


def types_named(text: str) -> frozenset[str] | None:
    """The filter ``type`` of a query: groups and names, comma separated.  Raises ``ApiError`` 400."""
    if not text:
        return None
    found: set[str] = set()
    for name in text.split(","):
        if name == "ORDER":
            found |= {kind for kind in TYPES if kind.endswith(_GROUPS["ORDER"])}
        elif name in _GROUPS:
            found |= set(_GROUPS[name])
        elif name in TYPES:
            found.add(name)
        else:
            raise ApiError(400, "Invalid value specified for 'type'", "oanda::rest::core::InvalidParameterException")
    return frozenset(found)
