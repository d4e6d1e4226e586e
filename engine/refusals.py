"""The words in which a refused order is told, whatever the venue: what each means, and what to do.

Owns the list.  ``OrderRejected.reason`` is one of these words; connectors translate what their venue says, and the
venue's own words stay in ``OrderRejected.text``.  ``docs/orders.md`` has the same table; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Advice(NamedTuple):
    means: str
    do: str


REFUSED: Final = "refused"
NO_GATEWAY: Final = "no_gateway"
"""For what has no word here."""
WORDS: Final[Mapping[str, Advice]] = MappingProxyType(
    {
        word: Advice(means, do)
        for word, means, do in (
            # The order's own fields.
            ("above_maximum", "larger than the venue takes", "a smaller quantity"),
            ("below_minimum", "smaller than the venue takes, in quantity or in worth", "a larger quantity"),
            ("expiry_in_past", "its time is up", "a later `expire_ns`"),
            ("invalid_client_id", "the venue does not take our id", "keep the journal: a defect of ours"),
            ("invalid_expiry", "no expiry, or one the venue does not take", "look at `time_in_force` and `expire_ns`"),
            ("invalid_px", "a price that is missing, not positive or on the wrong side", "look at its prices"),
            ("invalid_px_precision", "a price off the venue's grid", "the rule is read again; look at its prices"),
            ("invalid_qty", "a quantity that is missing or not positive", "look at its quantity"),
            (
                "invalid_qty_precision",
                "a quantity off the venue's grid",
                "the rule is read again; look at its quantity",
            ),
            ("invalid_request", "the venue does not take the request as it is", "read the text"),
            ("post_only_would_cross", "a post-only order that would trade at once", "a price further away"),
            ("too_far", "a price too far from the market", "a price nearer to it"),
            ("too_near", "a price too near to the market", "a price further away"),
            ("unencodable", "it cannot be written as the venue's request", "keep the journal: a defect of ours"),
            ("unknown_instrument", "the venue has no such instrument", "look at the symbol"),
            ("unsupported", "the venue has no such kind of order", "another kind ([orders](orders.md))"),
            # What it refers to.
            ("duplicate_client_id", "the venue has an order of this id", "keep the journal: ids are never used twice"),
            ("exit_exists", "the trade has such an exit", "cancel that one first"),
            ("exit_refused", "against the venue's rules of exits", "read the text"),
            ("guarantee_refused", "the venue does not guarantee this stop", "nothing: a plain one takes its place"),
            ("nothing_to_close", "there is no position that it would close", "look at the position"),
            ("unknown_order", "the order it refers to is not there", "nothing: it has ended"),
            ("unknown_trade", "the trade it refers to is not there", "nothing: it was closed"),
            # The account and its key.
            ("account_locked", "the account may not trade", "ask the venue"),
            ("insufficient_funds", "not enough money or margin", "a smaller order, or more money"),
            ("insufficient_position", "not enough of what it sells", "look at the position, and at what rests"),
            ("permission_denied", "the key may not do this", "give the key the right to trade, or use another"),
            ("sell_only", "the account or the instrument can only be sold", "sell, or ask the venue"),
            ("too_many_orders", "as many orders rest as the venue allows", "cancel some"),
            ("unauthorized", "the key is not taken", "look at the key file, the address it is bound to, the clock"),
            # The market.
            ("no_liquidity", "nobody to trade with", "a limit order, or wait"),
            ("no_price", "the venue has no price", "wait"),
            ("trading_halted", "halted or closed", "wait for its hours"),
            # The venue.
            ("clock", "the venue does not take our time or nonce", "set the clock; one program a key"),
            ("internal", "an error inside the venue, which says that it took nothing", "wait"),
            ("maintenance", "the venue is in maintenance", "wait"),
            ("rate_limited", "too many requests, by the venue's count or ours", "fewer orders"),
            ("unavailable", "the venue does not answer as itself", "wait"),
            (REFUSED, "none of these: the venue's own words are in the text", "read the text"),
            # Our side: nothing has left, or nothing arrived.
            ("account_unconfirmed", "the account is not confirmed yet, or the session only checks", "nothing"),
            ("cancelled_before_sent", "cancelled while it waited to be sent", "nothing"),
            ("core_failed", "the core failed after it was opened", "keep the journal: a defect of ours"),
            ("never_arrived", "its answer was lost, and no listing shows it", "look at the connection"),
            ("no_connection", "no connection to send it on was free", "look at the connection"),
            (NO_GATEWAY, "no connector trades at this venue", "look at the instrument's venue"),
            ("not_sent", "it waited too long to be sent, and was given up", "nothing; often: fewer orders"),
            ("shadow", "the session only watches", "nothing"),
            ("stopped", "the session ends", "nothing"),
            ("too_many_in_flight", "too many orders wait for their answers", "fewer orders at once"),
            ("watchdog", "halted from outside", "see the [runbook](runbook.md)"),
        )
    }
)


def worded(reason: str, text: str = "") -> tuple[str, str]:
    """``(word, text)`` as they are told: a reason that is no word here goes to the front of the text."""
    if reason in WORDS:
        return reason, text
    return REFUSED, text if reason.lower() in text.lower() else f"{reason}: {text}".removesuffix(": ")
