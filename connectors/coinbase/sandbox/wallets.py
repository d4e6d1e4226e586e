"""How the venue shows balances: one account with an id per currency, over the ledger of the matching model.

Owns the ids and times of accounts.  Amounts and holds are the ledger's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.matching.ledger import Ledger


class Wallet(msgspec.Struct):
    uuid: str
    currency: str
    created_ns: int
    updated_ns: int


class Wallets:
    """Accounts of one portfolio, in the order in which they were opened."""

    def __init__(
        self,
        balances: Iterable[tuple[str, Decimal]],
        currencies: Iterable[str],
        *,
        new_id: Callable[[], str],
        now_ns: int,
    ) -> None:
        self.ledger = Ledger()
        self._wallets: dict[str, Wallet] = {}
        for currency, amount in [*balances, *((currency, Decimal(0)) for currency in currencies)]:
            self.ledger.deposit(ACCOUNT, currency, amount)
            if currency not in self._wallets:
                self._wallets[currency] = Wallet(new_id(), currency, now_ns, now_ns)

    def __iter__(self) -> Iterator[Wallet]:
        return iter(self._wallets.values())

    def touch(self, currencies: Iterable[str], now_ns: int) -> None:
        """Balances or holds of these changed."""
        for currency in currencies:
            self._wallets[currency].updated_ns = now_ns

    def amounts(self, currency: str) -> tuple[Decimal, Decimal]:
        """``(available, hold)``; their sum is the total."""
        balance = self.ledger.balance(ACCOUNT, currency)
        return balance.available, balance.total - balance.available

    def find(self, uuid: str) -> Wallet | None:
        return next((wallet for wallet in self if wallet.uuid == uuid), None)
