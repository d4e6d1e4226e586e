"""The short way through the gate: the common order, which plainly passes every check.

Owns functions that may say "this passes" and otherwise say nothing: then the gate asks every check (``risk.gate``,
``risk.checks``, ``risk.exits``, ``risk.exposure``) from the beginning.  So it decides no refusal and names none.

Why it cannot approve what the checks refuse: it looks at the same values with the same Decimal operations in the same
order, or by bounds that are stricter than they are, and gives up wherever the long way would need more than that.  It
takes limit orders without a trigger on instruments that are no inverse contracts, have positive prices and no expiry.
Entries it takes in accounts where all that is held or open lies in this instrument and in this order's direction.
There the formulas of
``risk.exposure`` become ``ahead_qty * ahead_worth * rate`` for position, gross and net alike: what is held is part of
``ahead_qty`` and is worth no more at the mark, so the other direction never counts for more.  It is a bound of the
part of the strategy and its twin, of each group and of the credit in use as well, so the smallest of all those limits
(``risk.controls.Ceiling``) stands for them.  NaN raises where it is
compared and an infinity exceeds some limit; both end in the long way.  A test compares the two ways.

What depends on limits, definitions and rates alone is worked out once for each (``risk.bounds``, ``risk.standing``),
what depends on equity when it was valued (``let_pass``); nothing of it is kept by its age.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from engine.ports import OpenOrder, Top, View
from engine.stakes import CLOSERS
from risk.bounds import Bounds
from risk.checks import BPS, ZERO, Finding
from risk.controls import Controls
from risk.exposure import ONE
from risk.kill_switch import KillSwitch
from risk.limits import Limits
from risk.standing import Memory, Standing

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
_LIMIT = OrderType.LIMIT
_IOC = TimeInForce.IOC
_GTC = TimeInForce.GTC
_BUY, _SELL = Side.BUY, Side.SELL
_ACTIVE = RiskState.ACTIVE
ENDLESS = Decimal("Infinity")
STRATEGIES_MAX = 1_000
"""Names of strategies whose standings are remembered for one instrument; a session has a handful."""


class Screen:
    """The limits of one account, laid out for comparing.  Needs usable limits (``Limits.unusable``)."""

    __slots__ = (
        "_asks_equity",
        "_asks_market",
        "_asks_marks",
        "_bounds",
        "_check_losses",
        "_collar",
        "_controls",
        "_early_ns",
        "_highest",
        "_limits",
        "_lowest",
        "_memory",
        "_most",
        "_most_margin",
        "_pace",
        "_passed_day_start",
        "_passed_equity",
        "_passed_peak",
        "_stale_ns",
        "_switch",
        "exit",
    )

    def __init__(
        self,
        limits: Limits,
        controls: Controls,
        memory: Memory,
        switch: KillSwitch,
        check_losses: Callable[[View], Finding | None],
    ) -> None:
        """``check_losses`` tells the screen what it has passed (``let_pass``)."""
        self._limits = limits
        self._controls = controls
        self._memory, self._pace = memory, memory.pace
        self._switch = switch
        self._check_losses = check_losses
        self._asks_market, self._asks_equity = controls.asks_market, controls.asks_equity
        self._asks_marks = controls.asks_marks
        self._most: Decimal | None = None
        """Exposure that equity carries; None: nobody knows."""
        self._most_margin = ZERO
        """What margin in basis points has to stay within, where it is asked for."""
        # A power of ten more or less changes no digit of a product: one multiplication is spared.
        self._collar = limits.collar_bps / BPS
        self._highest, self._lowest = ONE + self._collar, max(ONE - self._collar, ZERO)
        self._stale_ns, self._early_ns = limits.stale_quote_ns, -limits.stale_quote_ns
        self._bounds: dict[str, Bounds] = {}
        self._passed_equity: Decimal | None = None
        self._passed_day_start: Decimal | None = None
        self._passed_peak: Decimal | None = None
        self.exit: OrderIntent | None = None
        """The order that was passed last, if it reduces."""

    def has_passed(self, equity: Decimal | None, day_start: Decimal | None, peak: Decimal | None) -> bool:
        """Whether these are the values that were found to be no loss last: they move with valuations, not with orders,
        and the same three objects need no second look."""
        return (
            equity is not None
            and equity is self._passed_equity
            and day_start is self._passed_day_start
            and peak is self._passed_peak
        )

    def let_pass(self, equity: Decimal, day_start: Decimal | None, peak: Decimal | None) -> None:
        """They are no loss that a breaker stands for; how much exposure such an equity carries is worked out now."""
        self._weigh(equity)
        self._passed_equity, self._passed_day_start, self._passed_peak = equity, day_start, peak

    def _weigh(self, equity: Decimal) -> None:
        self._most = None
        if not self._asks_equity or equity <= ZERO:
            return
        leverage, margin_bps = self._limits.max_leverage, self._limits.max_margin_bps
        if margin_bps is not None:
            self._most_margin = margin_bps * equity
        self._most = ENDLESS if leverage is None else leverage * equity

    def worth_of(self, intent: OrderIntent, view: View) -> Decimal | None:
        """Portfolio currency that the order holds, when it plainly passes every check; None when they have to say.

        Looks no instrument, price or amount up that the checks do not look at too.  Raises ``KeyError`` when the
        instrument is not defined.
        """
        self.exit = None
        now_ns = view.now_ns
        name, qty, limit_px, side = intent.instrument, intent.qty, intent.limit_px, intent.side
        instrument = view.instrument(name)
        bounds = self._bounds.get(name)
        if bounds is None or bounds.instrument is not instrument:
            bounds = self._bounds[name] = Bounds(instrument, self._limits, listed=name in view.instruments())
        if (
            not bounds.is_plain
            or intent.order_type is not _LIMIT
            or type(qty) is not Decimal
            or type(limit_px) is not Decimal
            or intent.trigger_px is not None
            or intent.trailing_px is not None
        ):
            return None
        tif = intent.time_in_force
        if (side is not _BUY and side is not _SELL) or (tif is not _GTC and (tif is not _IOC or intent.post_only)):
            return None
        if not qty >= bounds.low_qty or qty % bounds.lot_qty or limit_px % bounds.tick_px or view.tradable(name) != "":
            return None
        top = view.top(name)
        if top is None or top.ts_recv_ns == 0 or not self._early_ns <= now_ns - top.ts_recv_ns <= self._stale_ns:
            return None
        if top.suspect or top.crossed or not (top.bid_px < top.ask_px):
            return None
        held_qty, open_qty = view.position(name).qty, view.open_qty(name, side)
        # What is held in this order's direction when it and every open one of its side have filled.
        if (held_qty or open_qty) and (held_qty if side is _BUY else -held_qty) + open_qty + qty <= ZERO:
            return self._worth_of_exit(intent, view, bounds, open_qty, now_ns)
        if intent.reduce_only or self._pace.runaway:
            return None
        if self._switch.state is not _ACTIVE or view.risk_state is not _ACTIVE:
            return None
        equity = view.equity()
        if (
            equity is None
            or equity is not self._passed_equity
            or view.equity_day_start() is not self._passed_day_start
            or view.equity_peak() is not self._passed_peak
        ) and self._check_losses(view) is not None:
            return None
        return self._worth_of_entry(intent, view, bounds, top, held_qty, open_qty, now_ns)

    def _worth_of_entry(
        self,
        intent: OrderIntent,
        view: View,
        bounds: Bounds,
        top: Top,
        held_qty: Decimal,
        open_qty: Decimal,
        now_ns: int,
    ) -> Decimal | None:
        """The part of it that is about entries: price, size, exposure, number and direction of orders, and what is
        remembered.

        ``held_qty`` is the account's signed position, ``open_qty`` what open orders of the order's side may still fill.
        """
        name, side, qty, limit_px = intent.instrument, intent.side, intent.qty, intent.limit_px
        entry_qty = bounds.entry_qty
        if limit_px is None or entry_qty is None or qty > entry_qty or (side is _SELL and not bounds.can_short):
            return None
        standing = bounds.standings.get(intent.strategy) or self._stand(bounds, intent.strategy)
        if standing is None:
            return None
        own_qty, other_qty = view.strategy_qty(intent.strategy, name), view.strategy_qty(standing.other, name)
        is_flat = not held_qty and not open_qty
        if is_flat:
            # Nothing of one's own either: what a strategy then holds another is against.
            if own_qty or other_qty:
                return None
        elif not _is_ahead(side, held_qty, open_qty, own_qty) or (
            other_qty and not _are_ahead(side, held_qty, open_qty, own_qty, other_qty)
        ):
            return None
        if standing.asks_gross and standing.holds_elsewhere(view):
            return None
        if self._asks_marks and view.rate_markets():
            return None  # what else is held is looked at by the checks anyway
        mark_px, rate = view.mark_px(name), view.rate(bounds.settlement)
        if mark_px is None or rate is None:
            return None
        if rate is not bounds.rate and not bounds.takes_rate(rate):
            return None
        # Strictly within: what lies on the edge, where a product is rounded, is the checks' to judge.  No limit price
        # is within the collar of a mark that is not above zero, and none that is not above zero within any collar.
        is_above = limit_px > mark_px
        if not (limit_px < self._highest * mark_px if is_above else limit_px > self._lowest * mark_px):
            return None
        if bounds.has_unit_worth:  # spared multiplications
            notional = qty * limit_px
            if notional < bounds.min_notional:
                return None
            if not is_above:
                notional = mark_px * qty
        else:
            multiplier = bounds.instrument.multiplier
            if qty * limit_px * multiplier < bounds.min_notional:
                return None
            # No max(): it costs more than all of this.
            at_mark, at_limit = mark_px * multiplier, limit_px * multiplier
            notional = (at_limit if at_limit > at_mark else at_mark) * rate * qty
        if self._asks_market and not self._controls.passes_market(name, limit_px, view, top, bounds.reference, now_ns):
            return None
        if is_flat and not view.open_orders() and not view.held():
            total = notional
            if notional > standing.flat:
                return None
        else:
            if notional > standing.order:
                return None
            found = self._total(intent, view, bounds, standing, held_qty, open_qty, mark_px, rate)
            if found is None or found > standing.total:
                return None
            total = found
        if self._asks_equity and (
            self._most is None or total > self._most or (bounds.asks_margin and not self._is_margined(total, bounds))
        ):
            return None
        return notional if standing.is_calm(intent, view, now_ns) else None

    def _stand(self, bounds: Bounds, strategy: str) -> Standing | None:
        if strategy not in bounds.standings:
            if len(bounds.standings) >= STRATEGIES_MAX:
                return None
            ceiling = self._controls.ceiling(strategy, bounds.instrument.id)
            name = bounds.instrument.id
            bounds.standings[strategy] = None if ceiling is None else Standing(strategy, name, ceiling, self._memory)
        return bounds.standings[strategy]

    def _total(
        self,
        intent: OrderIntent,
        view: View,
        bounds: Bounds,
        standing: Standing,
        held_qty: Decimal,
        open_qty: Decimal,
        mark_px: Decimal,
        rate: Decimal,
    ) -> Decimal | None:
        """Worst case of the order beside what is held and open, when all of that lies in its instrument and direction;
        None when the checks have to say."""
        name, side, qty, limit_px = intent.instrument, intent.side, intent.qty, intent.limit_px
        ahead_qty = (held_qty if side is _BUY else -held_qty) + open_qty + qty
        if limit_px is None or bounds.position_qty is None or ahead_qty > bounds.position_qty:
            return None
        for other in view.held():
            if other != name:
                return None
        orders = view.open_orders()
        dearest_px = _dearest(orders, name, side, limit_px)
        if dearest_px is None or len(orders) >= standing.open_orders:
            return None
        if view.open_qty(name, _SELL if side is _BUY else _BUY):
            return None
        if not bounds.is_unit:
            multiplier = bounds.instrument.multiplier
            mark_px, dearest_px = mark_px * multiplier, dearest_px * multiplier
        total = ahead_qty * (dearest_px if dearest_px > mark_px else mark_px)
        return total if bounds.has_unit_rate else total * rate

    def _is_margined(self, total: Decimal, bounds: Bounds) -> bool:
        margin_rate = bounds.margin_rate
        return margin_rate is not None and total * margin_rate * BPS <= self._most_margin

    def _worth_of_exit(
        self, intent: OrderIntent, view: View, bounds: Bounds, open_qty: Decimal, now_ns: int
    ) -> Decimal | None:
        """The part of it that is about orders that reduce (``risk.exits``): whose it is, its price, its smallest
        worth and how many there were."""
        name, side, limit_px = intent.instrument, intent.side, intent.limit_px
        if intent.strategy not in CLOSERS:
            own_qty = view.strategy_qty(intent.strategy, name)
            # What open orders of its side may close already is nobody's to close again, here whoever's they are.
            if open_qty < ZERO or (own_qty if side is _SELL else -own_qty) < intent.qty + open_qty:
                return None
        if intent.qty > bounds.high_qty or view.open_qty(name, _SELL if side is _BUY else _BUY):
            return None
        mark_px, rate = view.mark_px(name), view.rate(bounds.settlement)
        if limit_px is None or mark_px is None or rate is None or limit_px <= ZERO or mark_px <= ZERO or rate <= ZERO:
            return None
        costs_px = limit_px - mark_px if side is _BUY else mark_px - limit_px
        if costs_px > ZERO and costs_px > self._collar * mark_px:
            return None
        qty, instrument = intent.qty, bounds.instrument
        multiplier = instrument.multiplier
        if qty * limit_px * multiplier < instrument.min_notional:
            return None
        if self._pace.check_exit(intent, now_ns) is not None:
            return None
        self.exit = intent
        at_mark, at_limit = mark_px * multiplier, limit_px * multiplier
        return (at_limit if at_limit > at_mark else at_mark) * rate * qty


def _is_ahead(side: Side, held_qty: Decimal, open_qty: Decimal, own_qty: Decimal) -> bool:
    """Whether all that is held lies in the order's direction, the strategy's part of it too and within it."""
    if open_qty < ZERO:
        return False
    if side is _BUY:
        return held_qty >= ZERO and (own_qty == held_qty or ZERO <= own_qty <= held_qty)
    return held_qty <= ZERO and (own_qty == held_qty or held_qty <= own_qty <= ZERO)


def _are_ahead(side: Side, held_qty: Decimal, open_qty: Decimal, own_qty: Decimal, other_qty: Decimal) -> bool:
    """The same of a strategy and its twin together."""
    return _is_ahead(side, held_qty, open_qty, other_qty) and _is_ahead(side, held_qty, open_qty, own_qty + other_qty)


def _dearest(orders: Sequence[OpenOrder], name: str, side: Side, px: Decimal) -> Decimal | None:
    """The highest limit price among ``px`` and the open orders; None when one of them is of another kind than ``px``:
    another instrument or side, a market order, one with a trigger."""
    for order in orders:
        other_px = order.limit_px
        if other_px is None or order.side != side or order.instrument != name or other_px <= ZERO:
            return None
        if order.trigger_px is not None or order.other_px is not None:
            return None  # its limit price is not the worst that it may trade at
        px = other_px if other_px > px else px
    return px
