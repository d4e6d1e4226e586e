"""Which version of an order lives, as we or somebody by hand may change it in place: pure, no clock, no socket.

Owns the changes that are under way and what counts as proof.  An answer is none: it says that the venue has taken the
request.  The new version shown is proof that it was done, by the user stream or by a look-up.  The old version shown is
proof that it was not only by look-ups, twice, and so long after the answer that the request cannot be under way any
more; or when the order has ended as that.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.fills import exact
from engine.commands import ReplaceOrder
from engine.events import InputEvent, OrderReplaced, ReplaceRejected
from engine.sanity import amounts_defect

LOOKS = 2
"""Look-ups that must show the old version before a change is given up."""
STREAM_LAG_NS = 15_000_000_000
"""The user stream may be that far behind what was told: so soon a version of before proves nothing."""
LAG_NS = 1_000_000_000
"""A look-up may be that far behind what was shown before: so soon it proves no return to an older version."""
_DEAD = frozenset({"CANCELLED", "EXPIRED", "FAILED"})
_SHOWN = frozenset({"OPEN", "FILLED"})
"""Statuses under which price and size are those that trade, or have traded."""
NS_PER_S = 1_000_000_000


class Version(NamedTuple):
    """``qty`` in all, what has filled included; ``px`` None: not told."""

    qty: Decimal
    px: Decimal | None


class _Edit(msgspec.Struct, gc=False):
    client_order_id: str
    old: Version
    new: Version
    asked_ns: int
    is_return: bool
    """The order was like that before: a message that was under way may show it."""
    answered_ns: int = 0
    """When the answer came or was given up; 0 before."""
    taken: bool = False
    looks: int = 0


class _Known(msgspec.Struct, gc=False):
    """A version that was told, since when, and those before it."""

    client_order_id: str
    version: Version
    since_ns: int
    past: set[Version]
    is_doubtful: bool = False
    """An earlier session's: what it knew last may have been lost with its disk."""
    is_over: bool = False
    """It has filled as this as far as the earlier session knew, and something shows it as open."""
    is_revived: bool = False
    """It was shown to be larger than that."""
    has_filled: bool = False
    """The stream has shown it filled: a look-up that shows it open is behind."""

    def has_been(self, version: Version) -> bool:
        return version == self.version or version in self.past


class Versions:
    """Of one account, by the venue's order ids."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._edits: dict[str, _Edit] = {}
        self._known: dict[str, _Known] = {}
        self._strange: dict[str, None] = {}

    def __len__(self) -> int:
        """Orders that are followed."""
        return len(self._known)

    def is_known(self, order_id: str) -> bool:
        return order_id in self._known

    def is_pending(self, order_id: str) -> bool:
        """Whether a change of it is under way, or of unknown outcome."""
        return order_id in self._edits

    def is_doubtful(self, order_id: str) -> bool:
        """Whether that is so, or it is an earlier session's order that the venue has not shown yet."""
        known = self._known.get(order_id)
        return order_id in self._edits or (known is not None and known.is_doubtful)

    def in_doubt(self) -> list[str]:
        """Client ids of those."""
        return [known.client_order_id for order_id, known in self._known.items() if self.is_doubtful(order_id)]

    def follow(self, client_order_id: str, order_id: str, version: Version, *, is_doubtful: bool = False) -> None:
        """An order that was sent as this one, or that an earlier session has left so (``is_doubtful``)."""
        self._known[order_id] = _Known(client_order_id, version, 0, set(), is_doubtful)

    def doubt_end(self, client_order_id: str, order_id: str, version: Version, now_ns: int) -> None:
        """One that has filled as this for an earlier session is shown as open: by what may be behind."""
        self._known[order_id] = _Known(client_order_id, version, now_ns, set(), is_doubtful=True, is_over=True)

    def take_revived(self, order_id: str) -> bool:
        """Whether a look-up has shown since the last call that such an order lives on."""
        known = self._known.get(order_id)
        if known is None or not known.is_revived:
            return False
        known.is_revived = False
        return True

    def take_strange(self) -> list[str]:
        """Client ids of orders that were shown as what nobody here knows of, by the stream or a listing, since the
        last call."""
        strange, self._strange = list(self._strange), {}
        return strange

    # --- what is asked ----------------------------------------------------------------------------------------------

    def begin(self, replace: ReplaceOrder, now_ns: int) -> None:
        """It is about to leave, or an earlier session has sent it."""
        order_id = replace.venue_order_id
        old, new = Version(replace.old_qty, replace.old_px), Version(replace.qty, replace.limit_px)
        known = self._known.setdefault(order_id, _Known(replace.client_order_id, old, 0, set()))
        self._edits[order_id] = _Edit(replace.client_order_id, old, new, now_ns, new in known.past)

    def answered(self, order_id: str, now_ns: int, *, taken: bool) -> None:
        """By the venue, which has ``taken`` it, or by nobody."""
        edit = self._edits.get(order_id)
        if edit is not None:
            edit.answered_ns, edit.taken = now_ns, taken

    def ended(self, order_id: str) -> None:
        """Its end was told; what is in doubt is asked about on."""
        if not self.is_doubtful(order_id):
            self._forget(order_id)

    def drop(self, order_id: str) -> bool:
        """It did not leave, or was refused; whether nothing else was known by now."""
        return self._edits.pop(order_id, None) is not None

    # --- what is shown ----------------------------------------------------------------------------------------------

    def told(
        self, order: wire.UserOrder, ts_event_ns: int, ts_recv_ns: int, *, is_snapshot: bool = False
    ) -> list[InputEvent]:
        """By the user stream.  What it leaves out is not guessed, and it may be behind: it disproves nothing, but that
        an earlier session's order is still as that one knew it, in a snapshot.  A version that was never known is
        asked about (``take_strange``), also where the order has filled as that."""
        order_id, status = order.order_id, order.status
        edit, known = self._edits.get(order_id), self._known.get(order_id)
        events: list[InputEvent] = []
        shown = streamed_version(order) if status in _SHOWN else None
        if known is not None and shown is not None and not known.is_over:
            known.has_filled = known.has_filled or status == "FILLED"
            may_lag = status == "OPEN" and ts_recv_ns - known.since_ns < STREAM_LAG_NS
            if edit is not None and shown == edit.new and not edit.is_return:
                events.append(self._done(order_id, edit, ts_event_ns, ts_recv_ns))
            elif edit is None and is_snapshot and known.is_doubtful and status == "OPEN" and shown.px is not None:
                known.is_doubtful = False
                if shown != known.version:
                    events += self._tell(order_id, known.client_order_id, shown, ts_recv_ns)
            elif (
                edit is None
                and shown.px is not None
                and shown != known.version
                and not (may_lag and known.has_been(shown))
            ):
                known.is_doubtful = known.is_doubtful or status == "FILLED"
                self._strange[known.client_order_id] = None
        if status in _DEAD or (status == "FILLED" and not self.is_doubtful(order_id)):
            self._forget(order_id)
        return events

    def looked_up(self, order: wire.RestOrder, asked_ns: int, now_ns: int, grace_ns: int) -> list[InputEvent]:
        """By a look-up that was asked at ``asked_ns``."""
        order_id, edit = order.order_id, self._edits.get(order.order_id)
        if order.status in _DEAD:
            self._forget(order_id)
            return []
        shown = listed_version(order)
        if order.status not in _SHOWN or shown is None or order_id not in self._known:
            return []
        known = self._known[order_id]
        if known.is_over and not self._lives_on(order, shown, asked_ns, grace_ns):
            return []
        if known.has_filled and order.status == "OPEN":
            return []
        if asked_ns:
            known.is_doubtful = False
        if edit is None:
            return self._compare(order, shown, asked_ns, now_ns, grace_ns)
        events: list[InputEvent] = []
        if shown == edit.new and (order.status == "FILLED" or not self._may_be_behind(order_id, edit, asked_ns)):
            events.append(self._done(order_id, edit, now_ns, now_ns))
        elif order.status == "FILLED":
            del self._edits[order_id]
            if shown != edit.old:
                events += self._tell(order_id, edit.client_order_id, shown, now_ns)
            events.append(self._not_done(edit, "unknown_order", "it filled as it was before", now_ns))
        elif shown != edit.new and asked_ns >= edit.asked_ns:
            if shown != edit.old:
                if known.has_been(shown) and asked_ns - known.since_ns < grace_ns:
                    return []  # it may be behind
                events += self._tell(order_id, edit.client_order_id, shown, now_ns)
                edit.old = shown
            edit.looks += 1
            if edit.answered_ns and edit.looks >= LOOKS and asked_ns - edit.answered_ns >= grace_ns:
                del self._edits[order_id]
                why = "the venue took it" if edit.taken else "its answer was lost"
                text = f"{why}, and {edit.looks} look-ups show the order as before, the last"
                text += f" {(asked_ns - edit.answered_ns) / NS_PER_S:.1f} s later"
                events.append(self._not_done(edit, "never_arrived", text, now_ns))
        if order.status == "FILLED":
            self._forget(order_id)
        return events

    def _lives_on(self, order: wire.RestOrder, shown: Version, asked_ns: int, grace_ns: int) -> bool:
        """Whether a look-up shows an order that has filled as larger than that: long enough after the doubt arose, as
        it may be of before the order was made smaller."""
        known = self._known[order.order_id]
        if not asked_ns or (order.status == "OPEN" and asked_ns - known.since_ns < grace_ns):
            return False
        is_larger = shown.px is not None and shown.qty > known.version.qty
        known.is_over, known.is_revived = not is_larger, is_larger
        if order.status == "FILLED" and not is_larger:
            self._forget(order.order_id)
        return is_larger

    def _may_be_behind(self, order_id: str, edit: _Edit, asked_ns: int) -> bool:
        """Whether a look-up that shows the new version may be telling of the time before the old one."""
        return edit.is_return and asked_ns < max(edit.asked_ns, self._known[order_id].since_ns + LAG_NS)

    def _compare(
        self, order: wire.RestOrder, shown: Version, asked_ns: int, now_ns: int, grace_ns: int
    ) -> list[InputEvent]:
        """Nothing is under way: it must be what was told last.  A change that was given up may come after all, and
        somebody may change it by hand; a look-up may be behind one that was just done, and shows one of before then.  A
        listing proves nothing; one that nobody here knows of is asked about."""
        known = self._known[order.order_id]
        if order.status == "FILLED" and asked_ns:
            self._forget(order.order_id)
        may_lag = order.status != "FILLED" and asked_ns - known.since_ns < grace_ns
        if may_lag and not asked_ns and not known.has_been(shown):
            self._strange[known.client_order_id] = None
        if shown == known.version or (may_lag and (not asked_ns or known.has_been(shown))):
            return []
        return self._tell(order.order_id, known.client_order_id, shown, now_ns)

    def _tell(self, order_id: str, client_order_id: str, shown: Version, now_ns: int) -> list[InputEvent]:
        if shown.px is None:
            return []
        known = self._known.get(order_id)
        if known is not None:
            known.past.add(known.version)
            known.version, known.since_ns = shown, now_ns
        return [OrderReplaced(now_ns, now_ns, self._venue, client_order_id, order_id, shown.qty, shown.px)]

    def _done(self, order_id: str, edit: _Edit, ts_event_ns: int, ts_recv_ns: int) -> InputEvent:
        self._edits.pop(order_id, None)
        known = self._known[order_id]
        known.past.add(known.version)
        known.version, known.since_ns, known.is_doubtful = edit.new, ts_recv_ns, False
        qty, px = edit.new
        assert px is not None
        return OrderReplaced(ts_event_ns, ts_recv_ns, self._venue, edit.client_order_id, order_id, qty, px)

    def _not_done(self, edit: _Edit, reason: str, text: str, now_ns: int) -> InputEvent:
        return ReplaceRejected(now_ns, now_ns, self._venue, edit.client_order_id, reason, text)

    def _forget(self, order_id: str) -> None:
        """It has ended, and its end takes a change with it."""
        self._edits.pop(order_id, None)
        self._known.pop(order_id, None)


def listed_version(order: wire.RestOrder) -> Version | None:
    """What a look-up shows: the newest change in its history, and what it is configured to be where there is none.

    Whether its configuration follows a change was never asked of the venue; the history is about nothing else.  None
    for what cannot be read.
    """
    size = order.size_and_price()
    configured = None if size is None else _sane(*size)
    history = sorted(order.edit_history or [], key=lambda edit: edit.replace_accept_timestamp)
    if not history:
        return configured
    qty, px = exact(history[-1].size), exact(history[-1].price)
    return None if qty is None or px is None else _sane(qty, px)


def streamed_version(order: wire.UserOrder) -> Version | None:
    """What the user stream shows.  Of an order with a trigger its price is no limit of what it may cost: none is told.
    None for what cannot be read."""
    filled_qty, left_qty = exact(order.cumulative_quantity), exact(order.leaves_quantity)
    if filled_qty is None or left_qty is None:
        return None
    px = exact(order.limit_price)
    return _sane(filled_qty + left_qty, None if px is None or px <= 0 or exact(order.stop_price) else px)


def _sane(qty: Decimal, px: Decimal | None) -> Version | None:
    """None where it is no version that any order can have."""
    amounts = (qty,) if px is None else (qty, px)
    return None if amounts_defect(*amounts) or min(amounts) <= 0 else Version(qty, px)
