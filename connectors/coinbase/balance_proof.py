"""Which fills are in a reading of the balances: told by what is listed before it and after it, and by arithmetic.

Owns the proof.  Pure: no clock, no socket.  A fill that was listed well before the reading is in it.  One that came
about the time of the reading may be in it or not, so there are several answers to what the balances are once all fills
are in.  The account is the same at each reading: the answer that all readings have in common is the right one.  Of a
contract, and of an adjustment of another fill, the listing does not say what it does to the balances: while one of them
is about, there is no answer, and a reading well after it has it in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from connectors.coinbase.fills import moves, moves_unknown_amounts
from connectors.coinbase.wire import Fill, TimeParser

Totals = dict[str, Decimal]
"""By currency."""


class BalanceProof:
    """Of one confirmation; readings are given to it until one answer is left.

    ``margin_ns``: a fill that is not this much older than the reading counts as one that may not be in it.
    """

    def __init__(self, margin_ns: int) -> None:
        self._margin_ns = margin_ns
        self._time = TimeParser()
        self._answers: dict[frozenset[tuple[str, Decimal]], Totals] = {}
        self._listed: set[str] = set()

    def narrow(
        self, totals: Mapping[str, Decimal], since_ns: int, before: Sequence[Fill], after: Sequence[Fill]
    ) -> Totals | None:
        """The balances with every fill of ``after`` in them, as soon as that is certain.

        ``totals`` were read from ``since_ns`` (venue's clock) on; ``before`` and ``after``, oldest first, were listed
        before and after that.  An entry that is listed more than once is one execution, as it was listed first.
        """
        after = list({fill.entry_id: fill for fill in reversed(after)}.values())[::-1]
        known = {fill.entry_id for fill in before if self._told_ns(fill) < since_ns - self._margin_ns}
        open_fills = [fill for fill in after if fill.entry_id not in known]
        news = [fill for fill in after if fill.entry_id not in self._listed]
        if any(map(moves_unknown_amounts, news)):
            self._answers = {}
        if any(map(moves_unknown_amounts, open_fills)):
            self._listed = {fill.entry_id for fill in after}
            return None
        answers = {_key(one): one for one in _each(totals, open_fills)}
        earlier = {_key(one): one for one in (with_fills(one, news) for one in self._answers.values())}
        common = {key: one for key, one in answers.items() if key in earlier}
        # Nothing in common: something else has moved the account meanwhile, and only what is read now counts.
        self._answers = common or answers
        self._listed = {fill.entry_id for fill in after}
        return next(iter(self._answers.values())) if len(self._answers) == 1 else None

    def _told_ns(self, fill: Fill) -> int:
        traded, listed = fill.trade_time, fill.sequence_timestamp
        return self._time(traded) if listed in ("", traded) else max(self._time(traded), self._time(listed))


def _each(totals: Mapping[str, Decimal], fills: Sequence[Fill]) -> Iterator[Totals]:
    """With the last so many of ``fills`` put in, from none to all: those before them are in."""
    found = dict(totals)
    yield found
    for fill in reversed(fills):
        found = with_fills(found, [fill])
        yield found


def came_after(fills: Sequence[Fill], at_ns: int) -> bool:
    """Whether all of them were executed after that (venue's clock), and do what their entries say."""
    time = TimeParser()
    return all(time(fill.trade_time) > at_ns and not moves_unknown_amounts(fill) for fill in fills)


def with_fills(totals: Mapping[str, Decimal], fills: Sequence[Fill]) -> Totals:
    """The same with these fills in them."""
    found = dict(totals)
    for fill in fills:
        base, _, quote = fill.product_id.partition("-")
        for currency, amount in moves(fill, base, quote):
            found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def may_be_executed(differences: Mapping[str, tuple[Decimal, Decimal]], instruments: Iterable[str]) -> bool:
    """Whether executions of one of ``instruments`` (canonical) can explain what is told and what there should be, by
    currency: they give one of its currencies for the other.  What is only gone was paid out, or not read at all."""
    pairs = [one.partition("@")[0].partition("/")[::2] for one in instruments]
    grown = {currency for currency, (told, expected) in differences.items() if told > expected}
    return any({base, quote} <= differences.keys() and {base, quote} & grown for base, quote in pairs)


def _key(totals: Totals) -> frozenset[tuple[str, Decimal]]:
    """A currency of which there is nothing may be listed or not."""
    return frozenset((currency, total) for currency, total in totals.items() if total)
