"""A session that stood still, or whose clock stepped, has its account confirmed before it takes on more."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.venues import STANDSTILL_NS
from tests.support.account import Account
from tests.support.core import BTC


def confirmed() -> Account:
    account = Account()
    account.publish(e.AccountSettled(account.now_ns, account.now_ns, "coinbase", ()))
    return account


@pytest.mark.fault("C16")
@pytest.mark.parametrize(("still_ns", "doubts"), [(STANDSTILL_NS, 0), (STANDSTILL_NS + 1, 1)])
def test_after_nothing_was_handled_for_long_the_account_has_to_be_confirmed(still_ns: int, doubts: int) -> None:
    """Up to ten seconds are a timer that was late; the first event after more than that, whatever it is, shuts entries,
    and once."""
    account = confirmed()
    core = account.core
    account.now_ns = core.view.now_ns + still_ns
    account.publish(e.Timer(account.now_ns, account.now_ns, "tick"))
    account.publish(e.Timer(account.now_ns + 1, account.now_ns + 1, "tick"))
    assert (core.counters.standstills, len(core.venues.unconfirmed)) == (doubts, doubts)
    assert ("not confirmed since nothing was handled for 10.0 s" in core.venues.reason_closed(BTC)) == bool(doubts)
    account.publish(e.AccountSettled(account.now_ns + 2, account.now_ns + 2, "coinbase", ()))
    assert not core.venues.unconfirmed


@pytest.mark.fault("C16")
def test_after_a_step_of_the_clock_the_account_has_to_be_confirmed() -> None:
    """A machine that slept: its own time stood still, so that the step alone tells of it."""
    account = confirmed()
    core, now_ns = account.core, account.now_ns
    account.publish(e.ClockStepped(now_ns, now_ns, 451 * 10**9))
    assert (core.counters.clock_steps, core.counters.standstills) == (1, 0)
    assert "the clock of this machine stepped by 451.0 s" in core.venues.reason_closed(BTC)
    account.publish(e.AccountSettled(now_ns, now_ns, "coinbase", ()))
    assert not core.venues.unconfirmed


def test_a_venue_in_this_process_hides_nothing_in_a_pause() -> None:
    """Nights of a recording are no standstills."""
    account = Account()
    now_ns = account.core.view.now_ns + 8 * 3600 * 10**9
    account.publish(e.Timer(now_ns, now_ns, "tick"))
    assert (account.core.counters.standstills, account.core.venues.unconfirmed) == (0, ())
