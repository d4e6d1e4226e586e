"""Positions, cash and equity, exact and in Decimal.  One writer: the core.

Accounting.  A spot trade exchanges base for quote: cash moves by the full notional and the position is worth its mark.
A margined trade (perpetual, future, FX, CFD) moves no cash at entry: realised profit and fees settle in the settlement
currency, open profit is added at valuation.  Cost is the average entry price.  Unknown is never zero: equity is None
while any part of it has no price or no currency rate.

What is held is kept by ``engine.holdings``, cash and how coins spread over symbols by ``engine.balances``, and whose it
is by ``engine.owners`` and ``engine.stakes``.  All of them are written through here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from functools import partial

import msgspec

from engine import cost
from engine.balances import Balances
from engine.carried import CarriedMoney
from engine.equity import Equity
from engine.events import FundingSettled, OrderFilled
from engine.holdings import Holding, Holdings
from engine.instruments import FULLY_PAID, Instrument
from engine.owners import Owners
from engine.ports import Position
from engine.rates import Rates
from engine.stakes import CLOSERS, EVERYONE, Stakes
from engine.unvalued import Unvalued

ZERO = Decimal(0)
DAY_NS = 86_400_000_000_000

Mark = Callable[[str], Decimal | None]
Rate = Callable[[str], Decimal | None]


def _nobody_knows(instrument: str) -> Decimal | None:  # noqa: ARG001
    return None


class Portfolio(Equity):
    """Money of one daemon.  ``currency`` is what equity and limits are told in."""

    def __init__(self, currency: str) -> None:
        super().__init__()
        self.currency = currency
        self.rates = Rates(currency)
        self.rate: Callable[[str], Decimal | None] = self.rates.rate
        """Units of the portfolio currency for one unit of the one given; None when not known."""
        self.stakes = Stakes(self.rate, self.rates.believed)
        """What of it is which strategy's; written here, for readers."""
        self._holdings = Holdings(self.rate)
        self.position: Callable[[str], Position] = self._holdings.positions.__getitem__
        """What is held of an instrument id."""
        self.held = self._holdings.held
        """Instruments with a position that is not zero; for readers."""
        self._owners = Owners()
        self.strategy_qty: Callable[[str, str], Decimal] = self._owners.qty
        """What a strategy holds of an instrument id."""
        self.held_by: Callable[[str], Collection[str]] = self._owners.held_by
        """Instruments of which a strategy holds something."""
        self.holders: Callable[[], Iterator[tuple[str, str]]] = self._owners.holders
        """Strategies whose quantity is not zero, each with the instrument."""
        self.taken = self._owners.taken
        """What others than its strategy have closed of what it held; the core empties it as it looks."""
        self._balances = Balances(self._holdings, self.stakes, self._owners)
        self._reported: set[tuple[str, str]] = set()
        self.unconverted_fees = 0
        self._unvalued = Unvalued()

    # --- facts --------------------------------------------------------------------------------------------------

    def define(self, instrument: Instrument) -> None:
        """Start (or refresh) the books of an instrument."""
        self.stakes.define(instrument)
        self.rates.define(instrument)
        self._holdings.define(instrument)
        self._balances.define(instrument)

    def set_rate(self, currency: str, rate: Decimal, ts_ns: int = 0) -> None:
        """One unit of ``currency`` is worth ``rate`` units of the portfolio currency, as somebody says."""
        self.rates.tell(currency, rate, ts_ns)
        self._holdings.show_all()

    def report_balance(self, venue: str, currency: str, total: Decimal, mark: Mark = _nobody_knows) -> None:
        """The first report of a currency opens the account; later ones belong to reconciliation and move nothing.

        What is told when losses are measured already is no profit: of a second venue, or paid in before this session.
        """
        key = (venue, currency)
        if key in self._reported:
            return
        self._reported.add(key)
        self._take_in(venue, currency, total, mark)

    def adjust_balance(self, venue: str, currency: str, total: Decimal, mark: Mark) -> None:
        """The venue's total replaces ours.  Where it has a known worth, it is neither profit nor loss: the equity that
        losses are measured from moves with it."""
        self._reported.add((venue, currency))
        self._take_in(venue, currency, total - (self.balance(venue, currency) or ZERO), mark)
        for name, qty in self._holdings.coins(venue, currency):
            self._owners.take_from(name, self.stakes.write_off(name, qty, EVERYONE, mark(name)))

    def _take_in(self, venue: str, currency: str, amount: Decimal, mark: Mark) -> None:
        """Book what came without an execution, or below zero left."""
        rate_of = self._rates_at(mark)
        self._value_what_came(mark, rate_of)
        parts = self._balances.add(venue, currency, amount)
        if parts:
            worth = self._balances.worth_of_coins(venue, currency, parts, mark, rate_of)
        else:
            rate = rate_of(currency)
            worth = None if rate is None else amount * rate
        if amount and worth is not None:
            self._shift(worth, self.value(mark, rate_of))
        elif amount:
            for name, part in parts or [(currency, amount)]:
                self._value_later(name, part)

    def _rates_at(self, mark: Mark) -> Rate:
        """By prices that are known, whether they are of now or not."""
        return partial(self.rates.believed, mark=mark)

    def _value_later(self, name: str, qty: Decimal, avg_px: Decimal | None = None) -> None:
        """It is neither profit nor loss, and nobody knows what it is worth; without anything to measure nothing is."""
        if self.equity_day_start is not None:
            self._unvalued.add(name, qty, avg_px)

    def _value_what_came(self, mark: Mark, rate_of: Rate) -> None:
        """With the first price that can tell it, before anything else moves what losses are measured from: equity has
        it from then on."""
        equity = self.value(mark, rate_of) if self._unvalued else None
        if equity is None:
            return
        worth = self._unvalued.take(lambda name, qty, avg_px: self._worth_of_late(name, qty, avg_px, mark, rate_of))
        if worth is not None:
            self._shift(worth, equity)

    def _worth_of_late(
        self, name: str, qty: Decimal, avg_px: Decimal | None, mark: Mark, rate_of: Rate
    ) -> Decimal | None:
        rules = self._holdings.rules(name)
        if rules is None:
            rate = rate_of(name)
            if rate is not None:
                return qty * rate
            # A session that lists what is traded in it has it as coins.
            coins = [one for (_, base), held in self._holdings.by_base.items() if base == name for one in held]
            worths = [self._worth_of_late(one.instrument.id, qty, None, mark, rate_of) for one in coins]
            return next((worth for worth in worths if worth is not None), None)
        mark_px, rate = mark(name), rate_of(rules.quote if avg_px is None else rules.settlement)
        if mark_px is None or rate is None:
            return None
        if avg_px is None:
            return qty * mark_px * rules.multiplier * rate
        return cost.profit(rules, qty, avg_px, mark_px) * rate

    def report_position(self, instrument: str, qty: Decimal, avg_px: Decimal, mark: Mark = _nobody_knows) -> None:
        """A margined position that existed before this session; later reports belong to ``adjust_position``.  What it
        has won or lost so far is no result of what is measured already."""
        holding = self._holdings.listed.get(instrument)
        key = (instrument, "")
        if holding is None or key in self._reported:
            return
        self._reported.add(key)
        self._replace_position(holding, holding.qty + qty, avg_px, mark)

    def knows_position(self, instrument: str) -> bool:
        """Whether it was reported before, in this session or in the one that it goes on from."""
        return (instrument, "") in self._reported

    def adjust_position(self, instrument: str, qty: Decimal, avg_px: Decimal, mark: Mark) -> None:
        """The venue's quantity of a margined position replaces ours: it expired, or somebody else has traded it.

        As with balances that is neither profit nor loss where its worth is known, and what it has earned comes as a
        balance."""
        holding = self._holdings.listed.get(instrument)
        if holding is None or holding.qty == qty:
            return
        self._replace_position(holding, qty, avg_px if qty else ZERO, mark)
        self._owners.take_from(instrument, self.stakes.write_off(instrument, qty, EVERYONE, mark(instrument)))

    def _replace_position(self, holding: Holding, qty: Decimal, avg_px: Decimal, mark: Mark) -> None:
        """By what was told: what the difference is worth is neither profit nor loss."""
        name, rate_of = holding.instrument.id, self._rates_at(mark)
        self._value_what_came(mark, rate_of)
        mark_px, gone = mark(name), (holding.qty, holding.avg_px)
        before = self._worth(holding, mark_px, rate_of) if holding.qty else ZERO
        holding.qty, holding.avg_px = qty, avg_px
        after = self._worth(holding, mark_px, rate_of) if qty else ZERO
        self._holdings.changed(holding)
        if before is not None and after is not None:
            self._shift(after - before, self.value(mark, rate_of))
            return
        for part_qty, part_px in ((-gone[0], gone[1]), (qty, avg_px)):
            if part_qty and part_px:  # without a known cost its first price is its cost
                self._value_later(name, part_qty, part_px)

    def apply_fill(self, fill: OrderFilled, strategy: str) -> list[tuple[str, Decimal]]:
        """Book one distinct execution.  ``strategy`` is empty for an order that is not ours.  Returns the signed
        quantities by the strategy that each is booked to.

        Raises ``KeyError`` for an instrument that neither this session nor the one before it knew.
        """
        holding = self._holdings.listed.get(fill.instrument)
        listed = holding is not None
        if holding is None:
            holding = self._holdings.recalled(fill.instrument)
        instrument = holding.instrument
        signed_qty = fill.qty if fill.side > 0 else -fill.qty
        if listed and not strategy and signed_qty < ZERO and instrument.asset_class in FULLY_PAID:
            self._balances.gather(holding, fill)
        realised = cost.trade(holding, instrument, signed_qty, fill.px)
        holding.traded = True
        if not listed:
            self._holdings.keep(holding)
        if instrument.asset_class in FULLY_PAID:
            self._balances.add(instrument.venue, instrument.quote, -signed_qty * fill.px * instrument.multiplier)
        else:
            self._balances.add(instrument.venue, instrument.settlement, realised)
        fee = self._pay_fee(holding, fill, strategy)
        if listed:
            self._holdings.changed(holding)
        else:  # a fee in its own coins has changed the quantity there
            holding.qty = self._holdings.awaited[fill.instrument].qty
            self._holdings.keep(holding)
        if strategy:
            shares = self.stakes.book(fill, strategy, instrument, fee)
        else:
            shares = self.stakes.lose(fill, instrument, fee, holding.qty)
        if strategy and strategy not in CLOSERS:
            self._owners.share_out(fill.instrument, shares)
        else:
            self._owners.take_from(fill.instrument, shares, strategy)
        if (
            strategy
            and fill.fee > ZERO
            and fill.fee_currency == instrument.base
            and instrument.asset_class in FULLY_PAID
        ):
            # Paid in the coins themselves: together strategies hold no more than there is.
            lost = self.stakes.write_off(fill.instrument, holding.qty, strategy)
            self._owners.take_from(fill.instrument, lost, strategy)
        return shares

    def apply_funding(self, event: FundingSettled) -> None:
        """Book what a position has earned or cost without an execution.  Of an instrument that neither this session nor
        the one before it knew only the cash moves.  In a currency without a rate equity becomes unknown."""
        self._balances.add(event.venue, event.currency, event.amount)
        rate = self.rates.believed(event.currency)
        if rate is None:
            self.unconverted_fees += 1
            return
        worth = event.amount * rate
        holding, awaited = self._holdings.listed.get(event.instrument), self._holdings.awaited.get(event.instrument)
        if holding is not None:
            holding.funding += worth
            self._holdings.show(holding)
            self.stakes.fund(event.instrument, worth, holding.qty)
        elif awaited is not None:
            self._holdings.awaited[event.instrument] = msgspec.structs.replace(awaited, funding=awaited.funding + worth)
            self.stakes.fund(event.instrument, worth, awaited.qty)

    def _pay_fee(self, holding: Holding, fill: OrderFilled, strategy: str) -> Decimal:
        """Book it; returns what it is worth in portfolio currency, at least as far as that is known.  ``strategy``:
        whose order it was."""
        if fill.fee == ZERO:
            return ZERO
        instrument = holding.instrument
        if (
            fill.fee_currency == instrument.base
            and instrument.asset_class in FULLY_PAID
            and self._holdings.listed.get(fill.instrument) is holding
        ):
            # Of the coins that were traded, also where another instrument is in the same ones, as far as they go.
            own = min(fill.fee, max(holding.qty, ZERO))
            holding.qty -= own
            if own != fill.fee:
                self._balances.pay_fee(fill, fill.fee - own, strategy)
        else:
            self._balances.pay_fee(fill, fill.fee, strategy)
        rate = self.rates.believed(fill.fee_currency)
        if rate is None:
            # Equity becomes unknown through the cash above; the fee column only says that it misses one.
            self.unconverted_fees += 1
            return self._assumed_fee(holding.instrument, fill)
        holding.fees += fill.fee * rate
        return fill.fee * rate

    def _assumed_fee(self, instrument: Instrument, fill: OrderFilled) -> Decimal:
        """What the instrument's own rate makes of it, the dearer of the two, where the fee's currency has no rate."""
        fee_rate = max(instrument.taker_fee_rate, instrument.maker_fee_rate, ZERO)
        rate = self.rates.believed(instrument.settlement) or Decimal(1)
        return abs(instrument.notional(fill.qty, fill.px)) * fee_rate * rate

    # --- valuation ----------------------------------------------------------------------------------------------

    def value(self, mark: Mark, rate_of: Rate | None = None) -> Decimal | None:
        """Equity now, in portfolio currency; None when a held thing has no price or a held currency no rate.
        ``rate_of``: other rates than those of now."""
        rate_of = rate_of or self.rate
        if not self._reported:
            return None  # no account was ever told: its money is unknown, not zero
        if any(holding.qty for holding in self._holdings.awaited.values()):
            return None  # of something that this session does not know
        total = ZERO
        for (_, currency), amount in self._balances.cash.items():
            if amount == ZERO:
                continue
            rate = rate_of(currency)
            if rate is None:
                return None
            total += amount * rate
        for instrument_id, holding in self._holdings.listed.items():
            if holding.qty == ZERO:
                continue
            worth = self._worth(holding, mark(instrument_id), rate_of)
            if worth is None:
                return None
            total += worth
        return total

    def _worth(self, holding: Holding, mark_px: Decimal | None, rate_of: Rate) -> Decimal | None:
        instrument = holding.instrument
        paid = instrument.asset_class in FULLY_PAID
        rate = rate_of(instrument.quote if paid else instrument.settlement)
        if mark_px is None or rate is None:
            return None
        if holding.avg_px == ZERO:
            # A holding from before this session has no known cost: its first mark is its cost.
            holding.avg_px = mark_px
            self._holdings.show(holding)
        if paid:
            return holding.qty * mark_px * instrument.multiplier * rate
        return cost.profit(instrument, holding.qty, holding.avg_px, mark_px) * rate

    def revalue(self, now_ns: int, mark: Mark) -> None:
        """Refresh equity, its peak and the day's start (UTC day of ``now_ns``)."""
        if self.rates.follow(mark):
            self._holdings.show_all()
        self._value_what_came(mark, self.rate)
        equity = self.value(mark)
        self.equity = equity
        if equity is None:
            return
        day = now_ns // DAY_NS
        # On an account's first day strategies have begun with nothing.
        self.stakes.revalue(mark, new_day=day != self.day and self.day >= 0)
        self._take(equity, day)

    # --- from one session to the next -------------------------------------------------------------------------------

    def carried(self) -> CarriedMoney:
        rates = self.rates.carried() | self.stakes.counted()
        return CarriedMoney(
            self.currency,
            self._balances.carried(),
            tuple(sorted(self._opened())),
            self._holdings.carried(),
            self._owners.carried(),
            self.equity_peak,
            self.day,
            self.equity_day_start,
            self.stakes.carried(),
            self._unvalued.carried(),
            tuple([one for one in sorted(rates.items()) if one[0] != self.currency]),
        )

    def _opened(self) -> set[tuple[str, str]]:
        """Accounts of which the books know all: those reported, and what was bought at their venues since."""
        venues = {venue for venue, currency in self._reported if currency}
        return {*self._reported, *[key for key in self._balances.booked() if key[0] in venues]}

    def restore(self, money: CarriedMoney, instruments: Sequence[Instrument] = ()) -> None:
        """Go on with what an earlier session left.  Peak and day's start are taken over where they are of the same
        currency; holdings show themselves as their instruments are defined.  ``instruments`` says what they were."""
        self._balances.restore(money.cash)
        self._reported = set(money.reported)
        self._owners.restore(money.strategy_qty)
        is_same = money.currency == self.currency
        self.stakes.restore(money.stakes, money.rates, is_same_money=is_same)
        self._holdings.restore(money.holdings, instruments)
        for one in instruments:
            self.stakes.define(one)
        listed = self._holdings.listed
        for name in [name for name in self._holdings.awaited if name in listed]:
            self.define(listed[name].instrument)
        if is_same:
            self.equity_peak, self.day, self.equity_day_start = money.equity_peak, money.day, money.equity_day_start
            self._unvalued.restore(money.unvalued)

    def unlisted_instrument(self, name: str) -> Instrument | None:
        """One of ``unlisted``."""
        return self._holdings.unlisted.get(name)

    @property
    def unlisted(self) -> list[Instrument]:
        """Instruments of an earlier session that this one does not know."""
        return list(self._holdings.unlisted.values())

    @property
    def unknown_holdings(self) -> list[str]:
        """Ids of instruments that an earlier session held and that this one does not know."""
        return sorted(name for name, one in self._holdings.awaited.items() if one.qty)

    # --- reading ------------------------------------------------------------------------------------------------

    def qty(self, instrument: str) -> Decimal:
        holding = self._holdings.listed.get(instrument)
        return ZERO if holding is None else holding.qty

    def rate_markets(self) -> Sequence[str]:
        """Ids of the markets by which what there is, and what is held, is counted in the portfolio's currency."""
        if not self.rates:
            return ()
        needed = [currency for (_, currency), amount in self._balances.cash.items() if amount]
        held = [self._holdings.listed[name].instrument.settlement for name in self.held]
        return self.rates.markets_of([*needed, *held])

    def cash(self) -> dict[str, Decimal]:
        """By currency, over all venues."""
        return self._balances.cash_by_currency()

    def balance(self, venue: str, currency: str) -> Decimal | None:
        """What the books say the venue should tell as the total of a currency; None for one that was never told of."""
        total = self._balances.total(venue, currency)
        return ZERO if total is None and (venue, currency) in self._reported else total

    def told(self, venue: str) -> list[str]:
        """Currencies of a venue that the books know, in order."""
        known = {currency for at, currency in (*self._reported, *self._balances.cash) if at == venue and currency}
        known.update(base for at, base in self._holdings.by_base if at == venue)
        return sorted(known)
