"""Orders changed in place: the request, its answer, and that nobody believes either until the venue shows the order.

Owns the bytes of ``POST /orders/edit``, when they leave and what an answer proves.  Which version lives is
``versions``'s to say, by what the user stream and look-ups show.  A change is sent once: what has no answer may have
been done.

Source: Coinbase Advanced Trade API, REST reference (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.auth import TokenPool
from connectors.coinbase.order_checks import CHECK_AFTER_S
from connectors.coinbase.orders import PREFIX, Answer, read_order_answer, request_head
from connectors.coinbase.refusals import refusal_reason, told
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.http import OrderWriter
from connectors.ratelimit import TokenBucket
from connectors.verdicts import Verdict
from engine.commands import ReplaceOrder
from engine.errors import LocalProtocolError
from engine.events import ReplaceOutcomeUnknown, ReplaceRejected
from engine.ports import Clock, Publish

EDIT_ROUTE = ("POST", f"{PREFIX}/orders/edit")
_HAS_ENDED: Final = "ONLY_OPEN_ORDERS_CAN_BE_EDITED"
_REASONS: Final = {
    "CANNOT_EDIT_TO_BELOW_FILLED_SIZE": "invalid_qty",
    "INVALID_EDITED_SIZE": "invalid_qty",
    "INVALID_EDITED_PRICE": "invalid_px",
    "ORDER_NOT_FOUND": "unknown_order",
    _HAS_ENDED: "unknown_order",
    "CALLER_ID_MISMATCH": "permission_denied",
    "ONLY_LIMIT_ORDER_EDITS_SUPPORTED": "unsupported",
    "SIZE_IN_QUOTE_EDITS_NOT_ALLOWED": "unsupported",
    "INVALID_ORIGINAL_SIZE": "unsupported",
    "INVALID_ORIGINAL_PRICE": "unsupported",
    "COMMANDER_REJECTED_EDIT_ORDER": "refused",
}
_PROVE_NOTHING: Final = frozenset({"EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST", "ORDER_IS_ALREADY_BEING_REPLACED"})
"""The order is like that already, or about to be: by a change whose answer nobody has heard."""


class _EditError(msgspec.Struct):
    edit_failure_reason: str = ""
    preview_failure_reason: str = ""


class _EditAnswer(msgspec.Struct):
    """``{"success":true,"success_response":{"order_id":"a1b2"}}`` or ``{"success":false,"errors":[{
    "edit_failure_reason":"INVALID_EDITED_PRICE","preview_failure_reason":"PREVIEW_INVALID_PRICE_PRECISION"}]}``."""

    success: bool
    errors: list[_EditError] = []


class EditCounters(msgspec.Struct):
    sent: int = 0
    refused: int = 0
    unknown: int = 0


class Edits:
    """Of one account.  ``publish`` takes what becomes of them."""

    def __init__(
        self,
        venue: str,
        *,
        host: str,
        publish: Publish,
        clock: Clock,
        writer: OrderWriter,
        tokens: TokenPool,
        tracker: OrderTracker,
        settler: Settler,
        bucket: TokenBucket,
    ) -> None:
        self.counters = EditCounters()
        self._venue = venue
        self._publish = publish
        self._clock = clock
        self._writer = writer
        self._tokens = tokens
        self._tracker = tracker
        self._settler = settler
        self._bucket = bucket
        self._head = request_head(EDIT_ROUTE, host)
        self._token = tokens.keep(*EDIT_ROUTE)

    def send(self, replace: ReplaceOrder) -> None:
        """Raises nothing (``engine.ports.EditingGateway``)."""
        name, order_id, now_ns = replace.client_order_id, replace.venue_order_id, self._clock.now_ns()
        tracked = self._tracker.get(name)
        if tracked is None or tracked.end or not order_id or tracked.venue_order_id != order_id:
            self._refuse(name, "unknown_order", "no open order of that id")
            return
        if self._tracker.versions.is_pending(order_id):
            self._refuse(name, "too_many_in_flight", "a change of it is under way")
            return
        try:
            body = encode_edit(replace)
        except LocalProtocolError as error:
            self._refuse(name, "unencodable", str(error))
            return
        if not self._bucket.try_take(now_ns):
            self._refuse(name, "rate_limited", "the request budget is used up")
            return
        token = self._tokens.token(self._token)
        request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, token, len(body), body)
        self._tracker.versions.begin(replace, now_ns)
        try:
            written = self._writer.try_send(request, partial(self._on_answer, replace), partial(self._on_lost, replace))
        except Exception as error:
            # Part of it may have left: no evidence either way.
            self._on_lost(replace, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.sent += 1
        else:
            self._bucket.give_back()
            self._tracker.versions.drop(order_id)
            self._refuse(name, "no_connection", "no free connection for orders")

    # --- answers ----------------------------------------------------------------------------------------------------

    def _on_answer(self, replace: ReplaceOrder, status: int, body: bytes) -> None:
        answer, now_ns = read_edit_answer(status, body), self._clock.now_ns()
        name, order_id, versions = replace.client_order_id, replace.venue_order_id, self._tracker.versions
        if status < 300:
            self._bucket.succeeded(now_ns)
        if answer.reason == "unauthorized":
            self._tokens.discard()
        if answer.verdict is Verdict.UNKNOWN:
            self._on_lost(replace, answer.reason)
        elif not versions.is_pending(order_id):
            return  # the user stream has shown which version lives, or that neither does
        elif answer.verdict is Verdict.ACCEPTED:
            versions.answered(order_id, now_ns, taken=True)
            self._settler.checks.check_change(name, CHECK_AFTER_S)
        elif answer.text == _HAS_ENDED:
            # As which version its end says: the request may have arrived twice, and filled it the first time.
            versions.answered(order_id, now_ns, taken=False)
            self._settler.checks.check_now(name)
        else:
            versions.drop(order_id)
            self._refuse(name, answer.reason, answer.text)
            if answer.reason == "unknown_order":
                self._settler.checks.check_now(name)  # it has ended, and nobody has told

    def _on_lost(self, replace: ReplaceOrder, reason: str) -> None:
        name, order_id, versions = replace.client_order_id, replace.venue_order_id, self._tracker.versions
        if not versions.is_pending(order_id):
            return
        self.counters.unknown += 1
        now_ns = self._clock.now_ns()
        versions.answered(order_id, now_ns, taken=False)
        self._publish(ReplaceOutcomeUnknown(now_ns, now_ns, self._venue, name, reason))
        self._settler.checks.check_change(name)

    def _refuse(self, name: str, reason: str, text: str) -> None:
        """The order is as it was."""
        self.counters.refused += 1
        now_ns = self._clock.now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()
        self._publish(ReplaceRejected(now_ns, now_ns, self._venue, name, reason, plain))


def encode_edit(replace: ReplaceOrder) -> bytes:
    """The JSON body of POST /orders/edit: ``{"order_id":"a1b2","price":"60000","size":"0.002"}``.  What is left out is
    zero to the venue, so both are always sent.  Raises ``LocalProtocolError`` for what is no amount."""
    for what, amount in (("quantity", replace.qty), ("price", replace.limit_px)):
        if not amount.is_finite() or amount <= 0:
            raise LocalProtocolError(f"a change to the {what} {amount}", expected="more than 0")
    fields = {
        "order_id": replace.venue_order_id,
        "price": wire.plain(replace.limit_px),
        "size": wire.plain(replace.qty),
    }
    return wire.encode_json(fields)


def read_edit_answer(status: int, body: bytes) -> Answer:
    """What the answer to POST /orders/edit proves: that it was taken, that it was refused, or (in doubt) nothing.

    The venue refuses with HTTP 200 and ``success: false``.
    """
    if status != 200:
        return read_order_answer(status, body)
    try:
        answer = msgspec.json.decode(body, type=_EditAnswer, strict=False)
    except wire.UNREADABLE:
        return Answer(Verdict.UNKNOWN, reason="unreadable_answer")
    if answer.success:
        return Answer(Verdict.ACCEPTED)
    names = [one.edit_failure_reason for one in answer.errors if one.edit_failure_reason]
    if not names or _PROVE_NOTHING.intersection(names) or names[0].startswith("UNKNOWN_"):
        return Answer(Verdict.UNKNOWN, reason=(names[0].lower() if names else "unknown_reason")[:80])
    preview = refusal_reason(wire.OrderError(preview_failure_reason=answer.errors[0].preview_failure_reason))
    word = _REASONS.get(names[0], names[0].lower()[:80])
    if preview != "unknown_reason" and word in ("refused", "invalid_qty", "invalid_px"):
        word = preview
    reason, text = told(word, names[0][:80])
    return Answer(Verdict.REJECTED, reason=reason, text=text)
