"""What the watchdog concludes from a heart that stops, a HALT not obeyed or a daemon that died, and what it does then.

Owns the judgement and the campaign that cancels every open order; the process around it is
``engine.runtime.watchdog_process``, the bytes are the connector's cancel-only module.  Nothing here needs the daemon:
it is only looked at.  Time, the venue, the files and the record are handed in.

    what is seen                                                 what is done
    no beat for ``stuck_s`` (``start_s`` while it starts)        latch, HALT, cancel, stay on guard
    a HALT file, and the daemon not halted ``halt_s`` later      the same
    halted, but orders stay open for ``stuck_s``                 cancel, stay on guard
    the process is gone, or ended with orders that may live      ``on_death``: cancel; halt (HALT and cancel); keep
    the session ended in order                                   end
    another daemon has taken the account over                    look on; end when it holds it for ``HANDED_OVER_S``
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from engine.commands import RiskState
from engine.errors import KestrelError
from engine.runtime.heartbeat import Beat, Phase
from engine.session_options import Rules

LOOK_S: Final = 0.1
"""Between two looks at the heart."""
ROUND_S: Final = 0.5
"""Between two rounds of a campaign; doubles with each round that the venue does not answer, up to ``ROUND_MAX_S``."""
ROUND_MAX_S: Final = 10.0
GUARD_S: Final = 5.0
"""Between two listings while nothing is open and the daemon is still not well: what it had sent may arrive late."""
CONFIRMATIONS: Final = 2
"""Listings in a row without an open order, ``ROUND_S`` apart: the venue's listings may be a moment old."""
HANDED_OVER_S: Final = 30.0
"""Whoever holds the account for so long has a watchdog of its own; one that fails before leaves the orders to this."""
BATCH: Final = 100
SOURCE: Final = "watchdog"


class Account(Protocol):
    """An account at a venue as it may be spoken to here.  Both raise ``VenueError``."""

    def open_orders(self) -> list[str]: ...

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Id -> why it was not taken, empty where it was; at most ``BATCH`` at once."""
        ...


class Heartbeat(Protocol):
    """``engine.runtime.heartbeat.Pulse``."""

    def read(self) -> Beat: ...

    def latch(self) -> None: ...

    def look(self, now_ns: int) -> None: ...


Note = Callable[..., None]
"""``note(event, **what)``: one line of the record."""


class Campaign:
    """Cancels everything that is open, again and again, until the venue shows nothing open any more."""

    def __init__(self, account: Account, note: Note, since_s: float) -> None:
        self._account = account
        self._note = note
        self._failures = 0
        self._shown: list[str] | None = None
        self.since_s = since_s
        """When it began, or when the venue was last seen without an open order."""
        self.due_s = since_s
        self.clear = 0
        """Listings in a row that showed nothing open."""

    @property
    def done(self) -> bool:
        return self.clear >= CONFIRMATIONS

    def round(self, now_s: float, taken_over: Callable[[], str]) -> str:
        """One listing and the cancels that it calls for.  Returns who else trades on the account by now: then what is
        open may be that one's, and is left alone."""
        try:
            found = self._account.open_orders()
            if found and (other := taken_over()):
                return other
            refused: dict[str, str] = {}
            for start in range(0, len(found), BATCH):
                said = self._account.cancel(found[start : start + BATCH])
                refused.update((order_id, why) for order_id, why in said.items() if why)
        except KestrelError as error:
            self.clear = 0
            self._failures += 1
            self.due_s = now_s + min(ROUND_S * 2.0**self._failures, ROUND_MAX_S)
            self._note("venue_failed", error=str(error), failures=self._failures, again_in_s=self.due_s - now_s)
            return ""
        self._failures = 0
        if found:
            self.clear = 0
            self.due_s = now_s + ROUND_S
            self._note("cancels_sent", open=len(found), refused=refused, orders=found[:BATCH])
        else:
            self.clear += 1
            self.since_s = now_s
            self.due_s = now_s + (GUARD_S if self.done else ROUND_S)
            if self.clear == CONFIRMATIONS:
                self._note("none_open")
        return ""


class Watchdog:
    """One session's.  ``step`` is one look; it is called every ``LOOK_S``, and says when there is nothing left to do.

    ``alive`` tells whether the daemon's process is there, ``halted`` what a HALT file says (None without one),
    ``pull(reason)`` writes one, ``taken_over`` names another daemon that holds the account now (else empty).
    """

    def __init__(
        self,
        *,
        rules: Rules,
        pulse: Heartbeat,
        account: Account,
        alive: Callable[[], bool],
        halted: Callable[[], dict[str, str] | None],
        pull: Callable[[str], None],
        taken_over: Callable[[], str],
        note: Note,
        now_ns: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._pulse = pulse
        self._account = account
        self._alive = alive
        self._halted = halted
        self._pull = pull
        self._taken_over = taken_over
        self._note = note
        self._now_ns = now_ns
        self._beats = -1
        self._looked_s = now_ns() / 1e9
        self._silent_s = 0.0
        self._disobeyed_s = 0.0
        self._lingering_s = 0.0
        self._campaign: Campaign | None = None
        self._heir = ""  # who took the account over, and when that was seen
        self._heir_s = 0.0
        self._reason = ""
        self._halts = False
        self.complete = True
        """At the end: nothing is left that somebody must do by hand."""

    def step(self) -> bool:
        """Look once and do what is due; True when it is over."""
        now_ns = self._now_ns()
        now_s = now_ns / 1e9
        self._pulse.look(now_ns)
        # Before the heart is read: whoever is gone now has written everything it ever will.
        alive = self._alive()
        beat = self._pulse.read()
        self._measure(beat, now_s)
        if beat.phase is Phase.ENDED and not beat.open_orders:
            self._note("session_ended", interrupted=self._reason)
            return True
        if beat.phase is Phase.ENDED or not alive:
            return self._step_dead(beat, now_s)
        reason, halts = self._complaint(beat)
        if reason:
            self._begin(reason, halts=halts, now_s=now_s, beat=beat)
        elif self._campaign is not None and self._is_over(beat):
            self._note("daemon_well", risk=beat.risk.value, open_orders=beat.open_orders)
            self._campaign, self._reason, self._halts = None, "", False
        self._continue(now_s)
        return False

    # --- looking ----------------------------------------------------------------------------------------------------

    def _measure(self, beat: Beat, now_s: float) -> None:
        """Count only time in which this process was there to look: after both were stopped, or the machine was, the
        daemon must get its chance to beat first."""
        passed_s = min(now_s - self._looked_s, 5 * LOOK_S)
        self._looked_s = now_s
        if beat.beats != self._beats:
            self._beats, self._silent_s = beat.beats, 0.0
        else:
            self._silent_s += passed_s
        is_halted = beat.risk is RiskState.HALTED
        disobeys = not is_halted and beat.phase is not Phase.STARTING and self._halted() is not None
        self._disobeyed_s = self._disobeyed_s + passed_s if disobeys else 0.0
        lingers = is_halted and beat.open_orders > 0 and beat.phase is not Phase.STARTING
        self._lingering_s = self._lingering_s + passed_s if lingers else 0.0

    def _complaint(self, beat: Beat) -> tuple[str, bool]:
        """What is wrong with a daemon that lives, and whether it is to be halted for it."""
        rules = self._rules
        if rules.only_looks:
            return "", False
        limit_s = rules.start_s if beat.phase is Phase.STARTING else rules.stuck_s
        if self._silent_s >= limit_s:
            return f"no heartbeat for {limit_s:g} s, in phase {beat.phase.name.lower()}", True
        if self._disobeyed_s >= rules.halt_s:
            return f"a HALT file was not obeyed within {rules.halt_s:g} s", True
        if self._lingering_s >= rules.stuck_s:
            return f"halted, but orders are open for {rules.stuck_s:g} s", False
        return "", False

    def _is_over(self, beat: Beat) -> bool:
        """The daemon is well again: it beats, and either somebody resumed it or all is cancelled."""
        if self._silent_s:
            return False
        campaign = self._campaign
        resumed = beat.risk is not RiskState.HALTED and self._halted() is None
        return resumed or (campaign is not None and campaign.done and not beat.open_orders)

    # --- acting -----------------------------------------------------------------------------------------------------

    def _begin(self, reason: str, *, halts: bool, now_s: float, beat: Beat) -> None:
        """Once for each complaint; one that calls for a halt also where a lesser one came before."""
        if self._campaign is not None and (self._halts or not halts):
            return
        self._reason, self._halts = reason, halts
        self._note(
            "alert", reason=reason, beats=beat.beats, risk=beat.risk.value, open_orders=beat.open_orders, halts=halts
        )
        if halts:
            self._pulse.latch()
            self._note("latched")
            self._pull(reason)
        self._campaign = self._campaign or Campaign(self._account, self._note, now_s)

    def _continue(self, now_s: float) -> None:
        campaign = self._campaign
        if campaign is not None and now_s >= campaign.due_s:
            campaign.round(now_s, lambda: "")  # the daemon lives, so the account is its own

    def _step_dead(self, beat: Beat, now_s: float) -> bool:
        """Nobody follows the orders any more."""
        rules = self._rules
        if self._campaign is None:
            died = "the session ended" if beat.phase is Phase.ENDED else "the daemon died"
            reason = f"{died} in phase {beat.phase.name.lower()}, {beat.open_orders} orders may live"
            if rules.on_death == "keep":
                self._note("alert", reason=reason, beats=beat.beats, open_orders=beat.open_orders, halts=False)
                self._note("left_alone", policy="keep", open_orders=beat.open_orders)
                self.complete = not beat.open_orders
                return True
            self._begin(reason, halts=rules.on_death == "halt", now_s=now_s, beat=beat)
        campaign = self._campaign
        assert campaign is not None
        if now_s < campaign.due_s:
            return False
        other = self._taken_over() or campaign.round(now_s, self._taken_over) or self._taken_over()
        if other:
            return self._is_handed_over(other, campaign, now_s)
        if self._heir:
            self._note("alert", reason=f"{self._heir} took over and is gone", open_orders=beat.open_orders)
            self._heir = ""
        if campaign.done:
            self._note("finished", reason=self._reason)
            return True
        if now_s - campaign.since_s >= rules.give_up_s:
            self._note("gave_up", after_s=rules.give_up_s, do="cancel the account's open orders at the venue by hand")
            self.complete = False
            return True
        return False

    def _is_handed_over(self, other: str, campaign: Campaign, now_s: float) -> bool:
        """Another daemon holds the account: what is open is its own.  Whether it has for long enough."""
        if other != self._heir:
            self._heir, self._heir_s = other, now_s
            self._note("taken_over", by=other)
        campaign.clear, campaign.since_s, campaign.due_s = 0, now_s, now_s + ROUND_S
        return now_s - self._heir_s >= HANDED_OVER_S
