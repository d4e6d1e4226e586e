"""What there is of each currency at each venue: cash, or the coins in which instruments of it are held.

Owns cash, and which of several instruments in the same coins gets or gives them.  A currency that is the base of
something fully paid is held as positions in that and never as cash; in what quantity is ``engine.holdings``'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from engine.events import OrderFilled
from engine.holdings import Holding, Holdings
from engine.instruments import Instrument
from engine.owners import Owners
from engine.stakes import EVERYONE, Stakes

ZERO = Decimal(0)

Mark = Callable[[str], Decimal | None]
Rate = Callable[[str], Decimal | None]


class Balances:
    """Of one portfolio, which is their only writer."""

    def __init__(self, holdings: Holdings, stakes: Stakes, owners: Owners) -> None:
        self._holdings = holdings
        self._stakes = stakes
        self._owners = owners
        self.cash: dict[tuple[str, str], Decimal] = {}
        """By venue and currency; for readers."""

    def define(self, instrument: Instrument) -> None:
        """After ``Holdings.define``: to a session that did not know the instrument it was a currency like any other."""
        key = (instrument.venue, instrument.base)
        if key in self._holdings.by_base and key in self.cash:
            self.add(*key, self.cash.pop(key))

    def total(self, venue: str, currency: str) -> Decimal | None:
        """None for a currency that is neither held in coins nor was ever booked as cash."""
        held = self._holdings.coins(venue, currency)
        if held:
            return sum([qty for _, qty in held], ZERO)
        return self.cash.get((venue, currency))

    def add(self, venue: str, currency: str, amount: Decimal) -> list[tuple[str, Decimal]]:
        """Returns which instruments got or gave how much, where it is a currency that is held as a position."""
        key = (venue, currency)
        coins = self._holdings.coins(venue, currency)
        if not coins:
            self.cash[key] = self.cash.get(key, ZERO) + amount
            return []
        parts = self._spread(coins, amount)  # what another instrument is paid in, or a fee
        for name, part in parts:
            self._holdings.add(name, part)
        return parts

    def pay_fee(self, fill: OrderFilled, fee: Decimal, strategy: str) -> None:
        """In coins, or in money.  What strategies hold of coins that pay a fee does not come back: they hold so much
        less, first ``strategy``, whose fee it is."""
        coins = self._holdings.coins
        missing = {name: self._claimed_qty(name) - qty for name, qty in coins(fill.venue, fill.fee_currency)}
        parts = self.add(fill.venue, fill.fee_currency, -fee)
        left = dict(coins(fill.venue, fill.fee_currency))
        for name, part in parts:
            if part < ZERO and name != fill.instrument:  # that one is looked at when the trade itself is booked
                left_qty = left[name] + max(missing[name], ZERO)  # what they have lent comes back when it is sold
                self._owners.take_from(name, self._stakes.write_off(name, left_qty, strategy), strategy)

    def gather(self, holding: Holding, fill: OrderFilled) -> None:
        """Coins for somebody else's sale in one of several symbols in the same ones: what no strategy holds in the
        others goes before what one holds here, and what strategies hold there before this one becomes short."""
        venue, base, name = fill.venue, holding.instrument.base, fill.instrument
        for is_free in (True, False):
            lack_qty = (self._claimed_qty(name) if is_free else ZERO) - holding.qty + fill.qty
            for other, qty in self._holdings.coins(venue, base):
                has_qty = qty - self._claimed_qty(other) if is_free else qty
                part = min(max(has_qty, ZERO), lack_qty)
                if other == name or part <= ZERO:
                    continue
                lack_qty -= part
                self._holdings.add(other, -part)
                holding.qty += part
                holding.avg_px = holding.avg_px or fill.px  # nobody knows what they cost
                self._owners.take_from(other, self._stakes.write_off(other, qty - part))

    def worth_of_coins(
        self, venue: str, currency: str, parts: Sequence[tuple[str, Decimal]], mark: Mark, rate_of: Rate
    ) -> Decimal | None:
        """Each part at its own symbol's price, and at that of another in the same coins where its own has none; None
        where none of them has one."""
        pxs: dict[str, Decimal] = {}
        for name, _ in self._holdings.coins(venue, currency):
            holding = self._holdings.listed.get(name)
            rules = self._holdings.unlisted[name] if holding is None else holding.instrument
            at_mark, rate = mark(name), rate_of(rules.quote)
            if at_mark is not None and rate is not None:
                pxs[name] = at_mark * rules.multiplier * rate
        if not pxs:
            return None
        another = next(iter(pxs.values()))
        return sum([part * pxs.get(name, another) for name, part in parts], ZERO)

    def booked(self) -> list[tuple[str, str]]:
        """Venues and currencies in which something was booked, as cash or in coins."""
        coins = self._holdings.by_base.items()
        return [*self.cash, *[key for key, held in coins if any(one.qty or one.traded for one in held)]]

    def cash_by_currency(self) -> dict[str, Decimal]:
        """Over all venues."""
        found: dict[str, Decimal] = {}
        for (_, currency), amount in self.cash.items():
            found[currency] = found.get(currency, ZERO) + amount
        return found

    def carried(self) -> tuple[tuple[str, str, Decimal], ...]:
        return tuple([(venue, currency, amount) for (venue, currency), amount in self.cash.items()])

    def restore(self, cash: Iterable[tuple[str, str, Decimal]]) -> None:
        self.cash = {(venue, currency): amount for venue, currency, amount in cash}

    def _spread(self, held: Sequence[tuple[str, Decimal]], amount: Decimal) -> list[tuple[str, Decimal]]:
        """Which of the instruments in the same coins (with what there is of each) get or give them: what goes is first
        what no strategy holds, then what strategies do; what comes is first what strategies miss, as when a payment
        comes back.  The rest is the first one's."""
        if len(held) == 1:
            return [(held[0][0], amount)]
        left, comes = abs(amount), amount > ZERO
        given = dict.fromkeys([name for name, _ in held], ZERO)
        for is_free in (True,) if comes else (True, False):
            for name, qty in held:
                has = qty - given[name] - (self._claimed_qty(name) if is_free else ZERO)
                part = min(max(-has if comes else has, ZERO), left)
                given[name] += part
                left -= part
        given[held[0][0]] += left
        return [(name, part if comes else -part) for name, part in given.items() if part]

    def _claimed_qty(self, name: str) -> Decimal:
        """What strategies hold of it."""
        return max(self._stakes.stake(EVERYONE, name).qty, ZERO)
