"""The average price and the latches of a holding."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from strategies.holding import Holding

D = Decimal
MIN = D("0.01")


def book(holding: Holding, qty: str, px: str, now_ns: int) -> None:
    holding.book(D(qty), D(px), now_ns=now_ns, cooldown_ns=5, min_qty=MIN)


def test_growing_averages_shrinking_keeps_flipping_starts_anew() -> None:
    """1 at 100, 1 more at 110, less 0.5, then through zero to -1 at 90, 1 more short at 80."""
    holding = Holding()
    for qty, px, now, avg, entry in (
        ("1", "100", 1, "100", 1),
        ("2", "110", 2, "105", 1),
        ("1.5", "200", 3, "105", 1),
        ("-1", "90", 4, "90", 4),
        ("-2", "80", 5, "85", 4),
    ):
        book(holding, qty, px, now)
        assert (holding.avg_px, holding.entry_ns) == (D(avg), entry)


def test_an_unchanged_quantity_changes_nothing() -> None:
    """Somebody else's fill."""
    holding = Holding(qty=D(1), avg_px=D(100), entry_ns=1, exit_reason="stop")
    before = msgspec.to_builtins(holding)
    book(holding, "1", "500", 9)
    assert msgspec.to_builtins(holding) == before


def test_flat_forgets_the_exit_and_starts_the_cool_down() -> None:
    """To zero, and to dust."""
    for rest in ("0", "0.009"):
        holding = Holding(qty=D(1), avg_px=D(100), entry_ns=1, exit_reason="stop", exit_attempts=3, last_exit_ns=7)
        book(holding, rest, "101", 10)
        assert (holding.exit_reason, holding.exit_attempts, holding.entry_ns, holding.avg_px) == ("", 0, 0, D(0))
        assert holding.quiet_until_ns == 15


def test_dust_is_no_entry() -> None:
    """Less than one order from flat: no entry time, no cool-down; growing out of it is the entry."""
    holding = Holding()
    book(holding, "0.005", "100", 1)
    assert (holding.entry_ns, holding.quiet_until_ns) == (0, 0)
    book(holding, "1", "110", 2)
    assert (holding.entry_ns, holding.avg_px) == (2, D(110))
