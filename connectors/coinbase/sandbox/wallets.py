"""Balances of the sandbox's portfolio: what is there, what open orders hold.

Owns totals and holds per currency and the account ids under which the venue shows them.  Does not know orders: the
exchange says how much to hold, release, pay and receive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

ZERO = Decimal(0)


class Wallet(msgspec.Struct):
    """``available`` + ``hold`` = ``total``."""

    uuid: str
    currency: str
    total: Decimal
    hold: Decimal
    created_ns: int
    updated_ns: int

    @property
    def available(self) -> Decimal:
        return self.total - self.hold


class Wallets:
    """One portfolio."""

    def __init__(
        self,
        balances: Iterable[tuple[str, Decimal]],
        currencies: Iterable[str],
        *,
        new_id: Callable[[], str],
        now_ns: int,
    ) -> None:
        self._wallets: dict[str, Wallet] = {}
        self._new_id = new_id
        for currency, amount in balances:
            self._open(currency, now_ns).total += amount
        for currency in currencies:
            self._open(currency, now_ns)

    def _open(self, currency: str, now_ns: int) -> Wallet:
        wallet = self._wallets.get(currency)
        if wallet is None:
            wallet = self._wallets[currency] = Wallet(self._new_id(), currency, ZERO, ZERO, now_ns, now_ns)
        return wallet

    def __iter__(self) -> Iterator[Wallet]:
        return iter(self._wallets.values())

    def __getitem__(self, currency: str) -> Wallet:
        return self._wallets[currency]

    def find(self, uuid: str) -> Wallet | None:
        return next((wallet for wallet in self if wallet.uuid == uuid), None)

    def change_hold(self, currency: str, by: Decimal, now_ns: int) -> None:
        wallet = self._wallets[currency]
        wallet.hold += by
        wallet.updated_ns = now_ns

    def change_total(self, currency: str, by: Decimal, now_ns: int) -> None:
        wallet = self._wallets[currency]
        wallet.total += by
        wallet.updated_ns = now_ns
