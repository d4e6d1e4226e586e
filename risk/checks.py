"""The risk checks: pure functions, one comparison and one name each.

Each returns None when the order may pass, else a ``Finding``: the check's name, what it saw, what the limit was.  They
read no view and keep no state; the gate (``risk.gate``) decides which apply to an order and feeds them.  Text is made
only on a refusal, so that passing costs comparisons and nothing else.

Comparisons are written ``not (value <= limit)`` where a float may be NaN: what cannot be compared is refused.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from engine.arithmetic import plain
from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import Top
from engine.venues import Restriction

Finding = tuple[str, str, str]
"""``(check, seen, limit)``, as ``engine.commands.Rejected`` carries them."""

ZERO = Decimal(0)
BPS = Decimal(10_000)
SECOND_NS = 1_000_000_000

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
SIDES = (Side.BUY, Side.SELL)
_MARKET = OrderType.MARKET
_STOP = OrderType.STOP
_LIMIT = OrderType.LIMIT
_TOUCH = OrderType.MARKET_IF_TOUCHED
_BRACKET = OrderType.BRACKET
_IOC = TimeInForce.IOC
_FOK = TimeInForce.FOK
_GTD = TimeInForce.GTD
_WAITING = (TimeInForce.GTC, TimeInForce.GTD)
_ACTIVE = RiskState.ACTIVE


# --- what the order says of itself ------------------------------------------------------------------------------------


def check_order_form(intent: OrderIntent, now_ns: int) -> Finding | None:
    """The fields agree with each other and are exact, finite numbers."""
    qty, limit_px = intent.qty, intent.limit_px
    if type(qty) is not Decimal or not qty.is_finite() or qty <= ZERO:
        return ("order_form", f"qty {qty!r}", "a finite Decimal above 0")
    kind, trigger_px = intent.order_type, intent.trigger_px
    if kind is _MARKET:
        if limit_px is not None or intent.post_only:
            return ("order_form", "a market order with a limit price or post-only", "neither")
    elif kind is _STOP or kind is _TOUCH:
        if limit_px is not None or intent.post_only or intent.time_in_force not in _WAITING:
            seen = f"{kind}, limit_px {limit_px}, post_only {intent.post_only}, {intent.time_in_force}"
            return ("order_form", seen, "no limit price, not post-only, gtc or gtd")
    elif type(limit_px) is not Decimal or not limit_px.is_finite():
        return ("order_form", f"limit_px {limit_px!r}", "a finite Decimal")
    if (trigger_px is None) is (kind is not _LIMIT and kind is not _MARKET):
        expected = "a trigger on stop, market_if_touched and bracket orders only"
        return ("order_form", f"{kind} with trigger_px {trigger_px!r}", expected)
    if trigger_px is not None and (type(trigger_px) is not Decimal or not trigger_px.is_finite()):
        return ("order_form", f"trigger_px {trigger_px!r}", "a finite Decimal")
    trailing_px = intent.trailing_px
    if trailing_px is not None and (kind is not _STOP or not trailing_px.is_finite() or trailing_px <= ZERO):
        return ("order_form", f"{kind} with trailing_px {trailing_px!r}", "a stop, with a distance above 0")
    if intent.side not in SIDES:
        return ("order_form", f"side {intent.side!r}", "buy or sell")
    tif = intent.time_in_force
    if intent.post_only and (tif is _IOC or tif is _FOK):
        return ("order_form", f"post-only with {tif}", "an order that may rest")
    if tif is _GTD and (intent.expire_ns is None or intent.expire_ns <= now_ns):
        return ("order_form", f"expire_ns {intent.expire_ns}", f"after {now_ns}")
    return _check_bracket(intent) if kind is _BRACKET else None


def _check_bracket(intent: OrderIntent) -> Finding | None:
    """The target is better for its side than the trigger, and the order may wait for either."""
    limit_px, trigger_px, tif = intent.limit_px, intent.trigger_px, intent.time_in_force
    if intent.post_only or tif is _IOC or tif is _FOK:
        return ("order_form", f"a bracket with {'post-only' if intent.post_only else tif}", "gtc or gtd, not post-only")
    if limit_px is None or trigger_px is None or (trigger_px - limit_px) * intent.side <= ZERO:
        where = "below" if intent.side > 0 else "above"
        return (
            "order_form",
            f"a bracket's target {plain(limit_px)}, trigger {plain(trigger_px)}",
            f"a target {where} the trigger",
        )
    return None


def check_entry_kind(order_type: OrderType) -> Finding | None:
    """A bracket's prices are those of a way out: nothing says what it would cost to go in with them."""
    return (
        ("order_form", "a bracket that opens a position", "a bracket that closes one")
        if order_type is _BRACKET
        else None
    )


def check_precision(intent: OrderIntent, instrument: Instrument) -> Finding | None:
    """Price on the tick grid, quantity on the lot grid and within the venue's bounds (F1): never rounded here."""
    qty, limit_px, trigger_px = intent.qty, intent.limit_px, intent.trigger_px
    if qty % instrument.lot_qty:
        return ("lot", plain(qty), f"a multiple of {plain(instrument.lot_qty)}")
    if qty < instrument.min_qty:
        return ("min_qty", plain(qty), plain(instrument.min_qty))
    if qty > instrument.max_qty:
        return ("max_qty", plain(qty), plain(instrument.max_qty))
    if limit_px is not None:
        if limit_px <= ZERO and not instrument.allows_negative_px:
            return ("price_sign", plain(limit_px), "above 0")
        if limit_px % instrument.tick_px:
            return ("tick", plain(limit_px), f"a multiple of {plain(instrument.tick_px)}")
    if trigger_px is not None:
        if trigger_px <= ZERO and not instrument.allows_negative_px:
            return ("price_sign", plain(trigger_px), "above 0")
        if trigger_px % instrument.tick_px:
            return ("tick", plain(trigger_px), f"a multiple of {plain(instrument.tick_px)}")
    return None


def check_min_notional(instrument: Instrument, qty: Decimal, px: Decimal) -> Finding | None:
    """The venue's smallest order, in quote currency."""
    worth = instrument.worth_in_quote(qty, px)
    limit = instrument.min_notional
    return ("min_notional", plain(worth), plain(limit)) if worth < limit else None


# --- permission -------------------------------------------------------------------------------------------------------


def check_state(state: RiskState) -> Finding | None:
    """For orders that do not reduce: only ACTIVE lets them pass (I4)."""
    return None if state is _ACTIVE else ("risk_state", str(state), "active, or an order that reduces")


def check_allowed(instrument: str, allowed: frozenset[str]) -> Finding | None:
    return None if instrument in allowed else ("allow_list", instrument, "an allowed instrument")


def check_tradable(reason: str, intent: OrderIntent) -> Finding | None:
    """C10.  A restriction stops the kinds of orders that the venue does not take now."""
    if reason == "" or (isinstance(reason, Restriction) and not reason.stops(intent)):
        return None
    return ("tradable", str(reason), "streams up and venue trading")


def check_entry_open(reason: str) -> Finding | None:
    """For an order that adds risk and that ``check_tradable`` has passed: the account is confirmed."""
    if isinstance(reason, Restriction) and reason.exits_only:
        return ("tradable", str(reason), "an account that the venue has confirmed")
    return None


def check_short_sale(instrument: Instrument, after_qty: Decimal) -> Finding | None:
    """``after_qty``: signed position if every open sell and this one fills."""
    return (
        ("short_sale", plain(after_qty), "0: cannot be sold short")
        if after_qty < ZERO and not instrument.can_short
        else None
    )


def check_expiry(instrument: Instrument, now_ns: int) -> Finding | None:
    expiry_ns = instrument.expiry_ns
    return None if expiry_ns is None or now_ns < expiry_ns else ("expiry", str(now_ns), str(expiry_ns))


def check_opposing(others_qty: Decimal, side: Side) -> Finding | None:
    """F12: no entry against what other strategies hold.  ``others_qty``: the position less the strategy's own part."""
    if others_qty < ZERO if side > 0 else others_qty > ZERO:
        return ("opposing_strategy", plain(others_qty), "no entry against it")
    return None


# --- prices -----------------------------------------------------------------------------------------------------------


def check_quote_fresh(top: Top | None, now_ns: int, limit_ns: int) -> Finding | None:
    """There is a quote and it is young.  One from the future is as bad as an old one: a clock is wrong."""
    if top is None or top.ts_recv_ns == 0:
        return ("no_quote", "none", "a quote")
    age_ns = now_ns - top.ts_recv_ns
    if -limit_ns <= age_ns <= limit_ns:
        return None
    return ("stale_quote", f"{age_ns} ns", f"{limit_ns} ns")


def check_mark_fresh(name: str, top: Top | None, now_ns: int, limit_ns: int) -> Finding | None:
    """The same of something that is held, for what it is counted for."""
    found = check_quote_fresh(top, now_ns, limit_ns)
    return None if found is None else ("stale_mark", f"{name}: {found[1]}", f"{limit_ns} ns")


def check_book_sane(top: Top) -> Finding | None:
    """Both sides known, not crossed, not locked, not under suspicion (D2)."""
    if top.suspect:
        return ("suspect_book", "a bad tick or gap", "a good quote since")
    if top.crossed or not (top.bid_px < top.ask_px):
        return ("crossed_book", f"bid {top.bid_px} ask {top.ask_px}", "bid below ask, both known")
    return None


def check_collar(px: Decimal, reference_px: Decimal, limit_bps: Decimal, side: int = 0) -> Finding | None:
    """Distance from the reference.  ``side`` 0 judges both directions, a side only the one that pays more."""
    gap = px - reference_px
    if side <= 0:
        gap = -gap if side else abs(gap)
    if gap * BPS <= limit_bps * abs(reference_px):
        return None
    return ("collar", f"{plain(px)} against {plain(reference_px)}", f"{plain(limit_bps)} bps")


def check_spread(top: Top, limit_bps: float) -> Finding | None:
    """A market order pays the far touch: half the spread must lie within the collar."""
    mid_px = top.mid_px
    if 0.5 * (top.ask_px - top.bid_px) * 1e4 <= limit_bps * abs(mid_px):
        return None
    return ("collar", f"bid {top.bid_px} ask {top.ask_px}", f"{limit_bps} bps from mid")


# --- size and exposure ------------------------------------------------------------------------------------------------


def check_order_qty(qty: Decimal, limit: Decimal | None) -> Finding | None:
    return None if limit is not None and qty <= limit else ("max_order_qty", plain(qty), plain(limit))


def check_order_notional(notional: Decimal, limit: Decimal) -> Finding | None:
    return None if notional <= limit else ("max_order_notional", plain(notional), plain(limit))


def check_position_qty(worst_qty: Decimal, limit: Decimal | None) -> Finding | None:
    """``worst_qty``: what is held in this order's direction if every open order that way and this one fills."""
    return None if limit is not None and worst_qty <= limit else ("max_position_qty", plain(worst_qty), plain(limit))


def check_position_notional(notional: Decimal, limit: Decimal) -> Finding | None:
    return None if notional <= limit else ("max_position_notional", plain(notional), plain(limit))


def check_gross(notional: Decimal, limit: Decimal) -> Finding | None:
    return None if notional <= limit else ("max_gross_notional", plain(notional), plain(limit))


def check_net(notional: Decimal, limit: Decimal) -> Finding | None:
    return None if notional <= limit else ("max_net_notional", plain(notional), plain(limit))


def check_reduces(closable_qty: Decimal, qty: Decimal) -> Finding | None:
    """``closable_qty``: what is held against this order less what open orders of its side may already close."""
    return (
        None if qty <= closable_qty else ("reduce_only", plain(qty), f"{plain(max(closable_qty, ZERO))} left to close")
    )


def check_open_orders(count: int, limit: int) -> Finding | None:
    return None if count < limit else ("max_open_orders", str(count), str(limit))


# --- rates ------------------------------------------------------------------------------------------------------------


def check_rate(name: str, times: deque[int], limit: int, now_ns: int) -> Finding | None:
    """``times``: when the last orders (``limit`` at most) were opened, oldest first.  ``limit`` in any second pass."""
    if len(times) < limit or now_ns - times[0] >= SECOND_NS:
        return None
    return (name, f"{len(times)} orders within {now_ns - times[0]} ns", f"{limit} a second")


def check_duplicate(last_ns: int | None, now_ns: int, window_ns: int) -> Finding | None:
    """``last_ns``: when the same wish was last granted."""
    if last_ns is None or now_ns - last_ns >= window_ns:
        return None
    return ("duplicate", f"the same order {now_ns - last_ns} ns ago", f"{window_ns} ns")


# --- losses -----------------------------------------------------------------------------------------------------------


def check_daily_loss(equity: Decimal | None, day_start: Decimal | None, limit: Decimal) -> Finding | None:
    """Unknown equity counts as a breach (F6)."""
    if equity is None or day_start is None:
        return ("equity_unknown", "no valuation", "a known equity")
    return None if day_start - equity < limit else ("daily_loss", plain(day_start - equity), plain(limit))


def check_drawdown(equity: Decimal | None, peak: Decimal | None, limit_bps: Decimal) -> Finding | None:
    """Fall from the peak in basis points of the peak; without equity, or with none left, it is a breach."""
    if equity is None or peak is None:
        return ("equity_unknown", "no valuation", "a known equity")
    if equity > ZERO and (peak - equity) * BPS < limit_bps * peak:
        return None
    return ("drawdown", f"{plain(equity)} from {plain(peak)}", f"{plain(limit_bps)} bps")


# --- who and what may trade -------------------------------------------------------------------------------------------


def check_restricted(name: str, restricted: frozenset[str]) -> Finding | None:
    """``restricted`` holds ids (``BTC/USD@coinbase``) and symbols, which stand for every venue (``BTC/USD``)."""
    if name in restricted or name.partition("@")[0] in restricted:
        return ("restricted", name, "an instrument that is not on the restricted list")
    return None


def check_strategy(strategy: str, allowed: frozenset[str] | None, restricted: frozenset[str]) -> Finding | None:
    """``allowed``: None where every strategy is."""
    if strategy in restricted or (allowed is not None and strategy not in allowed):
        return ("strategy_allow_list", strategy, "an allowed strategy")
    return None


# --- the account as a whole -------------------------------------------------------------------------------------------


def check_amount(name: str, amount: Decimal, limit: Decimal | None) -> Finding | None:
    """An amount that has to be at most its limit; None: not limited."""
    return None if limit is None or amount <= limit else (name, plain(amount), plain(limit))


def check_leverage(gross: Decimal, equity: Decimal | None, limit: Decimal) -> Finding | None:
    """Gross exposure, worst case, in times of equity; unknown or no equity carries none."""
    if equity is None:
        return ("equity_unknown", "no valuation", "a known equity")
    if equity > ZERO and gross <= limit * equity:
        return None
    return ("max_leverage", f"{plain(gross)} on an equity of {plain(equity)}", f"{plain(limit)} times")


def check_margin(margin: Decimal, equity: Decimal | None, limit_bps: Decimal) -> Finding | None:
    """Margin of the worst case in basis points of equity."""
    if equity is None:
        return ("equity_unknown", "no valuation", "a known equity")
    if equity > ZERO and margin * BPS <= limit_bps * equity:
        return None
    return ("max_margin", f"{plain(margin)} of an equity of {plain(equity)}", f"{plain(limit_bps)} bps")


# --- the market that is entered on ------------------------------------------------------------------------------------


def check_wide(top: Top, limit_bps: float) -> Finding | None:
    """Bid to ask in basis points of the mid."""
    if (top.ask_px - top.bid_px) * 1e4 <= limit_bps * abs(top.mid_px):
        return None
    return ("max_spread", f"bid {top.bid_px} ask {top.ask_px}", f"{limit_bps} bps")


def check_volume(volume: float, limit: float) -> Finding | None:
    """NaN (not warm) is no volume."""
    return None if volume >= limit else ("min_volume", str(volume), str(limit))


def check_reference(px: Decimal, reference_px: Decimal | None, limit_bps: Decimal) -> Finding | None:
    """Distance from an independent price, None while that cannot be believed."""
    if reference_px is None or not reference_px.is_finite() or reference_px <= ZERO:
        return ("reference_unknown", plain(reference_px), "a fresh reference price")
    if abs(px - reference_px) * BPS <= limit_bps * reference_px:
        return None
    return ("reference_collar", f"{plain(px)} against {plain(reference_px)}", f"{plain(limit_bps)} bps")


# --- a strategy's habits and losses -----------------------------------------------------------------------------------


def check_repeats(times: deque[int], limit: int, now_ns: int, window_ns: int) -> Finding | None:
    """``times``: when the last entries (``limit`` at most) in the same direction were opened, oldest first."""
    if len(times) < limit or now_ns - times[0] >= window_ns:
        return None
    return ("repeated_execution", f"{len(times)} entries within {now_ns - times[0]} ns", f"{limit} in {window_ns} ns")


def check_orders_per_fill(orders: int, fills: int, limit: Decimal, free: int) -> Finding | None:
    """``orders`` were opened and ``fills`` executed; the first ``free`` orders are not asked."""
    if orders < free or orders < limit * fills:
        return None
    return ("orders_per_fill", f"{orders} orders, {fills} fills", f"{plain(limit)} orders for each fill")


def check_strategy_loss(day: Decimal | None, limit: Decimal) -> Finding | None:
    """``day``: a strategy's profit since the UTC day began; unknown counts as a breach (F6)."""
    if day is None:
        return ("strategy_result_unknown", "no valuation", "a known result")
    return None if -day < limit else ("strategy_daily_loss", plain(-day), plain(limit))


def check_cooldown(name: str, now_ns: int, quiet_until_ns: int) -> Finding | None:
    return None if now_ns >= quiet_until_ns else (name, f"{quiet_until_ns - now_ns} ns left", "no cool-down")
