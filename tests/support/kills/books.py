"""What the journals of all sessions on an account say, against what the exchange itself holds.

Reads files and the exchange's own objects; asks the daemon nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import run as program
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.translate import ACCOUNT
from engine import codec
from engine.carried import ENDED
from engine.commands import BalanceAdjusted, NewOrder, NewOrderWithExits, OrderType
from engine.events import AccountSettled, OrderFilled, SessionStarted, StateCarried
from engine.order_ids import attached_id
from engine.portfolio import Portfolio
from engine.runtime.segment import RECORD_BYTES, SegmentScan, list_segments
from engine.runtime.succession import Left, read_left
from tests.support.kills.groups import ToldGroups, name_of, never, unguarded

VENUE = "coinbase"


class Excused:
    """What no session can know, as a journal lost its end or was left behind."""

    def __init__(self) -> None:
        self.fills: set[str] = set()
        """They are part of the books by what the venue told of its balances."""
        self.groups_lost: set[str] = set()
        """Of one of these an order may have lost its record."""
        self.groups_left: set[str] = set()
        """The operator has begun anew, without them."""


class Told:
    """The records of one session's stream of orders, as far as they are whole."""

    def __init__(self, session: Path) -> None:
        self.records: list[codec.Record] = []
        journal = session / "journal"
        for info in list_segments(journal)["orders"] if journal.is_dir() else ():
            for raw in SegmentScan(info.path).records(mapped=False):
                if not raw.control:
                    self.records.append(codec.decode(raw.payload))

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def early(self) -> list[str]:
        """Orders of a session that went on, from before the venue had confirmed the account."""
        if not self.of(StateCarried):
            return []
        early: list[str] = []
        for record in self.records:
            if isinstance(record, AccountSettled):
                break
            if isinstance(record, NewOrder):
                early.append(record.client_order_id)
        return early

    @property
    def started_ns(self) -> int:
        return next((record.ts_recv_ns for record in self.of(SessionStarted)), 0)

    @property
    def settled_ns(self) -> int:
        return next((record.ts_recv_ns for record in self.of(AccountSettled)), 0)


def damage(session: Path, how: str) -> bool:
    """Spoil the last record of a dead session's orders; False when it has none."""
    ends = []
    for info in list_segments(session / "journal")["orders"]:
        ends += [(info.path, raw) for raw in SegmentScan(info.path).records(mapped=False)]
    if not ends:
        return False
    path, last = ends[-1]
    data = bytearray(path.read_bytes())
    begin = last.offset + RECORD_BYTES
    end = begin + len(last.payload)
    if how == "flip":
        data[begin + len(last.payload) // 2] ^= 0x10
    elif how == "cut":
        data[begin + len(last.payload) // 2 :] = bytes(len(data) - begin - len(last.payload) // 2)
    else:
        end = (end + 7) & -8
        room = min(200, len(data) - end)
        data[end : end + room] = b"\xa5" * room
    path.write_bytes(data)
    return True


def left_by(session: Path, scratch: Path) -> Left | None:
    """What a session that still runs would leave if it were killed now: read from a copy of its files."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "journal").mkdir(parents=True)
    for info in list_segments(session / "journal")["orders"]:
        shutil.copy(info.path, scratch / "journal")
    return read_left(scratch, "USD")


def untold(exchange: Exchange, told: list[Told], until_ns: int | None = None) -> set[str]:
    """Entry ids of fills (of those until then) that no session has put on record."""
    made = {fill.entry_id for fill in exchange.fills if until_ns is None or fill.ts_ns <= until_ns}
    return made - {fill.trade_id for one in told for fill in one.of(OrderFilled)}


def differences(
    exchange: Exchange,
    requests: Mapping[str, int],
    alongside: Mapping[str, Sequence[str]],
    left: Left,
    told: list[Told],
    excused: Excused,
) -> list[str]:
    """Each way in which the books of the newest session are not the exchange's, and what groups must never do.
    ``alongside``: what was open at the exchange when an order came to be there."""
    portfolio = Portfolio("USD")
    for instrument in left.state.instruments:
        portfolio.define(instrument)
    portfolio.restore(left.state.money)
    found: list[str] = []
    for currency, balance in exchange.wallets.ledger.balances(ACCOUNT).items():
        booked = portfolio.balance(VENUE, currency) or Decimal(0)
        if booked != balance.total:
            found.append(f"{currency}: booked {booked}, at the exchange {balance.total}")
    at_exchange = {name_of(exchange, order): order for order in exchange.orders.values()}
    written = {order.client_order_id: order for one in told for order in one.of(NewOrder)}
    written |= {attached_id(name): order for name, order in written.items() if isinstance(order, NewOrderWithExits)}
    found += [f"order {name} was sent {count} times" for name, count in requests.items() if count > 1]
    found += [f"order {name} is at the exchange and in no journal" for name in at_exchange.keys() - written.keys()]
    # One that waits there for its entry to fill is no order yet.
    really_open = {name for name, order in at_exchange.items() if order.order_id in exchange.open_orders}
    booked_open = {one.new.client_order_id for one in left.state.orders if one.state not in ENDED}
    found += [f"order {name} is open at the exchange only" for name in sorted(really_open - booked_open)]
    found += [f"order {name} is open in the books only" for name in sorted(booked_open - really_open)]
    for one in left.state.orders:
        there = at_exchange.get(one.new.client_order_id)
        if there is None or one.new.client_order_id not in really_open & booked_open:
            continue
        intent, edit = one.new.intent, one.edit
        versions = {(intent.qty, intent.limit_px)} | ({(edit.qty, edit.limit_px)} if edit is not None else set())
        is_limit = intent.order_type is OrderType.LIMIT
        if is_limit and (there.spec.base_size, there.spec.limit_px) not in versions:
            shown = f"{there.spec.base_size} at {there.spec.limit_px}"
            found.append(f"order {one.new.client_order_id} is {shown} at the exchange, not {versions}")
    found += [f"fill {name} was never told" for name in sorted(untold(exchange, told) - excused.fills)]
    told_twice = [
        name
        for one in told
        for name, count in Counter(fill.trade_id for fill in one.of(OrderFilled)).items()
        if count > 1
    ]
    found += [f"fill {name} was told twice by one session" for name in told_twice]
    groups = ToldGroups(exchange, told)
    found += never(groups, alongside, excused.groups_lost)
    return found + unguarded(exchange, groups, left.state, excused.groups_lost | excused.groups_left)


def faults_in(told: Told) -> list[str]:
    """What no session's journal may hold."""
    found = [f"order {name} before the account was confirmed" for name in told.early]
    return found + [
        f"the venue had to correct {one.currency} from {one.booked} to {one.told}" for one in told.of(BalanceAdjusted)
    ]


def replayed(session: Path) -> dict[str, Any]:
    """``run.py replay`` in this process: its result, with its exit status as ``status``."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        arguments = ["replay", str(session), "--sessions", str(session.parent), "--json"]
        status = program.app(arguments, standalone_mode=False)
    content: dict[str, Any] = json.loads(said.getvalue().strip().splitlines()[-1])
    return content | {"status": status}
