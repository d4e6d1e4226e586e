"""Positions, cash and equity, exact and in Decimal.  One writer: the core.

Accounting.  A spot trade exchanges base for quote: cash moves by the full notional and the position is worth its mark.
A margined trade (perpetual, future, FX, CFD) moves no cash at entry: realised profit and fees settle in the settlement
currency, open profit is added at valuation.  Cost is the average entry price.  Unknown is never zero: equity is None
while any part of it has no price or no currency rate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from functools import partial

import msgspec

from engine import cost
from engine.carried import CarriedHolding, CarriedMoney
from engine.equity import Equity
from engine.events import FundingSettled, OrderFilled
from engine.holdings import Holding, Positions
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import Position
from engine.rates import Rates
from engine.stakes import CLOSERS, EVERYONE, Stakes
from engine.unvalued import Unvalued

ZERO = Decimal(0)
DAY_NS = 86_400_000_000_000

Taken = tuple[str, str, Decimal]
"""Strategy, instrument, signed quantity."""
Mark = Callable[[str], Decimal | None]
Rate = Callable[[str], Decimal | None]


def _nobody_knows(instrument: str) -> Decimal | None:  # noqa: ARG001
    return None


class Portfolio(Equity):
    """Money of one daemon.  ``currency`` is what equity and limits are told in."""

    def __init__(self, currency: str) -> None:
        super().__init__()
        self.currency = currency
        self._cash: dict[tuple[str, str], Decimal] = {}  # by venue and currency
        self.rates = Rates(currency)
        self.rate: Callable[[str], Decimal | None] = self.rates.rate
        """Units of the portfolio currency for one unit of the one given; None when not known."""
        self._holdings: dict[str, Holding] = {}
        self._by_base: dict[tuple[str, str], list[Holding]] = {}
        """By venue and base currency: what is held of it lies in these, and in no cash."""
        self._positions = Positions()
        # Made at each change, so that no order has to wait for it.
        self.position: Callable[[str], Position] = self._positions.__getitem__
        """What is held of an instrument id."""
        self.held: dict[str, None] = {}
        """Instruments with a position that is not zero; for readers."""
        self._strategy_qty: dict[tuple[str, str], Decimal] = {}
        self._held_by: dict[str, dict[str, None]] = {}
        """Instruments of which a strategy's quantity is not zero: each order asks for them."""
        self.stakes = Stakes(self.rate)
        """What of it is which strategy's; written here, for readers."""
        self.taken: list[Taken] = []
        """What others than its strategy have closed of what it held, since the core looked last."""
        self._reported: set[tuple[str, str]] = set()
        self.unconverted_fees = 0
        self._awaited: dict[str, CarriedHolding] = {}
        """What an earlier session held, of instruments that are not defined yet."""
        self._unlisted: dict[str, Instrument] = {}
        """What those instruments were."""
        self._unvalued = Unvalued()

    # --- facts --------------------------------------------------------------------------------------------------

    def define(self, instrument: Instrument) -> None:
        """Start (or refresh) the books of an instrument."""
        holding = self._holdings.get(instrument.id)
        if holding is None:
            holding = self._holdings[instrument.id] = Holding(instrument)
            if instrument.asset_class in FULLY_PAID:
                self._by_base.setdefault((instrument.venue, instrument.base), []).append(holding)
        holding.instrument = instrument
        self.stakes.define(instrument)
        self.rates.define(instrument)
        self._unlisted.pop(instrument.id, None)
        awaited = self._awaited.pop(instrument.id, None)
        if awaited is not None:
            holding.take(awaited)
        self._changed(holding)
        key = (instrument.venue, instrument.base)
        if key in self._by_base and key in self._cash:
            # To a session that did not know the instrument it was a currency like any other.
            self._add_cash(*key, self._cash.pop(key))

    def set_rate(self, currency: str, rate: Decimal, ts_ns: int = 0) -> None:
        """One unit of ``currency`` is worth ``rate`` units of the portfolio currency, as somebody says."""
        self.rates.tell(currency, rate, ts_ns)
        for holding in self._holdings.values():
            self._show(holding)

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
        for name, qty in self._coins(venue, currency):
            self._take_from(name, self.stakes.write_off(name, qty, EVERYONE, mark(name)))

    def _take_in(self, venue: str, currency: str, amount: Decimal, mark: Mark) -> None:
        """Book what came without an execution, or below zero left."""
        parts = self._add_cash(venue, currency, amount)
        if parts:
            worth = self._worth_of_coins(venue, currency, parts, mark)
        else:
            rate = self.rates.believed(currency, mark)
            worth = None if rate is None else amount * rate
        if amount and worth is not None:
            self._shift(worth, self.value(mark, self._rates_at(mark)))
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

    def _worth_of_late(self, name: str, qty: Decimal, avg_px: Decimal | None, mark: Mark) -> Decimal | None:
        holding = self._holdings.get(name)
        rules = self._unlisted.get(name) if holding is None else holding.instrument
        if rules is None:
            rate = self.rate(name)
            return None if rate is None else qty * rate
        mark_px, rate = mark(name), self.rate(rules.quote if avg_px is None else rules.settlement)
        if mark_px is None or rate is None:
            return None
        if avg_px is None:
            return qty * mark_px * rules.multiplier * rate
        return cost.profit(rules, qty, avg_px, mark_px) * rate

    def _worth_of_coins(
        self, venue: str, currency: str, parts: Sequence[tuple[str, Decimal]], mark: Mark
    ) -> Decimal | None:
        """Each part at its own symbol's price, and at that of another in the same coins where its own has none."""
        pxs: dict[str, Decimal] = {}
        for name, _ in self._coins(venue, currency):
            holding = self._holdings.get(name)
            rules = self._unlisted[name] if holding is None else holding.instrument
            at_mark, rate = mark(name), self.rates.believed(rules.quote, mark)
            if at_mark is not None and rate is not None:
                pxs[name] = at_mark * rules.multiplier * rate
        if not pxs:
            return None
        another = next(iter(pxs.values()))
        return sum([part * pxs.get(name, another) for name, part in parts], ZERO)

    def report_position(self, instrument: str, qty: Decimal, avg_px: Decimal, mark: Mark = _nobody_knows) -> None:
        """A margined position that existed before this session; later reports belong to ``adjust_position``.  What it
        has won or lost so far is no result of what is measured already."""
        holding = self._holdings.get(instrument)
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
        holding = self._holdings.get(instrument)
        if holding is None or holding.qty == qty:
            return
        self._replace_position(holding, qty, avg_px if qty else ZERO, mark)
        self._take_from(instrument, self.stakes.write_off(instrument, qty, EVERYONE, mark(instrument)))

    def _replace_position(self, holding: Holding, qty: Decimal, avg_px: Decimal, mark: Mark) -> None:
        """By what was told: what the difference is worth is neither profit nor loss."""
        name = holding.instrument.id
        mark_px, rate_of, gone = mark(name), self._rates_at(mark), (holding.qty, holding.avg_px)
        before = self._worth(holding, mark_px, rate_of) if holding.qty else ZERO
        holding.qty, holding.avg_px = qty, avg_px
        after = self._worth(holding, mark_px, rate_of) if qty else ZERO
        self._changed(holding)
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
        holding = self._holdings.get(fill.instrument)
        listed = holding is not None
        if holding is None:
            holding = self._recalled(fill.instrument)
        instrument = holding.instrument
        signed_qty = fill.qty if fill.side > 0 else -fill.qty
        if listed and not strategy and signed_qty < ZERO and instrument.asset_class in FULLY_PAID:
            self._gather(holding, fill)
        realised = cost.trade(holding, instrument, signed_qty, fill.px)
        holding.traded = True
        if not listed:
            self._awaited[fill.instrument] = holding.carried()
        if instrument.asset_class in FULLY_PAID:
            self._add_cash(instrument.venue, instrument.quote, -signed_qty * fill.px * instrument.multiplier)
        else:
            self._add_cash(instrument.venue, instrument.settlement, realised)
        fee = self._pay_fee(holding, fill, strategy)
        if listed:
            self._changed(holding)
        else:  # a fee in its own coins has changed the quantity there
            awaited = self._awaited[fill.instrument]
            holding.qty = awaited.qty
            self._awaited[fill.instrument] = msgspec.structs.replace(awaited, fees=holding.fees)
        if strategy:
            shares = self.stakes.book(fill, strategy, instrument, fee)
        else:
            shares = self.stakes.lose(fill, instrument, fee, holding.qty)
        if strategy and strategy not in CLOSERS:
            self._share_out(fill.instrument, shares)
        else:
            self._take_from(fill.instrument, shares, strategy)
        if (
            strategy
            and fill.fee > ZERO
            and fill.fee_currency == instrument.base
            and instrument.asset_class in FULLY_PAID
        ):
            # Paid in the coins themselves: together strategies hold no more than there is.
            self._share_out(fill.instrument, self.stakes.write_off(fill.instrument, holding.qty, strategy))
        return shares

    def apply_funding(self, event: FundingSettled) -> None:
        """Book what a position has earned or cost without an execution.  Of an instrument that neither this session nor
        the one before it knew only the cash moves.  In a currency without a rate equity becomes unknown."""
        self._add_cash(event.venue, event.currency, event.amount)
        rate = self.rates.believed(event.currency)
        if rate is None:
            self.unconverted_fees += 1
            return
        worth = event.amount * rate
        holding, awaited = self._holdings.get(event.instrument), self._awaited.get(event.instrument)
        if holding is not None:
            holding.funding += worth
            self._show(holding)
            self.stakes.fund(event.instrument, worth, holding.qty)
        elif awaited is not None:
            self._awaited[event.instrument] = msgspec.structs.replace(awaited, funding=awaited.funding + worth)
            self.stakes.fund(event.instrument, worth, awaited.qty)

    def _recalled(self, name: str) -> Holding:
        """What is held of an instrument that only an earlier session listed."""
        holding = Holding(self._unlisted[name])
        self.stakes.define(holding.instrument)
        one = self._awaited.get(name)
        if one is not None:
            holding.take(one)
        return holding

    def _take_from(self, instrument: str, shares: Sequence[tuple[str, Decimal]], closer: str = "") -> None:
        self._share_out(instrument, shares)
        self.taken += [(owner, instrument, qty) for owner, qty in shares if owner != closer]

    def _share_out(self, instrument: str, shares: Sequence[tuple[str, Decimal]]) -> None:
        for owner, qty in shares:
            self._put_strategy_qty(owner, instrument, self.strategy_qty(owner, instrument) + qty)

    def _put_strategy_qty(self, owner: str, instrument: str, qty: Decimal) -> None:
        self._strategy_qty[owner, instrument] = qty
        names = self._held_by.setdefault(owner, {})
        if qty:
            names[instrument] = None
        else:
            names.pop(instrument, None)

    def _changed(self, holding: Holding) -> None:
        self._show(holding)
        name = holding.instrument.id
        if holding.qty:
            self.held[name] = None
        else:
            self.held.pop(name, None)

    def _show(self, holding: Holding) -> None:
        rate = self.rate(holding.instrument.settlement) or ZERO
        self._positions[holding.instrument.id] = Position(
            holding.qty, holding.avg_px, holding.realised * rate, holding.fees, holding.funding
        )

    def _add_cash(self, venue: str, currency: str, amount: Decimal) -> list[tuple[str, Decimal]]:
        """Returns which instruments got or gave how much, where it is a currency that is held as a position."""
        key = (venue, currency)
        coins = self._coins(venue, currency)
        if not coins:
            self._cash[key] = self._cash.get(key, ZERO) + amount
            return []
        parts = self._spread(coins, amount)  # what another instrument is paid in, or a fee
        for name, part in parts:
            self._put_coins(name, part)
        return parts

    def _put_coins(self, name: str, qty: Decimal) -> None:
        holding = self._holdings.get(name)
        if holding is None:
            one = self._awaited[name]
            self._awaited[name] = msgspec.structs.replace(one, qty=one.qty + qty)
        else:
            holding.qty += qty
            self._changed(holding)

    def _gather(self, holding: Holding, fill: OrderFilled) -> None:
        """Coins for somebody else's sale in one of several symbols in the same ones: what no strategy holds in the
        others goes before what one holds here, and what strategies hold there before this one becomes short."""
        venue, base, name = fill.venue, holding.instrument.base, fill.instrument
        for is_free in (True, False):
            lack_qty = (self._claimed_qty(name) if is_free else ZERO) - holding.qty + fill.qty
            for other, qty in self._coins(venue, base):
                has_qty = qty - self._claimed_qty(other) if is_free else qty
                part = min(max(has_qty, ZERO), lack_qty)
                if other == name or part <= ZERO:
                    continue
                lack_qty -= part
                self._put_coins(other, -part)
                holding.qty += part
                holding.avg_px = holding.avg_px or fill.px  # nobody knows what they cost
                self._share_out(other, self.stakes.write_off(other, qty - part))

    def _coins(self, venue: str, currency: str) -> list[tuple[str, Decimal]]:
        """The instruments in which a currency is held as a position, and how much in each: those that this session
        lists, then those of an earlier one alone; none for what is cash."""
        held = [(one.instrument.id, one.qty) for one in self._by_base.get((venue, currency), ())]
        if self._unlisted:
            held += [(one.instrument, one.qty) for one in self._unlisted_of(venue, currency)]
        return held

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
        return max(self.stakes.stake(EVERYONE, name).qty, ZERO)

    def _pay_fee(self, holding: Holding, fill: OrderFilled, strategy: str) -> Decimal:
        """Book it; returns what it is worth in portfolio currency, at least as far as that is known.  ``strategy``:
        whose order it was."""
        if fill.fee == ZERO:
            return ZERO
        instrument = holding.instrument
        if (
            fill.fee_currency == instrument.base
            and instrument.asset_class in FULLY_PAID
            and self._holdings.get(fill.instrument) is holding
        ):
            # Of the coins that were traded, also where another instrument is in the same ones, as far as they go.
            own = min(fill.fee, max(holding.qty, ZERO))
            holding.qty -= own
            if own != fill.fee:
                self._pay_in_coins(fill, fill.fee - own, strategy)
        else:
            self._pay_in_coins(fill, fill.fee, strategy)
        rate = self.rates.believed(fill.fee_currency)
        if rate is None:
            # Equity becomes unknown through the cash above; the fee column only says that it misses one.
            self.unconverted_fees += 1
            return self._assumed_fee(holding.instrument, fill)
        holding.fees += fill.fee * rate
        return fill.fee * rate

    def _pay_in_coins(self, fill: OrderFilled, fee: Decimal, strategy: str) -> None:
        """Or in money.  What strategies hold of coins that pay a fee does not come back: they hold so much less,
        first the one whose fee it is."""
        missing = {name: self._claimed_qty(name) - qty for name, qty in self._coins(fill.venue, fill.fee_currency)}
        parts = self._add_cash(fill.venue, fill.fee_currency, -fee)
        left = dict(self._coins(fill.venue, fill.fee_currency))
        for name, part in parts:
            if part < ZERO and name != fill.instrument:  # that one is looked at when the trade itself is booked
                left_qty = left[name] + max(missing[name], ZERO)  # what they have lent comes back when it is sold
                self._take_from(name, self.stakes.write_off(name, left_qty, strategy), strategy)

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
        if any(holding.qty for holding in self._awaited.values()):
            return None  # of something that this session does not know
        total = ZERO
        for (_, currency), amount in self._cash.items():
            if amount == ZERO:
                continue
            rate = rate_of(currency)
            if rate is None:
                return None
            total += amount * rate
        for instrument_id, holding in self._holdings.items():
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
            self._show(holding)
        if paid:
            return holding.qty * mark_px * instrument.multiplier * rate
        return cost.profit(instrument, holding.qty, holding.avg_px, mark_px) * rate

    def revalue(self, now_ns: int, mark: Mark) -> None:
        """Refresh equity, its peak and the day's start (UTC day of ``now_ns``)."""
        if self.rates.follow(mark):
            for holding in self._holdings.values():
                self._show(holding)
        equity = self.value(mark)
        self.equity = equity
        if equity is None:
            return
        if self._unvalued:
            worth = self._unvalued.take(lambda name, qty, avg_px: self._worth_of_late(name, qty, avg_px, mark))
            if worth is not None:
                self._shift(worth, equity)
        day = now_ns // DAY_NS
        # On an account's first day strategies have begun with nothing.
        self.stakes.revalue(mark, new_day=day != self.day and self.day >= 0)
        self._take(equity, day)

    # --- from one session to the next -------------------------------------------------------------------------------

    def carried(self) -> CarriedMoney:
        holdings = [one.carried() for one in self._holdings.values()]
        return CarriedMoney(
            self.currency,
            tuple([(venue, currency, amount) for (venue, currency), amount in self._cash.items()]),
            tuple(sorted(self._opened())),
            (*holdings, *self._awaited.values()),
            tuple([(strategy, name, qty) for (strategy, name), qty in self._strategy_qty.items()]),
            self.equity_peak,
            self.day,
            self.equity_day_start,
            self.stakes.carried(),
            self._unvalued.carried(),
        )

    def _opened(self) -> set[tuple[str, str]]:
        """Accounts of which the books know all: those reported, and what was bought at their venues since."""
        venues = {venue for venue, currency in self._reported if currency}
        traded = [
            *self._cash,
            *[key for key, held in self._by_base.items() if any(one.qty or one.traded for one in held)],
        ]
        return {*self._reported, *[key for key in traded if key[0] in venues]}

    def restore(self, money: CarriedMoney, instruments: Sequence[Instrument] = ()) -> None:
        """Go on with what an earlier session left.  Peak and day's start are taken over where they are of the same
        currency; holdings show themselves as their instruments are defined.  ``instruments`` says what they were."""
        self._cash = {(venue, currency): amount for venue, currency, amount in money.cash}
        self._reported = set(money.reported)
        self._strategy_qty, self._held_by = {}, {}
        for strategy, name, qty in money.strategy_qty:
            self._put_strategy_qty(strategy, name, qty)
        self.stakes.restore(money.stakes)
        self._awaited = {one.instrument: one for one in money.holdings}
        self._unlisted = {one.id: one for one in instruments}
        for name in [name for name in self._awaited if name in self._holdings]:
            self.define(self._holdings[name].instrument)
        if money.currency == self.currency:
            self.equity_peak, self.day, self.equity_day_start = money.equity_peak, money.day, money.equity_day_start
            self._unvalued.restore(money.unvalued)

    def unlisted_instrument(self, name: str) -> Instrument | None:
        """One of ``unlisted``."""
        return self._unlisted.get(name)

    @property
    def unlisted(self) -> list[Instrument]:
        """Instruments of an earlier session that this one does not know."""
        return list(self._unlisted.values())

    @property
    def unknown_holdings(self) -> list[str]:
        """Ids of instruments that an earlier session held and that this one does not know."""
        return sorted(name for name, one in self._awaited.items() if one.qty)

    # --- reading ------------------------------------------------------------------------------------------------

    def qty(self, instrument: str) -> Decimal:
        holding = self._holdings.get(instrument)
        return ZERO if holding is None else holding.qty

    def strategy_qty(self, strategy: str, instrument: str) -> Decimal:
        return self._strategy_qty.get((strategy, instrument), ZERO)

    def held_by(self, strategy: str) -> Collection[str]:
        return self._held_by.get(strategy, ())

    def holders(self) -> Iterator[tuple[str, str]]:
        """Strategies whose quantity is not zero, each with the instrument."""
        return ((owner, name) for owner, names in self._held_by.items() for name in names)

    def cash(self) -> dict[str, Decimal]:
        """By currency, over all venues."""
        found: dict[str, Decimal] = {}
        for (_, currency), amount in self._cash.items():
            found[currency] = found.get(currency, ZERO) + amount
        return found

    def balance(self, venue: str, currency: str) -> Decimal | None:
        """What the books say the venue should tell as the total of a currency; None for one that was never told of."""
        held = self._coins(venue, currency)
        if held:
            return sum([qty for _, qty in held], ZERO)
        if (venue, currency) in self._reported or (venue, currency) in self._cash:
            return self._cash.get((venue, currency), ZERO)
        return None

    def _unlisted_of(self, venue: str, currency: str) -> list[CarriedHolding]:
        """What an earlier session held of a currency in instruments that this one does not know."""
        return [
            self._awaited[name]
            for name, one in self._unlisted.items()
            if (one.venue, one.base) == (venue, currency) and one.asset_class in FULLY_PAID and name in self._awaited
        ]

    def told(self, venue: str) -> list[str]:
        """Currencies of a venue that the books know, in order."""
        known = {currency for at, currency in (*self._reported, *self._cash) if at == venue and currency}
        known.update(base for at, base in self._by_base if at == venue)
        return sorted(known)
