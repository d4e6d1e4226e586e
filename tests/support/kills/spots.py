"""Where a daemon is killed: by the call, and whether that is before, in the middle of or after it."""

from __future__ import annotations

from typing import NamedTuple


class Spot(NamedTuple):
    """``call`` as ``launcher.arm`` reads it.  ``most``: the number of the call is drawn from 1 to this."""

    call: str
    most: int
    faults: tuple[str, ...]
    while_stopping: bool = False
    """Only reached when the daemon is told to end."""
    starting: bool = False
    """Reached before the account is confirmed: nothing is compared before it dies."""

    @property
    def damages(self) -> bool:
        """It is killed from outside, and its journal loses its end, as when the machine goes down."""
        return self.call.startswith("damage:")


def _appends(kind: str, most: int, *faults: str, starting: bool = False) -> list[Spot]:
    return [Spot(f"append:{kind}:{moment}", most, faults, starting=starting) for moment in ("before", "torn", "after")]


def _calls(path: str, most: int, *faults: str, stopping: bool = False, starting: bool = False) -> list[Spot]:
    return [Spot(f"call:{path}:{moment}", most, faults, stopping, starting) for moment in ("before", "after")]


_COINBASE = "connectors.coinbase"
_DAEMON = "engine.runtime"
_GROUPS = "engine.group_course:GroupCourse"

SPOTS: tuple[Spot, ...] = (
    # An order on its way out.
    *_appends("NewOrder", 30, "A1"),
    *_appends("NewOrderWithExits", 4, "A1"),
    *_appends("CancelOrder", 8, "A1"),
    *[Spot(f"send:/orders :{moment}", 30, ("A1", "A2")) for moment in ("before", "half", "after")],
    *[Spot(f"send:batch_cancel:{moment}", 8, ("A2",)) for moment in ("before", "half", "after")],
    # One that is changed in place.
    *_appends("ReplaceOrder", 6, "A1", "B13"),
    *[Spot(f"send:/orders/edit :{moment}", 6, ("A1", "A2", "B13")) for moment in ("before", "half", "after")],
    *_calls(f"{_COINBASE}.edits:Edits._on_answer", 6, "A2", "B13"),
    *_appends("OrderReplaced", 6, "A3", "B13"),
    # Its answer, and what becomes of it.
    *_calls(f"{_COINBASE}.gateway:CoinbaseGateway._on_order_answer", 30, "A2", "A3"),
    *_appends("OrderAccepted", 30, "A3"),
    *_appends("OrderFilled", 20, "A4"),
    *_appends("OrderCancelled", 8, "A4"),
    *_calls(f"{_COINBASE}.tracker:OrderTracker.book", 20, "A4"),
    *_calls(f"{_COINBASE}.settle:Settler.read_fills", 20, "A4", "B9"),
    *_calls(f"{_COINBASE}.order_checks:OrderChecks.look", 6, "A4"),
    # The market and time.
    *_appends("Quote", 60, "A6"),
    *_appends("Timer", 30, "A6"),
    # Orders that belong together: begun, prices reached, exits sent, exchanged and gone, the end.
    *_appends("GroupOpened", 8, "A1"),
    *_appends("GroupMoved", 12, "A6"),
    *_appends("GroupEnded", 6, "A4"),
    *_calls(f"{_GROUPS}._send", 16, "A1", "A2"),
    *_calls(f"{_GROUPS}.gone", 12, "A3", "A4"),
    *_calls("engine.withdrawals:Withdrawals.withdraw", 8, "A2"),
    # The exit that the venue makes for what an entry fills: named, and told.
    *_appends("OrderAttached", 4, "A4"),
    *_calls(f"{_COINBASE}.exit_tracking:ExitTracking.name_exit", 4, "A3", "A4"),
    # State on record, and taken over.
    *_appends("StateKept", 4, "A5"),
    *_appends("SessionStarted", 1, "A5", starting=True),
    *_appends("StateCarried", 1, "A5", starting=True),
    *_calls(f"{_DAEMON}.succession:Succession.lock", 1, "A5", "A10", starting=True),
    *_calls(f"{_DAEMON}.succession:Succession.left", 1, "A5", starting=True),
    *_calls(f"{_DAEMON}.succession:Succession.begin", 1, "A5", starting=True),
    *_calls(f"{_DAEMON}.session:write_atomically", 1, "A5", starting=True),
    *[Spot(f"rename:/accounts/:{moment}", 1, ("A5",), starting=True) for moment in ("before", "after")],
    # Reconciliation.
    *_calls(f"{_COINBASE}.reconcile:AccountReconciler.adopt", 1, "A5", starting=True),
    *_calls(f"{_COINBASE}.reconcile:AccountReconciler._look_up", 2, "A5", starting=True),
    *_calls(f"{_COINBASE}.reconcile:AccountReconciler._balances", 1, "A5", starting=True),
    *_calls(f"{_COINBASE}.reconcile:AccountReconciler._tell", 1, "A5", starting=True),
    *_calls(f"{_COINBASE}.settle:Settler.resolve_unknown", 3, "A5", "B14", starting=True),
    *_calls(f"{_COINBASE}.settle:Settler.read_fills_since", 1, "A5", "B9", starting=True),
    *_calls(f"{_COINBASE}.directory:Directory.opening", 2, "A5", starting=True),
    *_appends("AccountSettled", 1, "A5", starting=True),
    *_appends("InstrumentDefined", 1, "A5", starting=True),
    # The journal's own work.
    *_calls(f"{_DAEMON}.journal:JournalWriter._rotate", 1, "A5"),
    *_calls(f"{_DAEMON}.journal:JournalWriter._prepare", 3, "A5"),
    *_calls(f"{_DAEMON}.segment:MappedSegment.close", 1, "A5"),
    *[Spot(f"rename:orders-:{moment}", 3, ("A5",)) for moment in ("before", "after")],
    # An orderly end that is not one.
    *[
        Spot(f"append:ShutdownRequested:{moment}", 1, ("A11",), while_stopping=True)
        for moment in ("before", "torn", "after")
    ],
    *_calls(f"{_DAEMON}.supervisor:Supervisor._wind_down", 1, "A11", stopping=True),
    *_calls(f"{_COINBASE}.venue:CoinbaseVenue.stop", 1, "A11", stopping=True),
    *_calls(f"{_DAEMON}.journal:JournalWriter.close", 1, "A11", stopping=True),
    Spot("signal:twice", 1, ("A11",), while_stopping=True),
    # The machine goes down: the last records of the orders are not on disk as they were written.
    *[Spot(f"damage:{how}", 1, ("A6",)) for how in ("flip", "cut", "rubbish")],
)  # fmt: skip
