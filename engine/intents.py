"""Is what a strategy returned made of well-formed intents of its own?  Asked before any of it is judged or recorded.

User code is not type-checked.  A wrong type that got past here would reach the wire as something else than was meant (a
plain ``1`` is no ``Side``), or the journal as a record that nothing can write or read.  Owns form only: whether an
order is wise is for the risk gate.  Pure tests of exact types, written straight because they stand on the path of every
order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from engine.commands import CancelIntent, GroupIntent, Intent, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from engine.events import Side

INTENTS_MAX = 1000
"""Intents that one answer may hold; more is a loop that does not end."""
TEXT_MAX = 1000
"""Characters of a text field, and of an order's instrument, reason and model together."""
MAGNITUDE_MAX = 40
"""Powers of ten that a quantity or a price may be away from 1; beyond them it is an accident and no amount."""
DIGITS_MAX = 76
"""Digits of a quantity or a price; exact arithmetic has 28, and these many have a fixed place in memory."""
_SMALL_BYTES = Decimal(10**DIGITS_MAX - 1).__sizeof__()
SAID_MAX = 300
"""Characters kept of what an error of user code says."""
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
_fields_of = msgspec.structs.astuple
_OURS = frozenset({"engine.asking", "engine.core", "engine.intents", "engine.lanes"})
"""Modules whose frames stand between the core and user code."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def listed(answer: Any) -> list[Intent] | tuple[Intent, ...]:
    """What a strategy returned that is no plain list or tuple, as one: None is nothing, a generator is run here, inside
    the guard around user code.  Raises whatever the answer raises, ``TypeError`` for what holds nothing."""
    if answer is None:
        return ()
    if isinstance(answer, str | bytes):
        raise TypeError(f"returned {type(answer).__name__}, expected a list of intents")
    return tuple(islice(answer, INTENTS_MAX + 1))


def defect_of(intents: list[Intent] | tuple[Intent, ...], strategy: str) -> str:
    """Empty when each of ``intents`` is a well-formed one of this strategy; else what is wrong, in one line.

    The text names fields and types, never values: a value's ``repr`` may differ from run to run, and replay compares.
    """
    if len(intents) > INTENTS_MAX:
        return f"returned more than {INTENTS_MAX} intents at once"
    for intent in intents:
        kind = type(intent)
        if kind is OrderIntent:
            if not _is_order(intent, strategy):  # type: ignore[arg-type]
                return _explain(intent, strategy, _ORDER_FIELDS)
        elif kind is CancelIntent:
            if not _is_cancel(intent, strategy):  # type: ignore[arg-type]
                return _explain(intent, strategy, _CANCEL_FIELDS)
        elif kind is ReplaceIntent:
            if not _is_replacement(intent, strategy):  # type: ignore[arg-type]
                return _explain(intent, strategy, _REPLACE_FIELDS)
        elif kind is GroupIntent:
            found = _group_defect(intent, strategy)  # type: ignore[arg-type]
            if found:
                return found
        else:
            return f"returned {kind.__name__}, expected OrderIntent, GroupIntent, CancelIntent or ReplaceIntent"
    return ""


def _group_defect(group: GroupIntent, strategy: str) -> str:
    if not _is_integer(group.ts_ns) or not _is_name(group.strategy, strategy):
        return _explain(group, strategy, {"ts_ns": _INTEGER})
    if type(group.exits) is not tuple or not group.exits:
        kind = type(group.exits).__name__
        return f"returned GroupIntent with exits of type {kind}, expected a tuple with OrderIntent in it"
    members = group.exits if group.entry is None else (*group.exits, group.entry)
    for one in members:
        if type(one) is not OrderIntent:
            return f"returned GroupIntent with {type(one).__name__} in it, expected OrderIntent"
        if not _is_order(one, strategy):
            return _explain(one, strategy, _ORDER_FIELDS)
    return ""


def _is_order(intent: OrderIntent, strategy: str) -> bool:
    """All fields in one expression: the values an intent usually has need one comparison each."""
    (
        ts_ns,
        owner,
        name,
        side,
        qty,
        order_type,
        limit_px,
        time_in_force,
        post_only,
        reduce_only,
        reason,
        model,
        prediction_seq,
        parent_id,
        trigger_px,
        trailing_px,
        expire_ns,
    ) = _fields_of(intent)
    return (
        type(side) is Side
        and type(qty) is Decimal
        and qty.is_finite()
        and -MAGNITUDE_MAX <= qty.adjusted() <= MAGNITUDE_MAX
        and (qty.__sizeof__() <= _SMALL_BYTES or _is_short(qty))
        and type(order_type) is OrderType
        and (limit_px is None or _is_amount(limit_px))
        and type(time_in_force) is TimeInForce
        and (post_only is False or post_only is True)
        and (reduce_only is False or reduce_only is True)
        and (owner is strategy or _is_name(owner, strategy))
        and type(ts_ns) is int
        and type(prediction_seq) is int
        and not (ts_ns | prediction_seq) >> 63  # both of 0 to 2**63 - 1
        and type(name) is str
        and type(reason) is str
        and type(model) is str
        and len(name) + len(reason) + len(model) <= TEXT_MAX
        and (
            (name.isascii() and reason.isascii() and model.isascii())
            or (_is_text(name) and _is_text(reason) and _is_text(model))
        )
        and type(parent_id) is str
        and (not parent_id or _is_text(parent_id))
        and (trigger_px is None or _is_amount(trigger_px))
        and (trailing_px is None or _is_amount(trailing_px))
        and (expire_ns is None or _is_integer(expire_ns))
    )


def _is_cancel(intent: CancelIntent, strategy: str) -> bool:
    return (
        _is_integer(intent.ts_ns)
        and _is_name(intent.strategy, strategy)
        and _is_text(intent.client_order_id)
        and _is_text(intent.reason)
    )


def _is_replacement(intent: ReplaceIntent, strategy: str) -> bool:
    return (
        _is_integer(intent.ts_ns)
        and _is_name(intent.strategy, strategy)
        and _is_text(intent.client_order_id)
        and _is_amount(intent.qty)
        and (intent.limit_px is None or _is_amount(intent.limit_px))
        and _is_text(intent.reason)
    )


# --- one field at a time, to say which ----------------------------------------------------------------------------


def _is_integer(value: object) -> bool:
    return type(value) is int and 0 <= value <= _INT_MAX


def _is_amount(value: object) -> bool:
    return (
        type(value) is Decimal
        and value.is_finite()
        and -MAGNITUDE_MAX <= value.adjusted() <= MAGNITUDE_MAX
        and (value.__sizeof__() <= _SMALL_BYTES or _is_short(value))
    )


def _is_short(value: Decimal) -> bool:
    """The test itself; the size in memory answers for nearly all at a twentieth of its cost."""
    return len(value.as_tuple().digits) <= DIGITS_MAX


def _is_flag(value: object) -> bool:
    return value is True or value is False


def _is_text(value: object) -> bool:
    """A plain, bounded string that has a UTF-8 form: a lone surrogate has none."""
    if type(value) is not str or len(value) > TEXT_MAX:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(value: object, strategy: str) -> bool:
    return type(value) is str and value == strategy


_Test = Callable[[Any], bool]
_TEXT = (_is_text, f"text of at most {TEXT_MAX} characters that UTF-8 can write")
_INTEGER = (_is_integer, "an int of 0 to 2**63 - 1")
_AMOUNT = (_is_amount, f"a finite Decimal of 1e-{MAGNITUDE_MAX} to 1e{MAGNITUDE_MAX} and {DIGITS_MAX} digits")
_FLAG = (_is_flag, "True or False")


def _or_none(rule: tuple[_Test, str]) -> tuple[_Test, str]:
    return (lambda value: value is None or rule[0](value)), f"{rule[1]} or None"


def _exactly(kind: type) -> tuple[_Test, str]:
    return (lambda value: type(value) is kind), f"a member of {kind.__name__}"


_ORDER_FIELDS: dict[str, tuple[_Test, str]] = {
    "ts_ns": _INTEGER,
    "instrument": _TEXT,
    "side": _exactly(Side),
    "qty": _AMOUNT,
    "order_type": _exactly(OrderType),
    "limit_px": _or_none(_AMOUNT),
    "time_in_force": _exactly(TimeInForce),
    "post_only": _FLAG,
    "reduce_only": _FLAG,
    "reason": _TEXT,
    "model": _TEXT,
    "prediction_seq": _INTEGER,
    "parent_id": _TEXT,
    "trigger_px": _or_none(_AMOUNT),
    "trailing_px": _or_none(_AMOUNT),
    "expire_ns": _or_none(_INTEGER),
}
_CANCEL_FIELDS: dict[str, tuple[_Test, str]] = {"ts_ns": _INTEGER, "client_order_id": _TEXT, "reason": _TEXT}
_REPLACE_FIELDS = {**_CANCEL_FIELDS, "qty": _AMOUNT, "limit_px": _or_none(_AMOUNT)}


def _explain(intent: Intent, strategy: str, fields: dict[str, tuple[_Test, str]]) -> str:
    kind = type(intent).__name__
    if not _is_name(intent.strategy, strategy):
        return f"returned {kind} of another strategy, expected its own name in the field strategy"
    for name, (fits, expected) in fields.items():
        value = getattr(intent, name)
        if not fits(value):
            return f"returned {kind} with {name} of type {type(value).__name__}, expected {expected}"
    return f"returned {kind} with more than {TEXT_MAX} characters in instrument, reason and model together"


def where(error: BaseException) -> str:
    """The kind of an error of user code and the line at which the engine's call of it failed, fit for a record.

    Not what it says: its words may name a set in the order of this process, or how deep a stack was.  Nor the innermost
    line, which in a recursion without end is where the stack happened to be full.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _OURS:
        trace = trace.tb_next
    kind = type(error).__name__
    if trace is None:
        return writable(kind)
    file_name = trace.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return writable(f"{kind} at {file_name}:{trace.tb_lineno}")


def words(error: BaseException) -> str:
    """What an error of user code says; empty when that fails as well."""
    try:
        return writable(str(error))
    except KeyboardInterrupt:  # the operator's
        raise
    except BaseException:
        return ""


def said(error: BaseException) -> str:
    """Kind and words of an error, fit for a record that nothing else is compared with (``writable``)."""
    return writable(f"{type(error).__name__}: {words(error)}".removesuffix(": "))


def writable(text: str) -> str:
    """Bounded, one line, with a UTF-8 form, and the same on each run: without addresses of objects."""
    text = _ADDRESS.sub("", text[: 2 * SAID_MAX].replace("\n", " "))
    return text.encode("utf-8", "backslashreplace").decode()[:SAID_MAX]
