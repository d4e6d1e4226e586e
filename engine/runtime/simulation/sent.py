"""The invariants of what leaves: orders and changes of orders as they are written to the venue's order entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from engine.commands import ReplaceOrder, RiskState
from engine.events import Side
from engine.runtime.simulation.changes import EDIT_MARK, ChangeChecks
from engine.runtime.simulation.known import Known
from engine.runtime.simulation.rules import RulesChecks
from engine.runtime.simulation.truth import Truth

ZERO = Decimal(0)
HELD_MOST_NS = 1_000_000_000
"""How long an order may wait for the disk and still leave."""
ODD_SHARE = Decimal("0.03")
"""No order may leave at a price that is farther from the venue's own mid."""
SILENT_MOST_S = 15.0
"""A stream that tells nothing for 10 s is given up, and looked at once in a few seconds."""
NOTICED_S = 3.1
"""A session looks at its clocks on each timer: every 3 s (``sweep.TIMER_MS``)."""
ORDERS_MARK = b"POST /api/v3/brokerage/orders HTTP/1.1\r\n"


class _OrderBody(msgspec.Struct):
    client_order_id: str
    product_id: str
    side: str
    order_configuration: dict[str, dict[str, object]]


class SentChecks:
    """``max_qty``: by base, of its position.  ``fail(invariant, text)``."""

    def __init__(
        self,
        known: Known,
        truth: Truth,
        rules: RulesChecks,
        changes: ChangeChecks,
        fail: Callable[[str, str], None],
        *,
        venue: str,
        max_qty: Mapping[str, Decimal],
    ) -> None:
        self.posted: dict[str, int] = {}
        """How often each order was sent."""
        self._known = known
        self._truth = truth
        self._rules = rules
        self._changes = changes
        self._fail = fail
        self._venue = venue
        self._max_qty = max_qty

    def written(self, data: bytes) -> bool:
        """A client writes this to the venue's order entry; whether it is an order, or changes one."""
        if data.startswith(EDIT_MARK):
            self._change_written(self._changes.written(data, self._known.session, self._known.journal))
            return True
        if not data.startswith(ORDERS_MARK):
            return False
        self._order_written(msgspec.json.decode(data[data.index(b"\r\n\r\n") + 4 :], type=_OrderBody))
        return True

    def _order_written(self, body: _OrderBody) -> None:
        name = body.client_order_id
        self._check_time(name)
        (fields,) = body.order_configuration.values()
        qty = Decimal(str(fields["base_size"]))
        px = Decimal(str(fields["limit_price"])) if fields.get("limit_price") is not None else None
        mid_px = self._truth.mid_px(body.product_id)
        is_odd = px is not None and mid_px is not None and abs(px - mid_px) > ODD_SHARE * mid_px
        instrument = f"{body.product_id.replace('-', '/')}@{self._venue}"
        if px is not None and is_odd and self._known.first_px.can_judge(instrument, px):
            self._fail("D3", f"order {name} was sent at {px}, the market is at {mid_px}")
        self._rules.on_sent(name, body.product_id, body.side, qty, px)
        if body.side == "BUY":
            # On spot nothing is short: a buy always adds.
            self._check_risk(f"order {name} buys")
            awake_s = asyncio.get_running_loop().time() - self._known.woke_s
            if self._known.must_confirm and awake_s > NOTICED_S:
                self._fail("C16", f"order {name} buys {awake_s:.1f} s after a standstill, the account is not confirmed")
            # What was sent while the process stood still is read when it goes on: the stream looks alive then.
            silence_s = min(self._truth.user_silence_s(), awake_s)
            if silence_s > SILENT_MOST_S:
                self._fail("C6", f"order {name} buys, the account's stream has told nothing for {silence_s:.0f} s")
            self._check_room(f"order {name}", body.product_id.partition("-")[0], qty)

    def _check_time(self, name: str) -> None:
        """Whether the order may leave now, and for the first time."""
        known = self._known
        at = known.journaled.get(name)
        if at is None or at[1] > known.journal.durable_seq:
            self._fail("I2", f"order {name} was sent and is not in the journal")
        elif at[0] == known.session and known.core.view.now_ns - known.made_ns[name] > HELD_MOST_NS:
            self._fail("A9", f"order {name} was sent too long after its decision")
        self.posted[name] = self.posted.get(name, 0) + 1
        if self.posted[name] > 1:
            self._fail("I5", f"order {name} was sent {self.posted[name]} times")
        if known.is_unconfirmed:
            self._fail("I10", f"order {name} was sent before the account was settled")
        if known.journal.broken:
            self._fail("A8", f"order {name} was sent although the journal cannot be trusted")

    def _change_written(self, adds: ReplaceOrder | None) -> None:
        """A change of an order leaves; ``adds``: of a purchase, and by more than nothing."""
        if self._known.is_unconfirmed:
            self._fail("I10", "a change of an order was sent before the account was settled")
        if adds is None:
            return
        name, grown_qty = adds.client_order_id, max(adds.qty - adds.old_qty, ZERO)
        self._check_risk(f"order {name} buys more or dearer")
        if grown_qty:  # what others have paid in may be beyond the limit already; a dearer price adds nothing to it
            self._check_room(f"order {name}, changed to {adds.qty},", adds.instrument.partition("/")[0], grown_qty)

    def _check_risk(self, what: str) -> None:
        """Both as the gate has it and as it is on record."""
        for state in (self._known.core.gate.state, self._known.risk_state):
            if state is not RiskState.ACTIVE:
                self._fail("I4", f"{what} while risk is {state.value}")

    def _check_room(self, what: str, base: str, qty: Decimal) -> None:
        """Whether a purchase of so much more can take the position beyond its limit."""
        known = self._known
        if known.is_disturbed():
            return
        worst = self._truth.worst_base(base, Side.BUY) + qty
        worst -= max(known.untold_of_others(base), ZERO)
        if worst > self._max_qty[base]:
            self._fail("I3", f"{what} can make the position {worst}, limit {self._max_qty[base]}")
