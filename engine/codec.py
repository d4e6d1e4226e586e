"""The wire form of records: MessagePack arrays with integer tags, exact for floats, textual for Decimals.

One encoder and one decoder for the journal, the replay and the tests, so that "byte for byte" means one thing.
"""

from __future__ import annotations

import msgspec

from engine import commands as c
from engine import events as e

Derived = (
    e.Prediction
    | e.ModelAssigned
    | e.ModelStanding
    | e.StateKept
    | c.Rejected
    | c.NewOrder
    | c.NewOrderWithExits
    | c.CancelOrder
    | c.ReplaceOrder
    | c.RiskStateChanged
    | c.StrategyQuarantined
    | c.BalanceAdjusted
    | c.GroupOpened
    | c.GroupMoved
    | c.GroupEnded
)
Record = e.InputEvent | Derived

DERIVED_TYPES: frozenset[type] = frozenset(
    {
        e.Prediction,
        e.ModelAssigned,
        e.ModelStanding,
        e.StateKept,
        c.Rejected,
        c.NewOrder,
        c.NewOrderWithExits,
        c.CancelOrder,
        c.ReplaceOrder,
        c.RiskStateChanged,
        c.StrategyQuarantined,
        c.BalanceAdjusted,
        c.GroupOpened,
        c.GroupMoved,
        c.GroupEnded,
    }
)
"""Records the core makes itself.  Replay compares them; everything else it feeds."""

DECISION_TYPES: frozenset[type] = DERIVED_TYPES - {
    e.Prediction,
    e.ModelAssigned,
    e.ModelStanding,
    e.StateKept,
}

_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(Record)

encode = _encoder.encode
encode_into = _encoder.encode_into


def decode(data: bytes | bytearray | memoryview) -> Record:
    """Raises ``msgspec.DecodeError`` (or its subclass ``ValidationError``) when the bytes are no record of ours."""
    record: Record = _decoder.decode(data)
    return record


def render(record: Record) -> str:
    """A readable, bounded form for diffs and logs: ``Quote(instrument='BTC/USD@coinbase', ...)``."""
    text = repr(record)
    return text if len(text) <= 600 else text[:597] + "..."
