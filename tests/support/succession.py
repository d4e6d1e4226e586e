"""Sessions on an account, as they are left behind."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from engine.carried import ENDED, Carried
from engine.codec import Record
from engine.runtime.segment import SegmentScan, list_segments
from engine.runtime.succession import Left, Succession, read_left
from tests.support.account import Account
from tests.support.core import BTC
from tests.support.journals import write

D = Decimal


ACCOUNT = "coinbase-0123456789ab"


ORDERS_BYTES = 64 << 10


def succession(folder: Path, account: str = ACCOUNT) -> Succession:
    """As a daemon has it that held the account before."""
    made = Succession(folder / "run", account)
    (folder / "run" / "accounts").mkdir(parents=True, exist_ok=True)
    return made


def trading(purchases: int = 1) -> Account:
    """So many coins bought one by one, then an order that rests."""
    account = Account()
    for number in range(purchases):
        bought = account.place()
        account.accept(bought)
        account.fill(bought, "1", "100", f"t{number}", "0.5")
    account.accept(account.place(qty="3"))
    return account


def leave(session: Path, records: Iterable[Record], *, closed: bool = False, orders_bytes: int = ORDERS_BYTES) -> Path:
    """A session's journal; one that is not closed has been killed."""
    journal = write(session / "journal", records, orders_bytes=orders_bytes, market_bytes=ORDERS_BYTES)
    journal.wait_ready()
    if closed:
        journal.close()
    return session


def left_by(session: Path) -> Left:
    found = read_left(session, "USD")
    assert found is not None
    return found


def position(state: Carried) -> Decimal:
    return next(one.qty for one in state.money.holdings if one.instrument == BTC)


def open_ids(state: Carried) -> set[str]:
    return {one.new.client_order_id for one in state.orders if one.state not in ENDED}


def offsets(session: Path) -> list[tuple[Path, int]]:
    """Where each record of the orders stream begins, in order."""
    infos = list_segments(session / "journal")["orders"]
    return [(info.path, raw.offset) for info in infos for raw in SegmentScan(info.path).records()]
