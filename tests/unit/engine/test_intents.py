"""Which intents are well formed: exact types, bounded values, and one line that names the field."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.codec import decode, encode
from engine.commands import CancelIntent, NewOrder, OrderType, TimeInForce
from engine.events import Side
from engine.intents import INTENTS_MAX, TEXT_MAX, defect_of, listed, said, writable
from tests.support.core import D, intent


class OtherSide(IntEnum):
    BUY = 1


class Amount(Decimal):
    pass


class AlwaysEqual:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


BAD: list[tuple[str, Any]] = [
    ("side", 1),
    ("side", 2),
    ("side", np.int64(1)),
    ("side", OtherSide.BUY),
    ("side", None),
    ("qty", 1.5),
    ("qty", 1),
    ("qty", np.float64(1.5)),
    ("qty", Amount(1)),
    ("qty", D("NaN")),
    ("qty", D("sNaN")),
    ("qty", D("Infinity")),
    ("qty", D("1E+999999")),
    ("limit_px", D("1E-41")),
    ("qty", D("0.1" + "0" * 75 + "1")),
    ("trigger_px", D("0.1" + "0" * 100_000 + "1")),
    ("order_type", "market"),
    ("order_type", TimeInForce.IOC),
    ("time_in_force", "ioc"),
    ("time_in_force", None),
    ("limit_px", 100.0),
    ("limit_px", D("NaN")),
    ("limit_px", "100"),
    ("post_only", np.bool_(False)),
    ("post_only", 0),
    ("reduce_only", "no"),
    ("reduce_only", None),
    ("reason", None),
    ("reason", "\ud800"),
    ("reason", "x" * (TEXT_MAX + 1)),
    ("reason", b"bytes"),
    ("model", np.str_("x")),
    ("model", "\udfff"),
    ("instrument", None),
    ("instrument", []),
    ("parent_id", 7),
    ("parent_id", "\ud800"),
    ("parent_id", AlwaysEqual()),
    ("ts_ns", np.int64(5)),
    ("ts_ns", 2**70),
    ("ts_ns", -1),
    ("ts_ns", True),
    ("ts_ns", 1.0),
    ("prediction_seq", np.int64(5)),
    ("prediction_seq", 2**63),
    ("prediction_seq", -5),
    ("trigger_px", 100.0),
    ("trailing_px", D("NaN")),
    ("expire_ns", np.int64(5)),
    ("expire_ns", 2**64),
]


@pytest.mark.fault("A14")
@pytest.mark.parametrize(("field", "value"), BAD, ids=lambda item: ascii(item)[:30])
def test_a_field_of_the_wrong_type_or_range_is_named(field: str, value: object) -> None:
    """One field wrong, all others right: the line names it and is itself fit for a record."""
    wish = msgspec.structs.replace(intent(), **{field: value})
    text = defect_of([wish], "s")
    assert f" {field} of type {type(value).__name__}" in text
    assert text == writable(text)


def test_an_order_of_usual_form_passes_with_every_optional_field_in_use() -> None:
    """Market without a price, and one that uses all of them, non-ASCII text included."""
    plain = intent(order_type=OrderType.MARKET, limit_px=None)
    full = intent(
        Side.SELL,
        time_in_force=TimeInForce.GTD,
        post_only=True,
        reduce_only=True,
        reason="Überkauft",
        model="m@1",
        prediction_seq=2**63 - 1,
        parent_id="k-1",
        trigger_px=D("99"),
        trailing_px=D("1"),
        expire_ns=5,
    )
    assert defect_of([plain, full], "s") == ""
    assert defect_of((), "s") == ""


def test_texts_that_are_long_only_together_are_refused() -> None:
    """Each within the bound, the three not."""
    wish = intent(reason="x" * (TEXT_MAX - 10), model="y" * 20)
    assert "together" in defect_of([wish], "s")


@pytest.mark.fault("A14")
@pytest.mark.parametrize(
    ("wish", "said_so"),
    [
        (intent(strategy="other"), "another strategy"),
        (intent(strategy=np.str_("s")), "another strategy"),
        (CancelIntent(1, "other", "k-1"), "another strategy"),
        (CancelIntent(1, "s", None), "client_order_id of type NoneType"),  # type: ignore[arg-type]
        (CancelIntent(np.int64(1), "s", "k-1"), "ts_ns of type int64"),  # type: ignore[arg-type]
        (CancelIntent(1, "s", "k-1", "\ud800"), "reason of type str"),
        (object(), "returned object"),
        (np.int64(3), "returned int64"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_what_is_no_intent_of_its_own_is_refused(wish: object, said_so: str) -> None:
    """Another strategy's name, a broken cancel, something else altogether."""
    assert said_so in defect_of([wish], "s")  # type: ignore[list-item]


def test_the_first_of_many_that_is_wrong_is_found() -> None:
    """Two good ones before it."""
    assert "side" in defect_of([intent(), CancelIntent(1, "s", "k-1"), intent(side=1)], "s")


@pytest.mark.fault("A14")
def test_an_answer_without_end_is_refused() -> None:
    """A generator that never stops is read to the bound, no further."""

    def endless():
        while True:
            yield intent()

    answer = listed(endless())
    assert len(answer) == INTENTS_MAX + 1
    assert defect_of(answer, "s") == f"returned more than {INTENTS_MAX} intents at once"


def test_answers_become_plain_lists() -> None:
    """None is nothing, a generator is run, an array is its items; text and numbers hold no intents."""
    assert listed(None) == ()
    assert listed(intent() for _ in range(2)) == (intent(), intent())
    assert "returned int64" in defect_of(listed(np.array([1, 2])), "s")
    for junk in ("buy", b"buy", 7, False):
        with pytest.raises(TypeError):
            listed(junk)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "side": st.sampled_from([*Side, 1, -1]),
            "qty": st.decimals(allow_nan=True),
            "limit_px": st.one_of(st.none(), st.decimals(allow_nan=True), st.floats()),
            "order_type": st.sampled_from([*OrderType, "limit"]),
            "time_in_force": st.sampled_from([*TimeInForce, "ioc"]),
            "post_only": st.one_of(st.booleans(), st.integers(0, 1)),
            "reason": st.one_of(st.text(st.characters(codec=None), max_size=20), st.none()),
            "prediction_seq": st.integers(-(2**65), 2**65),
            "expire_ns": st.one_of(st.none(), st.integers(-(2**65), 2**65), st.floats()),
        },
    )
)
def test_what_passes_is_read_back_from_the_journal_as_it_was(fields: dict[str, Any]) -> None:
    """Encode and strictly decode the order of each intent that passes: the same value, field for field."""
    wish = msgspec.structs.replace(intent(), **fields)
    if defect_of([wish], "s") == "":
        order = NewOrder(1, "k-1", "coinbase", wish)
        assert decode(encode(order)) == order


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def test_what_an_error_says_is_fit_for_a_record() -> None:
    """No address, no line break, no lone surrogate, bounded; an error that cannot say anything has a name."""
    assert said(ValueError(f"bad {object()!r}\nhere")) == "ValueError: bad <object object> here"
    assert said(ValueError("\ud800")).encode() == b"ValueError: \\ud800"
    assert len(said(ValueError("x" * 5_000_000))) == 300
    assert said(UnprintableError()) == "UnprintableError"
