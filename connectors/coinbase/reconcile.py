"""The account asked about as a whole: every open order, every fill since last time, and the balances that follow.

Owns the order of those questions and the one fact that comes out, ``AccountSettled``: told only when it is known which
fills the balances include, so that what the books say can be compared to the last digit (``balance_proof``).  Single
orders are ``settle``'s.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.account_rounds import AccountRounds
from connectors.coinbase.balance_proof import BalanceProof, Totals, came_after, may_be_executed, with_fills
from connectors.coinbase.directory import OPENING_MARGIN_NS, Directory, Opening
from connectors.coinbase.funding import shares
from connectors.coinbase.inquiry import LISTING_MARGIN_NS
from connectors.coinbase.settle import Settler
from connectors.coinbase.symbols import DOLLAR, is_contract, product_id_of
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.versions import Version
from connectors.coinbase.wire import Fill
from connectors.rivals import Rivals
from engine.carried import ENDED, CarriedOrder
from engine.commands import NewOrderWithExits, OrderType
from engine.errors import VenueError, WrongAccount
from engine.events import AccountSettled, BalanceReported, FundingSettled, PositionReported
from engine.managed_order import EXTERNAL
from engine.order_ids import attached_id
from engine.order_states import OrderState
from engine.ports import Clock, Publish

EVERY_S = 300.0
"""How often the account is asked about, unless something makes it doubtful before."""
BOUND_S = 30.0
"""Longest wait for orders to show themselves; those that have not are told as unresolved, and are asked about on."""
ROUND_S = 120.0
"""Longest a confirmation may take in all."""
TRIES = 40
LISTING_LAG_S = 0.25
"""Fills may be listed a moment after they moved a balance."""
SKEW_NS = 100_000_000
"""The venue's time is known to so much; less than ``LISTING_LAG_S``."""
PAUSES_S = (0.1, 0.35, 0.0, 0.5, 0.2, 0.6, 0.05, 0.4)
"""Between readings of the balances: of different lengths, so that fills at even times do not meet each of them."""
ORDERS_READ_AGAIN = 500
START_TRIES = 3
"""A start must not end by one question that fails."""
PAUSE_S = 0.5
_LOOK_S = 0.05
_CENT = Decimal("0.01")
"""The stream tells of dollars in cents."""

_log = logging.getLogger(__name__)


class AccountReconciler:
    """``products`` maps canonical instruments to product ids.  ``venue_offset_ns`` is the venue's clock minus ours.
    ``rival(client_order_id)`` names the session of another daemon that sent an order; empty for any other order."""

    def __init__(
        self,
        venue: str,
        *,
        directory: Directory,
        settler: Settler,
        tracker: OrderTracker,
        products: Mapping[str, str],
        publish: Publish,
        clock: Clock,
        venue_offset_ns: Callable[[], int],
        every_s: float = EVERY_S,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        self._venue = venue
        self._directory = directory
        self._settler = settler
        self._tracker = tracker
        self._products = products
        self._publish = publish
        self._clock = clock
        self._offset_ns = venue_offset_ns
        self._rival = rival
        self._rivals = Rivals(venue)
        self._since_ns = 0
        self._expected: Totals = {}
        """Balances as they were confirmed last, less what fills had done to them by then."""
        self._moved: Totals = {}
        """What fills had done to the balances by then."""
        self._strange: set[str] = set()
        self._adopted: list[str] = []
        self.rounds = AccountRounds(venue, self.settle, every_s=every_s)

    def adopt(
        self, orders: Sequence[CarriedOrder], balances: Mapping[str, Decimal], trades: Sequence[str] = ()
    ) -> None:
        """Go on with the orders and ``balances`` (by currency) of an earlier session; ``trades`` are its newest
        executions of any orders, as ``venue|id``."""
        self._expected = dict(balances)
        self._tracker.know(entry_id for at, _, entry_id in (one.partition("|") for one in trades) if at == self._venue)
        for order in orders:
            if order.new.venue == self._venue:
                self._tracker.adopt(
                    order.new.client_order_id,
                    order.venue_order_id,
                    order.filled_qty,
                    order.trade_ids,
                    ended=order.state in ENDED,
                    rejected=order.state == OrderState.REJECTED,
                    of_others=order.new.intent.strategy == EXTERNAL,
                    instrument=order.new.intent.instrument,
                    intent=order.new.intent,
                )
                self._adopt_version(order)
                if order.venue_order_id:
                    self._adopted.append(order.venue_order_id)
                elif order.state not in ENDED:
                    name = order.new.intent.instrument
                    product_id = self._products.get(name) or product_id_of(name)
                    now_ns = self._clock.now_ns()
                    self._settler.resolve(order.new.client_order_id, product_id, order.new.ts_ns, now_ns)
        known = {order.new.client_order_id: order for order in orders}
        for order in orders:
            if isinstance(order.new, NewOrderWithExits) and order.new.venue == self._venue:
                self._expect_exit(order.new, order, known.get(attached_id(order.new.client_order_id)))

    def _expect_exit(self, new: NewOrderWithExits, entry: CarriedOrder, told: CarriedOrder | None) -> None:
        """An entry brought its exit with it, which the session before may have heard of (``told``)."""
        name, tracker = new.intent.instrument, self._tracker
        product_id = self._products.get(name) or product_id_of(name)
        made = tracker.attachments.expect(new, product_id, "" if told is None else told.venue_order_id)
        if told is not None:
            tracker.adopt_exit(made, told.new.intent.qty)
        elif entry.state in ENDED and not entry.filled_qty:
            tracker.attachments.settle(made, "unfilled")

    def _adopt_version(self, order: CarriedOrder) -> None:
        """An earlier session may have changed it, or asked for that, and its disk may have lost the last word."""
        intent, versions = order.new.intent, self._tracker.versions
        if order.state in ENDED or not order.venue_order_id or intent.order_type is not OrderType.LIMIT:
            return
        version = Version(intent.qty, intent.limit_px)
        versions.follow(order.new.client_order_id, order.venue_order_id, version, is_doubtful=True)
        if order.edit is not None:
            versions.begin(order.edit, self._clock.now_ns())
            versions.answered(order.venue_order_id, self._clock.now_ns(), taken=False)

    async def open(self) -> None:
        """The account at the start: orders that went on looked up and their fills read, then the balances.  Raises
        ``VenueError``."""
        opening, part, unresolved = await self._confirmed(self._rivals.refuse, START_TRIES)
        for balance in opening.balances:
            self._publish(balance)
        self._tell(opening, unresolved)
        self._tracker.open(opening.since_ns, opening.doubtful_ns, part)

    # --- from time to time ------------------------------------------------------------------------------------------

    def look_for_strangers(self) -> None:
        """Called after each batch of the user stream: an order of somebody else is looked into at once."""
        if self._tracker.strangers and self.rounds.is_running:
            self._tracker.strangers = False
            self.rounds.wake()

    def compare(self, positions: Mapping[str, Decimal], dollars: Decimal | None) -> None:
        """What the stream tells of the futures account, when it has been still for a moment: where contracts have come
        or gone without a fill, or dollars without any (funding, a settlement), the account is confirmed at once."""
        moved = self._tracker.moved
        for product_id, before in self._expected.items():
            if is_contract(product_id) and positions.get(product_id, Decimal(0)) != before + moved.get(
                product_id, Decimal(0)
            ):
                self.rounds.wake()
                return
        confirmed = self._expected.get(DOLLAR)
        if dollars is None or confirmed is None or moved != self._moved:
            return
        if abs(confirmed + moved.get(DOLLAR, Decimal(0)) - dollars) >= _CENT:
            self.rounds.wake()

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        opening, _, unresolved = await self._confirmed(self._rivals.name)
        self._tell(opening, unresolved)
        self._settler.confirmed()

    # --- questions --------------------------------------------------------------------------------------------------

    async def _confirmed(
        self, judge: Callable[[list[str]], None], tries: int = 1
    ) -> tuple[Opening, set[str], list[str]]:
        """The balances, the fills that are known to be in them, and orders of unknown outcome.  From here to their
        telling nobody else gets a turn.  ``judge`` hears of other daemons.  One question that fails is no failure where
        there are more ``tries``."""
        try:
            async with asyncio.timeout(ROUND_S):
                for _ in range(tries - 1):
                    try:
                        return await self._ask_all(judge)
                    except WrongAccount:
                        raise
                    except VenueError as error:
                        _log.warning("%s: %s", self._venue, error)
                        await asyncio.sleep(PAUSE_S)
                return await self._ask_all(judge)
        except TimeoutError:
            raise VenueError(
                f"{self._venue} account: not confirmed in {ROUND_S:g} s", do="see the venue's status"
            ) from None

    async def _ask_all(self, judge: Callable[[list[str]], None]) -> tuple[Opening, set[str], list[str]]:
        unresolved = await self._look_up(BOUND_S)
        judge(self._find_rivals())
        await self._settler.read_fills_of(self._adopted)
        self._adopted = []
        await self._settler.read_fills_of(await self._settler.exits.find_made())
        opening, part, short = await self._explained()
        return opening, part, list(dict.fromkeys([*unresolved, *short]))

    async def _look_up(self, bound_s: float) -> list[str]:
        """Ask about every open order of ours, and each of unknown version; client ids of those that have not shown
        themselves in time."""
        self._settler.checks.check_open()
        await self._find_strangers()
        unresolved = await self._await_shown(bound_s)
        if self._tracker.strangers:  # what was held until then has come with no entry of ours
            await self._find_strangers()
        return unresolved

    async def _await_shown(self, bound_s: float) -> list[str]:
        """Wait for open orders of ours to be known, with what they have filled; client ids of those that are not."""
        waiting = [order.client_order_id for order in self._tracker.open_orders() if order.ours or order.held]
        waiting = list(dict.fromkeys([*waiting, *self._tracker.versions.in_doubt()]))
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + bound_s
        while True:
            waiting = [client_id for client_id in waiting if self._tracker.is_unresolved(client_id)]
            if not waiting or loop.time() >= deadline_s:
                return waiting
            await asyncio.sleep(_LOOK_S)

    def _find_rivals(self) -> list[str]:
        """Sessions of other daemons with open orders on the account."""
        ids = (order.client_order_id for order in self._tracker.open_orders() if not order.ours)
        return sorted({session for session in map(self._rival, ids) if session})

    async def _find_strangers(self) -> None:
        """Every open order that nobody here has sent."""
        products = {product_id: instrument for instrument, product_id in self._products.items()}
        unreadable = await self._settler.find_strangers(products)
        if unreadable:
            names = ", ".join(unreadable[:5])
            _log.error("%s: open orders of others that cannot be read: %s", self._venue, names)

    async def _explained(self) -> tuple[Opening, set[str], list[str]]:
        """Balances that are what was confirmed last and the fills since.  Where they are not, and executions may have
        made them so, open orders are looked up, as a record may show what the listing of fills does not yet; then the
        fills of our orders are read again, however old.  What is different then was done by others, and is told as it
        is.  Last, the orders that still lack some of theirs."""
        opening, part = await self._balances()
        short: list[str] = []
        if may_be_executed(self._unexplained(opening), self._products):
            await self._settler.look_up_open()
            short = await self._await_shown(BOUND_S)
            opening, part = await self._balances()
        if self._unexplained(opening):
            known = [order.venue_order_id for order in self._tracker.ended_orders(ORDERS_READ_AGAIN) if order.ours]
            await self._settler.read_fills_of(known)
            opening, part = await self._balances()
            for currency, (seen, expected) in self._unexplained(opening).items():
                _log.warning(
                    "%s: the balance of %s is %s, the executions make it %s: somebody else moved it, or a fill is not "
                    "listed; it is booked as the venue tells it", self._venue, currency, seen, expected,
                )  # fmt: skip
        return opening, part, short

    def _unexplained(self, opening: Opening) -> dict[str, tuple[Decimal, Decimal]]:
        """Of each currency that we trade: what is told, and what there should be, where the two are not the same."""
        if not self._expected:
            return {}
        told = {one.currency: one.total for one in opening.balances}
        traded = {name for instrument in self._products for name in instrument.partition("@")[0].split("/")}
        if opening.positions:
            # What contracts have earned, and paid for funding, no listing says: their dollars are as they are told.
            told |= {product_id_of(one.instrument): one.qty for one in opening.positions}
            traded -= {DOLLAR}
        found = {}
        for currency in sorted(traded & self._expected.keys() & told.keys()):
            expected = self._expected[currency] + self._tracker.moved.get(currency, Decimal(0))
            if told[currency] != expected:
                found[currency] = (told[currency], expected)
        return found

    async def _balances(self) -> tuple[Opening, set[str]]:
        """Balances that are those of the books, if both are right: with every fill that is booked, and no other."""
        proof = BalanceProof(OPENING_MARGIN_NS)
        try:
            for _, pause_s in zip(range(TRIES), itertools.cycle(PAUSES_S), strict=False):
                before = await self._fills()
                booked: dict[str, Fill] = {}
                self._tracker.booked_entries = booked
                opening = await self._directory.opening(self._offset_ns)
                await asyncio.sleep(LISTING_LAG_S)
                asked_ns = self._venue_now_ns()
                after = await self._fills()
                totals = {one.currency: one.total for one in opening.balances}
                found = proof.narrow(totals, opening.since_ns, before, after)
                listed = {fill.entry_id for fill in after}
                later = [fill for entry_id, fill in booked.items() if entry_id not in listed]
                if found is not None and not self._tracker.defers and came_after(later, asked_ns - SKEW_NS):
                    return self._with(opening, with_fills(found, later)), listed | booked.keys()
                await asyncio.sleep(pause_s)
        finally:
            self._tracker.booked_entries = None
        raise VenueError(
            f"{self._venue} account was traded during each of {TRIES} readings of its balances",
            expected="a moment of which the fills before and after it can be told apart",
            do="stop other programs that trade on it, or give this one a portfolio and a key of its own",
        )

    async def _fills(self) -> list[Fill]:
        """What is listed since the last listing that was read to its end, and a margin before that.  Of an account that
        is traded all the time a listing since the last confirmation would grow without end."""
        asked_ns = self._venue_now_ns()
        fills = await self._settler.read_fills_since(self._since_ns or asked_ns - LISTING_MARGIN_NS)
        self._since_ns = max(self._since_ns, asked_ns - LISTING_MARGIN_NS)
        return fills

    def _venue_now_ns(self) -> int:
        return self._clock.now_ns() + self._offset_ns()

    def _with(self, opening: Opening, totals: Totals) -> Opening:
        """The same with these totals: as the fills that came after the reading leave them."""
        now_ns = self._clock.now_ns()
        balances = [msgspec.structs.replace(one, total=totals[one.currency]) for one in opening.balances]
        # The first coins of their kind came after it.
        balances += [
            BalanceReported(now_ns, now_ns, self._venue, currency, totals[currency], totals[currency])
            for currency in sorted(totals.keys() - {one.currency for one in balances})
        ]
        return msgspec.structs.replace(opening, balances=balances)

    def _tell(self, opening: Opening, unresolved: list[str]) -> None:
        now_ns = self._clock.now_ns()
        balances = tuple((one.currency, one.total) for one in opening.balances)
        held = [(product_id_of(one.instrument), one.qty) for one in opening.positions]
        if held and self._tracker.moved == self._moved and self._are_as_confirmed(held):
            self._tell_dollars(dict(balances).get(DOLLAR), opening.positions, now_ns)
        moved = self._moved = dict(self._tracker.moved)
        self._expected = {name: total - moved.get(name, Decimal(0)) for name, total in (*balances, *held)}
        for product_id in opening.strange:
            if product_id not in self._strange:
                self._strange.add(product_id)
                _log.error(
                    "%s: the account holds contracts of %s, which this session does not trade: they use margin, and "
                    "nobody here watches them", self._venue, product_id[:40],
                )  # fmt: skip
        for position in opening.positions:
            self._publish(msgspec.structs.replace(position, ts_event_ns=now_ns, ts_recv_ns=now_ns))
        self._publish(AccountSettled(now_ns, now_ns, self._venue, balances, tuple(unresolved)))

    def _are_as_confirmed(self, held: Sequence[tuple[str, Decimal]]) -> bool:
        """Whether these numbers of contracts are those of the last confirmation, as far as there was one."""
        before = {name: qty + self._moved.get(name, Decimal(0)) for name, qty in self._expected.items()}
        return all(before.get(name, qty) == qty for name, qty in held)

    def _tell_dollars(self, told: Decimal | None, positions: Sequence[PositionReported], now_ns: int) -> None:
        """Nothing was executed since the last confirmation, and no contract came or went: what the dollars have changed
        by is funding or something else."""
        confirmed = self._expected.get(DOLLAR)
        if told is not None and confirmed is not None:
            amount = told - confirmed - self._tracker.moved.get(DOLLAR, Decimal(0))
            rates = self._directory.fundings
            paid = shares(amount, {one.instrument: -one.qty * rates.get(one.instrument, 0) for one in positions})
            for name, share in paid.items():
                # The venue names no payment; one that is in a confirmation is in none after it.
                funding_id = f"{product_id_of(name)}-{now_ns}"
                self._publish(FundingSettled(now_ns, now_ns, self._venue, name, funding_id, DOLLAR, share))
            if amount and not paid:
                _log.warning(
                    "%s: %s dollars came without an execution (funding, a settlement of contracts, a payment): booked "
                    "as the venue tells them, neither profit nor loss", self._venue, f"{amount.normalize():f}",
                )  # fmt: skip
