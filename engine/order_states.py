"""The states of an order and what moves it from one to another, as a table.

Owns ``TABLE``, the state machine; a pair that is not in it is illegal.  Who moves orders is ``engine.orders``.
"""

from __future__ import annotations

import enum

from engine.carried import ENDED


class OrderState(enum.StrEnum):
    HELD = "held"  # journaled, waiting for the disk (journal mode "always")
    SENT = "sent"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTLY_FILLED = "partly_filled"
    CANCEL_PENDING = "cancel_pending"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class Happening(enum.StrEnum):
    SEND = "send"
    ACCEPT = "accept"
    PARTIAL_FILL = "partial_fill"
    FULL_FILL = "full_fill"
    CANCEL_SENT = "cancel_sent"
    CANCEL_REFUSED = "cancel_refused"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"
    LOSE = "lose"  # the outcome became unknown
    GROW = "grow"  # the venue shows a version that is larger than what has filled
    DROP = "drop"  # never sent: the second judgement or the disk refused it


_S = OrderState
_H = Happening
FINAL = frozenset(OrderState(name) for name in ENDED)
_LIVE = (_S.SENT, _S.UNKNOWN, _S.ACCEPTED, _S.PARTLY_FILLED, _S.CANCEL_PENDING)


def _table() -> dict[tuple[OrderState, Happening], OrderState]:
    table: dict[tuple[OrderState, Happening], OrderState] = {
        (_S.HELD, _H.SEND): _S.SENT,
        (_S.HELD, _H.DROP): _S.REJECTED,
        (_S.SENT, _H.ACCEPT): _S.ACCEPTED,
        (_S.UNKNOWN, _H.ACCEPT): _S.ACCEPTED,
        # A second acknowledgement (REST answer and user stream both tell) changes nothing.
        (_S.ACCEPTED, _H.ACCEPT): _S.ACCEPTED,
        (_S.PARTLY_FILLED, _H.ACCEPT): _S.PARTLY_FILLED,
        (_S.CANCEL_PENDING, _H.ACCEPT): _S.CANCEL_PENDING,
        (_S.SENT, _H.LOSE): _S.UNKNOWN,
        (_S.UNKNOWN, _H.LOSE): _S.UNKNOWN,
        (_S.ACCEPTED, _H.LOSE): _S.UNKNOWN,
        (_S.PARTLY_FILLED, _H.LOSE): _S.UNKNOWN,
        (_S.CANCEL_PENDING, _H.LOSE): _S.UNKNOWN,
        (_S.CANCEL_PENDING, _H.CANCEL_REFUSED): _S.ACCEPTED,
    }
    for state in _LIVE:
        table[state, _H.PARTIAL_FILL] = _S.CANCEL_PENDING if state is _S.CANCEL_PENDING else _S.PARTLY_FILLED
        table[state, _H.FULL_FILL] = _S.FILLED
        table[state, _H.CANCEL] = _S.CANCELLED
        table[state, _H.EXPIRE] = _S.EXPIRED
        table[state, _H.REJECT] = _S.REJECTED
        table[state, _H.CANCEL_SENT] = _S.CANCEL_PENDING
        table.setdefault((state, _H.CANCEL_REFUSED), state)
    # An unknown order keeps that name while a cancel is out: only evidence about the order itself resolves it.
    table[_S.UNKNOWN, _H.CANCEL_SENT] = _S.UNKNOWN
    for state in FINAL:
        # Late facts: a fill after a cancel is booked and the order stays closed; late acknowledgements change nothing.
        table[state, _H.PARTIAL_FILL] = state
        table[state, _H.FULL_FILL] = _S.FILLED
        for late in (_H.ACCEPT, _H.CANCEL, _H.EXPIRE, _H.REJECT, _H.LOSE, _H.CANCEL_SENT, _H.CANCEL_REFUSED):
            table[state, late] = state
    # "It never arrived" was wrong: the order lives, holds its risk again and can be cancelled.
    table[_S.REJECTED, _H.ACCEPT] = _S.ACCEPTED
    table[_S.REJECTED, _H.PARTIAL_FILL] = _S.PARTLY_FILLED
    # As far as was known it had filled; it is larger than that.
    table[_S.FILLED, _H.GROW] = _S.PARTLY_FILLED
    return table


TABLE = _table()
