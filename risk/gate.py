"""The gate: which checks apply to an order, in which order, and the memory that rates and duplicates need.

Owns the verdict, the order counters and the kill switch's state.  The comparisons are ``risk.checks``, the arithmetic
of exposure is ``risk.exposure``, the short way past both ``risk.screen``.  Fails closed: what is missing, broken or
raising means no entry (I12).

Reservation: an approved order is opened before the next is judged, so the open order itself is what the next one is
counted against; the gate keeps no second account that could disagree.

Controls beyond the required limits are ``risk.controls``, ``risk.throttles`` and ``risk.losses``; docs/risk.md lists
every one.

What an order that reduces a position may skip is listed in ``risk.exits``.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from engine.commands import (
    Approved,
    NewOrder,
    OrderIntent,
    Rejected,
    RiskState,
    RiskStateChanged,
    Verdict,
)
from engine.events import Halted, Reduced, Resumed, Side
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import View
from engine.stakes import CLOSERS, EVERYONE, GUARDIAN, OPERATOR, other_half
from risk import checks, self_trade
from risk.checks import BPS, ZERO, Finding
from risk.coins import check_coins
from risk.controls import Controls
from risk.exits import ExitRules, Way, check_exit, exit_worth
from risk.exposure import UnknownValueError, factor_of_touch, factor_of_trigger, known_mark, worst_case, worth
from risk.kill_switch import KillSwitch
from risk.limits import EVERY_OTHER, Limits
from risk.losses import Losses
from risk.pace import RUNAWAY_CHECKS, Pace
from risk.screen import Screen
from risk.standing import Memory
from risk.throttles import Throttles

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
_ACTIVE = RiskState.ACTIVE
_BUY, _SELL = Side.BUY, Side.SELL


class Gate:
    """Implements ``engine.ports.RiskGate`` for one account.  Deterministic: time comes from the view."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._unusable = limits.unusable()
        self._switch = KillSwitch()
        self._allowed = frozenset(limits.allowed_instruments)
        self._controls = Controls(limits)
        self._pace, self._losses, self._throttles = Pace(limits), Losses(limits), Throttles(limits)
        memory = Memory(self._pace, self._losses, self._throttles)
        self._has_losses, self._has_throttles = memory.has_losses, memory.has_throttles
        self._screen = (
            None if self._unusable else Screen(limits, self._controls, memory, self._switch, self._check_losses)
        )
        self._exits = ExitRules.of(limits)
        self._spread_bps = float(self._exits.collar_bps)
        self._market_factor = 1 + self._exits.slip_bps / BPS
        self._way = Way()
        self._last_exit: OrderIntent | None = None

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RiskState:
        return self._switch.state

    def apply(self, event: Halted | Reduced | Resumed) -> RiskStateChanged | None:
        """An operator's event; None when it changes nothing.  A resume also forgets a runaway."""
        if isinstance(event, Resumed):
            self._pace.forgive()
            self._losses.forgive()
            self._throttles.forgive()
        return self._switch.apply(event)

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        """Tighten to ``state`` (breach, broken journal, restart); never loosens.  None when it changes nothing."""
        return self._switch.latch(state, reason, ts_ns)

    def carried(self) -> str:
        """Strategies that lost their day and instruments in a cool-down, for the next session."""
        return self._losses.carried() if self._has_losses else ""

    def restore(self, carried: str) -> None:
        """Go on with them.  Raises ``msgspec.MsgspecError`` when it is not what ``carried`` returned."""
        self._losses.restore(carried)

    def breach(self, view: View) -> tuple[RiskState, str] | None:
        """The state to latch, and why.  Daily loss: REDUCING.  Drawdown, runaway loop, broken guard: HALTED.

        Unknown equity latches nothing (it is unknown at every start) but denies entries while it lasts.
        """
        try:
            if self._pace.runaway:
                return (RiskState.HALTED, self._pace.runaway)
            if self._unusable:
                return (RiskState.REDUCING, f"limit unusable: {self._unusable}")
            if self._has_losses:
                self._losses.look(view)
            equity = view.equity()
            if equity is None:
                return None
            day_start, peak = view.equity_day_start(), view.equity_peak()
            drawdown = checks.check_drawdown(equity, peak, self.limits.max_drawdown_bps)
            if drawdown is not None and drawdown[0] == "drawdown":
                return (RiskState.HALTED, f"drawdown {drawdown[1]}, limit {drawdown[2]}")
            loss = checks.check_daily_loss(equity, day_start, self.limits.max_daily_loss)
            if loss is not None and loss[0] == "daily_loss":
                return (RiskState.REDUCING, f"daily loss {loss[1]}, limit {loss[2]}")
            if self._screen is not None and drawdown is None and loss is None:
                self._screen.let_pass(equity, day_start, peak)
            return None
        except Exception as error:  # a guard that cannot judge must stop trading, not the daemon
            return (RiskState.HALTED, f"guard failed: {_brief(error)}")

    # --- orders -------------------------------------------------------------------------------------------------

    def review(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge one order.  Never raises: a failing guard is a rejection named ``guard_error``."""
        self._last_exit = None
        try:
            screen = self._screen
            if screen is not None and (not self._way.waits or self._way.is_free(view.now_ns)):
                notional = screen.worth_of(intent, view)
                if notional is not None:
                    self._last_exit = screen.exit
                    return Approved(intent, notional)
        except Exception:  # whatever is wrong with it: the checks say so in their own words
            pass
        return self._review(intent, view, False)

    def review_again(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge an order that was opened and then waited.  It is counted already: no rate and duplicate checks.  The
        view must not show the order itself among the open ones."""
        return self._review(intent, view, True)

    def on_opened(self, order: NewOrder) -> None:
        """Count an order that was opened.  One that was not just approved as an exit counts as an entry."""
        intent, ts_ns = order.intent, order.ts_ns
        if intent is self._last_exit:
            self._pace.count_exit(intent, ts_ns)
            if intent.strategy == GUARDIAN:
                self._losses.on_guardian(intent.instrument, ts_ns)
        else:
            self._pace.count_entry(intent, ts_ns)
            if self._has_throttles:
                self._throttles.count(intent, ts_ns)

    def _review(self, intent: OrderIntent, view: View, again: bool) -> Verdict:
        now_ns = 0
        try:
            now_ns = view.now_ns
            judged = self._judge(intent, view, now_ns, again)
            if isinstance(judged, Decimal):
                return Approved(intent, judged)
            # Who has hundreds of positions closed at once asks again because that is the way out.
            if judged[0] in RUNAWAY_CHECKS and not (intent.reduce_only and intent.strategy in CLOSERS):
                self._pace.count_refusal(intent, judged[0], now_ns)
        except UnknownValueError as missing:
            judged = (missing.check, missing.seen, "a known, positive value")
        except Exception as error:  # I12
            judged = ("guard_error", _brief(error), "every guard to answer")
        return Rejected(now_ns, intent, *judged)

    def _judge(self, intent: OrderIntent, view: View, now_ns: int, again: bool) -> Finding | Decimal:
        """The notional to hold, or the first finding."""
        name = intent.instrument
        try:
            instrument = view.instrument(name)
        except KeyError:
            return ("instrument", name, "a defined instrument")
        found = checks.check_order_form(intent, now_ns)
        if found is not None:
            return found
        closed = view.tradable(name)
        if closed != "" or instrument.expiry_ns is not None:
            found = checks.check_tradable(closed, intent) or checks.check_expiry(instrument, now_ns)
        found = found or checks.check_precision(intent, instrument)
        if found is not None:
            return found
        side, qty = intent.side, intent.qty
        held_qty, open_qty = view.position(name).qty, view.open_qty(name, side)
        # Signs by hand: a Decimal times an int costs three times a negation.
        closable_qty = (held_qty if side < 0 else -held_qty) - open_qty
        if intent.reduce_only:
            found = checks.check_reduces(closable_qty, qty)
            if found is not None:
                return found
        # What a strategy does not hold itself is another's, or the account's owner's: giving that away is no exit.
        leaves = qty <= closable_qty
        if leaves and intent.strategy not in CLOSERS:
            own_qty = -view.strategy_qty(intent.strategy, name) * side
            if own_qty >= qty and open_qty:
                own_qty -= _closing_qty(intent, view, (intent.strategy,)) + _closers_qty(intent, view)
                if intent.reduce_only:
                    found = checks.check_reduces(own_qty, qty)
                    if found is not None:
                        return found
            leaves = own_qty >= qty
        if not leaves:
            judged = (
                checks.check_entry_open(closed)
                or self._way.check_entry(intent, now_ns)
                or self._judge_entry(intent, view, instrument, held_qty, open_qty, now_ns, again)
            )
            if again or type(judged) is tuple:
                return judged
            if _is_hidden_exit(intent, view):
                found = self._pace.check_exit(intent, now_ns)
                self._last_exit = intent if found is None else None
                return found or judged
            if self._has_throttles:
                found = self._throttles.check(intent, view.tallies(), now_ns)
            return found or self._pace.check_entry(intent, now_ns) or judged
        found = check_exit(intent, view, instrument, now_ns, self._exits)
        if found is None and not again:
            found = self._pace.check_exit(intent, now_ns) or self._way.check(intent, view, self._market_factor)
        if found is not None:
            return found
        self._last_exit = intent
        return exit_worth(intent, view, instrument, self._market_factor)

    def _judge_entry(
        self,
        intent: OrderIntent,
        view: View,
        instrument: Instrument,
        held_qty: Decimal,
        open_qty: Decimal,
        now_ns: int,
        again: bool,
    ) -> Finding | Decimal:
        """Every check of an entry, one after the other."""
        if self._unusable:
            return ("limit_unusable", self._unusable, "a positive, finite limit")
        if self._pace.runaway:
            return ("runaway", self._pace.runaway, "an operator's resume")
        limits, name, side, qty = self.limits, intent.instrument, intent.side, intent.qty
        found = (
            checks.check_entry_kind(intent.order_type)
            or checks.check_state(self._switch.state)
            or checks.check_state(view.risk_state)
            or checks.check_allowed(name, self._allowed)
            or self._controls.check_permission(intent.strategy, name)
        )
        if found is not None:
            return found
        top = view.top(name)
        found = checks.check_quote_fresh(top, now_ns, limits.stale_quote_ns)
        if found is not None or top is None:
            return found or ("no_quote", "none", "a quote")
        found = checks.check_book_sane(top)
        if found is not None:
            return found
        mark_px = known_mark(view, instrument)
        found = self._check_price(intent, mark_px, instrument) or (
            checks.check_spread(top, self._spread_bps) if intent.limit_px is None else None
        )
        if found is None and self._controls.asks_market:
            found = self._controls.check_market(intent, view, top, mark_px, now_ns)
        if found is not None:
            return found
        orders = tuple(view.open_orders())
        # What others hide of its strategy's own position: an exit to whoever is in its way, and to what keeps its
        # strategy from entering; an entry to all that bounds what the account comes to hold.
        is_exit = _is_hidden_exit(intent, view)
        market_factor = reach = self._market_factor
        if intent.limit_px is None:
            touch = factor_of_touch(instrument, top, mark_px, side)
            market_factor, reach = max(market_factor, touch), market_factor + touch - 1
            market_factor *= factor_of_trigger(instrument, intent.trigger_px, worth(instrument, mark_px))
        exposure = worst_case(
            view,
            instrument,
            side=side,
            qty=qty,
            limit_px=intent.limit_px,
            mark_px=mark_px,
            orders=orders,
            market_factor=market_factor,
        )
        ahead_qty = (held_qty if side > 0 else -held_qty) + open_qty + qty
        # Where nothing can be sold short, the other's way out would be sold away.
        nets = (is_exit or limits.opposing == "net") and instrument.can_short
        others_qty = held_qty - view.strategy_qty(intent.strategy, name)
        if instrument.can_short:  # a strategy and its twin are no others to each other, where neither strands the other
            others_qty -= view.strategy_qty(other_half(intent.strategy), name)
        found = (
            checks.check_order_qty(qty, _of(limits.max_order_qty, name))
            or checks.check_order_notional(exposure.order, limits.max_order_notional)
            or checks.check_position_qty(ahead_qty, _of(limits.max_position_qty, name))
            or checks.check_position_notional(exposure.position, limits.max_position_notional)
            or checks.check_gross(exposure.gross, limits.max_gross_notional)
            or checks.check_net(exposure.net, limits.max_net_notional)
            or (checks.check_short_sale(instrument, -ahead_qty) if side < 0 else None)
            or checks.check_open_orders(len(orders), limits.max_open_orders)
            or (None if nets else checks.check_opposing(others_qty, side))
            or (
                check_coins(intent, view, instrument, orders=orders, mark_px=mark_px, market_factor=market_factor)
                if side > 0 and not is_exit and instrument.asset_class in FULLY_PAID
                else None
            )
            or (None if is_exit else self_trade.check_self_trade(intent, orders, mark_px, reach))
            or self._controls.check_exposure(
                intent,
                view,
                instrument,
                exposure=exposure,
                orders=orders,
                mark_px=mark_px,
                market_factor=market_factor,
            )
            or (None if is_exit else self._controls.check_marks(name, view))
            or self._check_losses(view)
            or (self._check_own_losses(intent, view, now_ns) if self._has_losses and not is_exit else None)
        )
        if found is None and is_exit and not again:  # it has waited, and nothing is let in behind it
            found = self._way.check(intent, view, self._market_factor)
        return exposure.order if found is None else found

    def _check_price(self, intent: OrderIntent, mark_px: Decimal, instrument: Instrument) -> Finding | None:
        limit_px = intent.limit_px
        found = checks.check_min_notional(instrument, intent.qty, mark_px if limit_px is None else limit_px)
        if found is not None or limit_px is None:
            return found
        reference_px = mark_px if intent.trigger_px is None else intent.trigger_px
        return checks.check_collar(limit_px, reference_px, self.limits.collar_bps)

    def _check_own_losses(self, intent: OrderIntent, view: View, now_ns: int) -> Finding | None:
        return self._losses.check(intent.strategy, intent.instrument, view.tallies(), now_ns)

    def _check_losses(self, view: View) -> Finding | None:
        equity, day_start, peak = view.equity(), view.equity_day_start(), view.equity_peak()
        screen = self._screen
        if screen is not None and screen.has_passed(equity, day_start, peak):
            return None
        found = checks.check_daily_loss(equity, day_start, self.limits.max_daily_loss) or checks.check_drawdown(
            equity, peak, self.limits.max_drawdown_bps
        )
        if found is None and screen is not None and equity is not None:
            screen.let_pass(equity, day_start, peak)
        return found


def _closing_qty(intent: OrderIntent, view: View, owners: Collection[str]) -> Decimal:
    """What open orders of the same side and of these strategies may close already."""
    found = ZERO
    for order in view.open_orders(intent.instrument):
        if order.side == intent.side and order.strategy in owners:
            found += order.leaves_qty
    return found


def _closers_qty(intent: OrderIntent, view: View) -> Decimal:
    """What the guardian's orders, and an operator's at market, may close in a moment: what the account's owner has
    besides would cover both.  What rests by hand keeps no exit back."""
    found = ZERO
    for order in view.open_orders(intent.instrument):
        by_hand = order.strategy == OPERATOR and order.limit_px is None and order.trigger_px is None
        if order.side == intent.side and (by_hand or order.strategy == GUARDIAN):
            found += order.leaves_qty
    return found


def _left_qty(intent: OrderIntent, view: View) -> Decimal:
    """What its strategy holds against it, less what open orders of that side may close of it already: its own, the
    guardian's and an operator's, and somebody else's."""
    own_qty = -view.strategy_qty(intent.strategy, intent.instrument) * intent.side
    if own_qty < intent.qty:
        return own_qty
    return own_qty - _closing_qty(intent, view, (intent.strategy, EVERYONE, *CLOSERS))


def _is_hidden_exit(intent: OrderIntent, view: View) -> bool:
    """Of an order that is judged as an entry: whether it leaves what its strategy holds, and at once."""
    return not intent.may_rest and _left_qty(intent, view) >= intent.qty


def _of(limits: dict[str, Decimal], instrument: str) -> Decimal | None:
    limit = limits.get(instrument)
    return limits.get(EVERY_OTHER) if limit is None else limit


def _brief(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    return text if len(text) <= 160 else text[:157] + "..."
