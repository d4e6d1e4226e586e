"""What each exchange takes as a client's own name of an order, and our ids in that form.

Owns the rules of lengths and alphabets, how the library is told the id, and which listings can be asked by it.  A name
that does not fit is replaced by one that is computed from it, so that it is the same after a restart.  Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec


class IdRule(msgspec.Struct, frozen=True):
    """``param`` is the key in ``create_order``'s params.  ``pattern`` is what the exchange takes as it is; everything
    else is told as ``made`` characters of hexadecimal digits with a letter first.  ``finds``: ``fetch_order`` takes
    ``{finds: id}`` instead of the exchange's id; empty where it does not.  ``kept`` is what stands before the id when
    the exchange tells it again."""

    param: str = "clientOrderId"
    pattern: str = r"[A-Za-z0-9]{1,32}"
    made: int = 32
    finds: str = ""
    kept: str = ""
    lead: str = ""
    """What a computed id begins with in place of a letter."""
    digits_only: bool = False


_DEFAULT: Final = IdRule()
RULES: Final[dict[str, IdRule]] = {
    # `clientOrderId` is dropped by the class; the exchange's own name of it goes through.
    "coinbase": IdRule("client_order_id", r"[A-Za-z0-9_\-]{1,64}"),
    "binance": IdRule(pattern=r"[.A-Z:/a-z0-9_\-]{1,36}", finds="clientOrderId"),
    "binanceus": IdRule(pattern=r"[.A-Z:/a-z0-9_\-]{1,36}", finds="clientOrderId"),
    "binanceusdm": IdRule(pattern=r"[.A-Z:/a-z0-9_\-]{1,36}", finds="clientOrderId"),
    "binancecoinm": IdRule(pattern=r"[.A-Z:/a-z0-9_\-]{1,36}", finds="clientOrderId"),
    # A free text of 18 characters at most, or a UUID, with hyphens or without.  The class asks for an order by
    # ``userref``, which is something else.
    "kraken": IdRule(pattern=r"[A-Za-z0-9\-]{1,18}"),
    "okx": IdRule(finds="clientOrderId"),
    "bybit": IdRule(pattern=r"[A-Za-z0-9_\-]{1,36}", finds="clientOrderId"),
    "kucoin": IdRule(pattern=r"[A-Za-z0-9_\-]{1,40}", finds="clientOrderId"),
    "gate": IdRule(pattern=r"[A-Za-z0-9_.\-]{1,26}", made=26, kept="t-"),
    # Whole numbers of 45 bits.
    "bitfinex": IdRule(pattern=r"(?!)", digits_only=True),
    "hyperliquid": IdRule(pattern=r"(?!)", made=34, lead="0x"),
}
"""By the library's id of the exchange; all others have a form that every exchange with such ids takes."""


def rule_of(exchange: str) -> IdRule:
    return RULES.get(exchange, _DEFAULT)


class ClientIds:
    """Both directions of one exchange.  Names that were told once are known again, whatever form they came back in."""

    def __init__(self, exchange: str) -> None:
        self.rule = rule_of(exchange)
        self._fits = re.compile(self.rule.pattern, re.ASCII)
        self._ours: dict[str, str] = {}

    def told(self, client_order_id: str) -> str:
        """The id as the exchange is told it."""
        form = self.form(client_order_id)
        self._ours[form] = client_order_id
        return form

    def form(self, client_order_id: str) -> str:
        if self._fits.fullmatch(client_order_id):
            return client_order_id
        digest = hashlib.sha256(client_order_id.encode("utf-8", "surrogatepass")).hexdigest()
        if self.rule.digits_only:
            return str(int(digest[:11], 16))  # 44 bits
        lead = self.rule.lead or "abcdef"[int(digest[-1], 16) % 6]
        return lead + digest[: self.rule.made - len(lead)]

    def ours(self, told: str) -> str:
        """Our own name of an order that the exchange names; the given one where it is not ours."""
        if not told:
            return ""
        known = self._ours.get(told)
        if known is None and self.rule.kept and told.startswith(self.rule.kept):
            known = self._ours.get(told[len(self.rule.kept) :])
        if known is None:
            # Some write it in capitals, or a UUID with hyphens.
            known = self._ours.get(told.lower().replace("-", ""))
        return told if known is None else known

    def forget(self, client_order_id: str) -> None:
        self._ours.pop(self.form(client_order_id), None)

    def parameters(self, client_order_id: str) -> dict[str, str]:
        """For ``create_order``."""
        return {self.rule.param: self.told(client_order_id)}

    def question(self, client_order_id: str) -> dict[str, str]:
        """For ``fetch_order`` without the exchange's id; empty where it cannot be asked like that."""
        return {self.rule.finds: self.form(client_order_id)} if self.rule.finds else {}
