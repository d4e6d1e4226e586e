"""Whose money it is: what each strategy holds, what that cost, what it won or lost today, and losses in a row.

Owns the books of strategies beside the account's (``engine.portfolio``, their only caller).  What no strategy of ours
has bought is in none of them.  Under the name ``EVERYONE`` stands what all strategies hold together.

The strategies ``GUARDIAN`` and ``OPERATOR`` close what others hold: their executions are booked to them, after their
own the largest holder first, so that none goes on believing in a position that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from engine import cost
from engine.carried import CarriedStake, CarriedStakes, CarriedTally
from engine.events import OrderFilled
from engine.instruments import Instrument
from engine.ports import Stake, Tally

ZERO = Decimal(0)
EVERYONE = ""
GUARDIAN = "guardian"
OPERATOR = "operator"
CLOSERS = frozenset({GUARDIAN, OPERATOR})
"""Who may close what others hold."""

CANARY_SUFFIX = ".canary"
"""Of the twin of a strategy that trades a share of its size on another model (``engine.serving``)."""


def base_name(strategy: str) -> str:
    """Whose limits hold for a strategy: a twin has those of the strategy that it is the twin of."""
    return strategy.removesuffix(CANARY_SUFFIX)


def other_half(strategy: str) -> str:
    """The twin of a strategy, the strategy of a twin: to the outside both are one."""
    base = strategy.removesuffix(CANARY_SUFFIX)
    return base if base != strategy else strategy + CANARY_SUFFIX


Mark = Callable[[str], Decimal | None]
Rate = Callable[[str], Decimal | None]

NOTHING = Stake()


class Stakes:
    """The books of all strategies.  One writer: the portfolio."""

    def __init__(self, rate: Rate, believed: Rate) -> None:
        """``believed``: by which what has happened is booked while there is no ``rate`` yet."""
        self._rate, self._believed = rate, believed
        self._counted: dict[str, Decimal] = {}
        """By currency, the rate at which what was won or lost in it was counted last."""
        self._instruments: dict[str, Instrument] = {}
        self._stakes: dict[tuple[str, str], Stake] = {}
        self.tallies: dict[str, Tally] = {}
        """By strategy; one that never traded has none."""

    def define(self, instrument: Instrument) -> None:
        self._instruments[instrument.id] = instrument

    def stake(self, strategy: str, instrument: str) -> Stake:
        """What a strategy holds (``EVERYONE``: all of them together).  Not to be kept: it changes with each fill."""
        return self._stakes.get((strategy, instrument), NOTHING)

    def book(self, fill: OrderFilled, strategy: str, instrument: Instrument, fee: Decimal) -> list[tuple[str, Decimal]]:
        """Book one execution of a strategy's order; ``fee`` is in portfolio currency.  Returns the signed quantities by
        the strategy that each was booked to."""
        signed_qty = fill.qty if fill.side > 0 else -fill.qty
        shares = [(strategy, signed_qty)]
        if strategy in CLOSERS:
            shares = list(self._shares(strategy, fill.instrument, signed_qty))
        for owner, qty in shares:
            self._trade(owner, instrument, qty, fill, fee * abs(qty) / fill.qty)
        self._trade(EVERYONE, instrument, signed_qty, fill, fee)
        tally = self._tally(strategy)
        tally.fills += 1
        return shares

    def lose(
        self, fill: OrderFilled, instrument: Instrument, fee: Decimal, left_qty: Decimal
    ) -> list[tuple[str, Decimal]]:
        """Book of an execution of nobody's order here what has closed positions of strategies: the part that the
        account, of which ``left_qty`` is left, cannot have had besides.  A venue that liquidates does that, and an
        owner who sells more than his own."""
        lost_qty = self._uncovered(fill.instrument, left_qty)
        if not lost_qty or (lost_qty > ZERO) is not (fill.side > 0):
            return []
        lost_qty = max(-fill.qty, min(fill.qty, lost_qty))
        shares = list(self._shares(EVERYONE, fill.instrument, lost_qty))
        for owner, qty in shares:
            self._trade(owner, instrument, qty, fill, fee * abs(qty) / fill.qty)
        self._trade(EVERYONE, instrument, lost_qty, fill, fee * abs(lost_qty) / fill.qty)
        return shares

    def write_off(
        self, instrument: str, left_qty: Decimal, first: str = EVERYONE, px: Decimal | None = None
    ) -> list[tuple[str, Decimal]]:
        """The same where the venue says how much is left and not what happened: at ``px``, as what a position has won
        or lost so far is its strategy's; at cost without one, neither profit nor loss.

        ``first``: the strategy that bears it before the others."""
        lost_qty = self._uncovered(instrument, left_qty)
        shares = list(self._shares(first, instrument, lost_qty)) if lost_qty else []
        rules = self._instruments.get(instrument)
        for owner, qty in [*shares, *([(EVERYONE, lost_qty)] if lost_qty else [])]:
            stake = self._stakes[owner, instrument]
            if px and stake.avg_px and rules is not None:
                stake.realised += cost.profit(rules, -qty, stake.avg_px, px)
            stake.qty += qty
            if not stake.qty:
                stake.avg_px, stake.trip, stake.since_ns = ZERO, ZERO, 0
        return shares

    def fund(self, instrument: str, worth: Decimal, held_qty: Decimal) -> None:
        """Book what the account's position of ``held_qty`` has earned (portfolio currency, below zero: cost) to those
        who hold it, by quantity: who is short gets what who is long pays.  The rest is nobody's."""
        if not held_qty:
            return
        for (_, name), stake in self._stakes.items():
            if name == instrument and stake.qty:
                share = worth * stake.qty / held_qty
                stake.fees -= share
                stake.trip += share

    def _uncovered(self, instrument: str, left_qty: Decimal) -> Decimal:
        """What must be traded back of what strategies hold together, for the account to hold that much."""
        held_qty = self.stake(EVERYONE, instrument).qty
        if held_qty > ZERO:
            return min(max(left_qty, ZERO) - held_qty, ZERO)
        known = self._instruments.get(instrument)
        if known is None or not known.can_short:
            return ZERO  # they have sold of what the owner has: nobody is short, and nothing was closed
        return max(min(left_qty, ZERO) - held_qty, ZERO)

    def _shares(self, closer: str, instrument: str, signed_qty: Decimal) -> Iterator[tuple[str, Decimal]]:
        """Who held what the closer has closed; what nobody held is its own."""
        left_qty = signed_qty
        holders = [(owner, stake.qty) for (owner, name), stake in self._stakes.items() if owner and name == instrument]
        for owner, qty in sorted(holders, key=lambda one: (one[0] != closer, -abs(one[1]), one[0])):
            if left_qty and qty and (qty > ZERO) is not (left_qty > ZERO):
                part_qty = left_qty if abs(left_qty) <= abs(qty) else -qty
                left_qty -= part_qty
                yield owner, part_qty
        if left_qty:
            yield closer, left_qty

    def _trade(self, owner: str, instrument: Instrument, qty: Decimal, fill: OrderFilled, fee: Decimal) -> None:
        stake = self._stakes.get((owner, instrument.id))
        if stake is None:
            stake = self._stakes[owner, instrument.id] = Stake()
        before = stake.qty
        realised = cost.trade(stake, instrument, qty, fill.px)
        stake.fees += fee
        rate = self._believed(instrument.settlement)
        # Without a rate the sign still says whether it was a loss; what it is worth is asked for again at valuation.
        stake.trip += realised * (Decimal(1) if rate is None else rate) - fee
        is_flat = abs(stake.qty) < instrument.min_qty
        if is_flat or (before and (before > ZERO) is not (stake.qty > ZERO)):
            if owner and abs(before) >= instrument.min_qty:
                self._end_trip(owner, stake, fill.ts_recv_ns)
            stake.trip = ZERO
            stake.since_ns = 0 if is_flat else fill.ts_recv_ns
        elif not stake.since_ns:
            stake.since_ns = fill.ts_recv_ns

    def _end_trip(self, owner: str, stake: Stake, now_ns: int) -> None:
        """From flat to flat (or through it): a loss, fees included, or not."""
        tally = self._tally(owner)
        if stake.trip < ZERO:
            tally.losses += 1
            tally.lost_ns = now_ns
        else:
            tally.losses = 0

    def _tally(self, strategy: str) -> Tally:
        tally = self.tallies.get(strategy)
        if tally is None:
            tally = self.tallies[strategy] = Tally()
        return tally

    # --- valuation ----------------------------------------------------------------------------------------------

    def revalue(self, mark: Mark, *, new_day: bool) -> None:
        """Profit of each strategy since the UTC day began, open positions at their mark, after fees, in portfolio
        currency; None while something it holds has no price or rate.  What a rate makes of money that was won or lost
        before is the account's result, and no strategy's."""
        self._follow_rates()
        for strategy, tally in self.tallies.items():
            worth = self._worth(strategy, mark)
            if new_day:
                tally.day_base, tally.day_low = worth, ZERO
            elif tally.day_base is None:  # nobody could value it when the day began
                tally.day_base = worth
            if worth is None or tally.day_base is None:
                tally.day = None
                continue
            result = tally.day = worth - tally.day_base
            tally.day_low = min(tally.day_low, result)

    def _follow_rates(self) -> None:
        """What was realised stays worth what it was: the day begins as much higher or lower as a rate has moved it."""
        rates: dict[str, Decimal] = {}
        for (owner, name), stake in self._stakes.items():
            instrument, tally = self._instruments.get(name), self.tallies.get(owner)
            rate = None if instrument is None else self._rate(instrument.settlement)
            if instrument is None or rate is None:
                continue
            rates[instrument.settlement] = rate
            moved = rate - self._counted.get(instrument.settlement, rate)
            if moved and tally is not None and tally.day_base is not None:
                tally.day_base += stake.realised * moved
        self._counted.update(rates)

    def _worth(self, strategy: str, mark: Mark) -> Decimal | None:
        total = ZERO
        for (owner, name), stake in self._stakes.items():
            if owner != strategy:
                continue
            total -= stake.fees
            if not stake.qty and not stake.realised:
                continue
            instrument = self._instruments.get(name)
            rate = None if instrument is None else self._rate(instrument.settlement)
            if instrument is None or rate is None:
                return None
            gain = stake.realised
            if stake.qty:
                mark_px = mark(name)
                if mark_px is None:
                    return None
                gain += cost.profit(instrument, stake.qty, stake.avg_px, mark_px)
            total += gain * rate
        return total

    # --- from one session to the next -----------------------------------------------------------------------------

    def carried(self) -> CarriedStakes:
        return CarriedStakes(
            tuple(
                [
                    CarriedStake(owner, name, one.qty, one.avg_px, one.realised, one.fees, one.trip, one.since_ns)
                    for (owner, name), one in self._stakes.items()
                ]
            ),
            tuple(
                [
                    CarriedTally(name, one.fills, one.losses, one.lost_ns, one.day_base, one.day_low)
                    for name, one in self.tallies.items()
                ]
            ),
        )

    def counted(self) -> dict[str, Decimal]:
        """By currency in which strategies have won or lost something, the rate at which that was counted last."""
        won = {
            self._instruments[name].settlement
            for (owner, name), one in self._stakes.items()
            if one.realised and owner in self.tallies and name in self._instruments
        }
        return {currency: self._counted[currency] for currency in won if currency in self._counted}

    def restore(
        self, carried: CarriedStakes, counted: Iterable[tuple[str, Decimal]] = (), *, is_same_money: bool = True
    ) -> None:
        """``is_same_money``: False where days have begun, and rates were counted, in another portfolio currency."""
        self._counted = dict(counted) if is_same_money else {}
        self._stakes = {
            (one.strategy, one.instrument): Stake(one.qty, one.avg_px, one.realised, one.fees, one.trip, one.since_ns)
            for one in carried.stakes
        }
        self.tallies.clear()
        for tally in carried.tallies:
            self.tallies[tally.strategy] = Tally(
                tally.fills, tally.losses, tally.lost_ns, None, tally.day_base, tally.day_low
            )
            if not is_same_money:
                self.tallies[tally.strategy].day_base, self.tallies[tally.strategy].day_low = None, ZERO
