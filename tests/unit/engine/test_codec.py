"""The wire form of records: every type there and back, exactly, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from engine import commands as c
from engine import events as e
from engine.codec import DECISION_TYPES, DERIVED_TYPES, Record, decode, encode, render
from tests.support.core import BTC, D, fill, intent, quote, spot

ORDER = c.NewOrder(7, "k-1", "coinbase", intent())
SAMPLES: list[Any] = [
    quote(5, 0.1 + 0.2, 1e300),
    e.Trade(1, 2, BTC, 1.0, 2.0, -1, "t"),
    e.BookSnapshot(1, 2, BTC, ((1.0, 2.0),), ()),
    e.BookDelta(1, 2, BTC, ((1, 2.0, 0.0), (-1, 3.0, 4.0))),
    e.Observation(1, 2, "CPI", 0.1 + 0.2, -5),
    e.Bar(1, 2, BTC, 60, 1.0, 2.0, 0.5, 1.5, 9.0),
    e.InstrumentDefined(1, 2, spot(expiry_ns=5, strike_px=D("1.50"))),
    e.InstrumentStatus(1, 2, BTC, e.TradingStatus.POST_ONLY),
    e.VenueStatus(1, 2, "coinbase", e.TradingStatus.HALTED, "text"),
    e.RateReported(1, 2, "EUR", D("1.10")),
    e.SessionScheduled(1, 2, "coinbase", "", 5, 9, "venue"),
    e.OrderAccepted(1, 2, "coinbase", "k-1", "v-1"),
    e.OrderRejected(1, 2, "coinbase", "k-1", "reason", "Überzogen"),
    fill(ORDER, "0.10", "100.00", "t1", fee="-0.01"),
    e.OrderCancelled(1, 2, "coinbase", "k-1", "v-1", "user"),
    e.OrderExpired(1, 2, "coinbase", "k-1", "v-1"),
    e.CancelRejected(1, 2, "coinbase", "k-1", "late"),
    e.OrderReplaced(1, 2, "coinbase", "k-1", "v-1", D("0.02"), D("100.10")),
    e.ReplaceRejected(1, 2, "coinbase", "k-1", "invalid_px", "INVALID_EDITED_PRICE"),
    e.ReplaceOutcomeUnknown(1, 2, "coinbase", "k-1", "timeout"),
    e.OrderOutcomeUnknown(1, 2, "coinbase", "k-1", "reset"),
    e.BalanceReported(1, 2, "coinbase", "USD", D("1E+3"), D("0.00")),
    e.PositionReported(1, 2, "coinbase", BTC, D("-1.50"), D("100")),
    e.AccountSettled(1, 2, "coinbase", (("USD", D("0.10")),), ("k-1",)),
    e.OrderFound(1, 2, "coinbase", "by-hand", "v-9", BTC, e.Side.SELL, D("0.10"), D("0"), None),
    e.FillCorrected(
        1, 2, "coinbase", "k-1", "v-1", "t1", BTC, e.Side.BUY, D("1.0"), D("100"), D("0.1"), "USD", D(0), D(0), D(0)
    ),
    e.FundingSettled(1, 2, "coinbase", BTC, "7003-BTC", "USD", D("-0.0100")),
    e.OrderAttached(1, 2, "coinbase", "k-1-x", "v-2", "k-1", BTC, e.Side.SELL, D("0.10"), D("110"), D("90.0")),
    e.AttachmentMissing(1, 2, "coinbase", "k-1", "absent"),
    e.StateCarried(1, 2, "before", 2**40, b"\x93"),
    e.Timer(1, 2, "tick"),
    e.FeedUp(1, 2, "coinbase", "market"),
    e.FeedDown(1, 2, "coinbase", "user", "reset"),
    e.Gap(1, 2, "coinbase", "", 5, 7),
    e.ClockStepped(1, 2, -(2**40)),
    e.JournalSynced(1, 2, 9),
    e.JournalFailed(1, 2, "full"),
    e.SessionStarted(1, 2, "s", "a", "b", ("m@1",), ()),
    e.ShutdownRequested(1, 2, "SIGINT"),
    e.Halted(1, 2, "operator", ""),
    e.Reduced(1, 2, "operator", ""),
    e.Resumed(1, 2, "operator", ""),
    e.OperatorRequested(1, 2, "cancel", "ana (uid 7)", "why", client_order_id="k-1"),
    e.Prediction(1, 2, BTC, "m@1", e.PredictionStatus.LATE, (0.1, 1e-300)),
    e.ModelAssigned(1, 2, BTC, "m@1", "{}", (("buy", 0.6),)),
    e.StateKept(1, 2, b"\x00\xff"),
    e.ModelStanding(1, 2, BTC, "canary", "m@2", "broken", 0.5, "5 in a row late"),
    e.PredictionMade(9, 10, BTC, "m@1", 1, 2, e.PredictionStatus.OK, (0.1, 1e-300), ""),
    e.ModelOffered(1, 2, BTC, "canary", "m@2", "{}", (("buy", 0.6),), 0.05, "promoted"),
    e.ModelAlarmed(1, 2, BTC, "m@1", "psi", "size_down", 0.5, "rv_20 0.31"),
    e.ModelWeighed(1, 2, BTC, "mix@1", (0.25, 0.75), "recent"),
    e.ProviderChanged(1, 2, "m@1", "CUDAExecutionProvider", "CPUExecutionProvider", "device lost"),
    c.BalanceAdjusted(1, "coinbase", "USD", D("1.0"), D("1.00")),
    c.GroupOpened(1, "k-g1", c.GroupIntent(1, "s", (intent(),), intent())),
    c.GroupMoved(1, "k-g1", (D("1.5"), None), -1),
    c.GroupEnded(1, "k-g1", "done"),
    c.Rejected(1, intent(trigger_px=D("99.5"), expire_ns=2**62), "collar", "1", "2"),
    ORDER,
    c.NewOrderWithExits(7, "k-2", "coinbase", intent(), D("110"), D("90.0")),
    c.CancelOrder(1, "k-1", "coinbase", "", BTC, "halted"),
    c.ReplaceOrder(1, "k-1", "coinbase", "v-1", BTC, D("0.02"), D("100.10"), D("0.01"), D(100), "nearer"),
    c.RiskStateChanged(1, c.RiskState.ACTIVE, c.RiskState.HALTED, "why"),
    c.StrategyQuarantined(1, "s", "ValueError: x"),
]


def test_the_samples_are_all_types_there_are() -> None:
    """A type added without a sample fails here; tags are distinct, or the journal could not be read."""
    types = set(get_args(Record))
    assert {type(sample) for sample in SAMPLES} == types
    tags = [kind.__struct_config__.tag for kind in types]
    assert len(set(tags)) == len(tags)
    assert DECISION_TYPES < DERIVED_TYPES < types


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_record_comes_back_equal_and_in_the_same_bytes(sample: Any) -> None:
    """Floats to the bit, Decimals with their trailing zeros."""
    raw = encode(sample)
    back = decode(raw)
    assert type(back) is type(sample)
    assert back == sample
    assert encode(back) == raw


@pytest.mark.fault("A15")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        encode(quote(1))[:-1],
        encode(quote(1)) + b"\xc0",
        msgspec.msgpack.encode([999, 1, 2]),
        msgspec.msgpack.encode({"tag": 1}),
        encode(c.NewOrder(1, "k-1", "coinbase", msgspec.structs.replace(intent(), side=2))),  # type: ignore[arg-type]
        encode(c.StrategyQuarantined(1, None, "")),  # type: ignore[arg-type]
    ],
    ids=["nothing", "cut", "more", "unknown tag", "a map", "side 2", "no name"],
)
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    """Cut, longer, unknown, or with a field of another type."""
    with pytest.raises(msgspec.DecodeError):
        decode(raw)


@pytest.mark.fault("A15")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_record_of_another_release_is_read_as_it_was_meant_or_not_at_all(sample: Any) -> None:
    """One field more than this release knows could change the meaning of all others; one that was added since with a
    default is not there yet.  Without a field that it always had it is no such record."""
    values = msgspec.msgpack.decode(encode(sample))
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode([*values, None]))
    fields = msgspec.structs.fields(type(sample))
    required = sum(field.required for field in fields)
    for count in range(len(values)):
        raw = msgspec.msgpack.encode(values[: 1 + count])
        if count < required:
            with pytest.raises(msgspec.ValidationError):
                decode(raw)
        else:
            known = [getattr(sample, field.name) for field in fields[:count]]
            assert decode(raw) == type(sample)(*known)


@pytest.mark.fault("A15")
def test_what_another_release_has_added_inside_of_a_record_is_refused_too() -> None:
    """In an order's intent, and in an instrument's rules, which are told by name."""
    order = msgspec.msgpack.decode(encode(ORDER))
    order[-1].append(None)
    defined = msgspec.msgpack.decode(encode(e.InstrumentDefined(1, 2, spot())))
    defined[-1]["more"] = True
    for values in (order, defined):
        with pytest.raises(msgspec.ValidationError):
            decode(msgspec.msgpack.encode(values))


def test_what_is_shown_of_a_record_is_bounded() -> None:
    """Short ones whole, long ones cut."""
    assert render(quote(1)).startswith("Quote(ts_event_ns=1")
    assert len(render(e.JournalFailed(1, 2, "x" * 5000))) == 600
