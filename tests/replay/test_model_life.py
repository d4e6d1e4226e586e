"""A daemon on paper whose model is exchanged while it trades: shadow, canary, champion, and back."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from operator import ge
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder
from engine.runtime.control import ask, running_sessions
from engine.runtime.journal_reader import JournalRecord, read_journal
from engine.runtime.journal_tail import JournalTail
from models.registry.promotion import promote, rollback
from models.registry.store import Registry
from tests.support.daemon import Running, replay_session
from tests.support.venue_account import Execution, VenueAccount, booked_balances, booked_executions
from tests.support.versions import add_version

INSTRUMENTS = ("BTC/USD@coinbase", "ETH/USD@coinbase")
EACH = 20
"""Predictions of an instrument that a version makes at least in each of its roles."""
ENDS = (e.OrderFilled, e.OrderCancelled, e.OrderRejected, e.OrderExpired)


def until(running: Running, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 90.0) -> dict[str, Any]:
    """Ask for its status until that fits."""
    end, status = time.monotonic() + timeout_s, dict[str, Any]()
    while time.monotonic() < end:
        assert running.process.poll() is None, running.said()[-2000:]
        found = running_sessions(running.folder / "run")
        status = ask(found[0], "status", timeout_s=120.0) if found else {}
        if status and holds(status):
            return status
        time.sleep(0.05)
    raise AssertionError(f"still {status} after {timeout_s} s: {running.said()[-2000:]}")


class Predicted:
    """How many predictions of each version the journal of a running session has, by instrument and version."""

    def __init__(self, tail: JournalTail) -> None:
        self._tail = tail
        self._counts: Counter[tuple[str, str]] = Counter()

    def of(self, version: str) -> list[int]:
        """Of each instrument, by now."""
        while records := self._tail.poll():
            told = (one.record for one in records)
            self._counts.update((one.instrument, one.model) for one in told if isinstance(one, e.Prediction))
        return [self._counts[instrument, version] for instrument in INSTRUMENTS]


def trades_as(running: Running, role: str, version: str) -> None:
    """Until every instrument was given that, and has had so many of its predictions since."""

    def given(status: dict[str, Any]) -> bool:
        roles = status.get("registry", {}).get("roles", {})
        return len(roles) == 2 and all(version in one.get(role, "") for one in roles.values())

    until(running, given)
    with closing(JournalTail(running.session / "journal")) as tail:
        predicted = Predicted(tail)
        wanted = [count + EACH for count in predicted.of(version)]
        until(running, lambda _: all(map(ge, predicted.of(version), wanted)))


@pytest.mark.fault("E7")
def test_models_are_exchanged_under_load_and_the_session_replays(tmp_path: Path) -> None:
    """Champion, another one, a canary, that as champion, and back, at 300 orders a second of the market.

    Each prediction is of the version that served at that moment, every order comes to an end that the venue told, the
    journal has each execution that the venue has, once and to the last digit, and the session is decided again byte for
    byte, with the models computed anew as well.
    """
    registry = Registry(tmp_path / "registry")
    first, second, third = (add_version(registry, tmp_path, name) for name in ("one", "two", "three"))
    who: dict[str, Any] = {"who": "ann", "why": "a test", "now_ns": time.time_ns()}
    sha = {version: version.partition("@")[2] for version in (first, second, third)}
    promote(registry, "demo-crypto", sha[first], **who)
    load = ("--set", "sandbox.rate_per_s=300", "--set", "sandbox.history_s=5")
    slack = ("--set", "models.deadline_us=100000")  # a busy machine must not keep a model from being taken
    named = ("--set", f"models.registry={registry.root}")
    eager = ("--set", "strategies=[{name: mine, kind: threshold, params: {buy: 0.51, sell: 0.49, cost_multiple: 0}}]")
    daemon = Running(tmp_path, *eager, *load, *slack, *named, "--no-report", "--json")
    try:
        trades_as(daemon, "champion", first)
        promote(registry, "demo-crypto", sha[second], **who)
        trades_as(daemon, "champion", second)
        promote(registry, "demo-crypto", sha[third], to="shadow", **who)
        predicts_beside(daemon, third)
        promote(registry, "demo-crypto", sha[third], to="canary", share=Decimal("0.05"), **who)
        trades_as(daemon, "canary", third)
        promote(registry, "demo-crypto", sha[third], **who)
        trades_as(daemon, "champion", third)
        rollback(registry, "demo-crypto", force=False, **who)
        trades_as(daemon, "champion", second)
        until(daemon, lambda status: status["fills"] > 0 and status["orders"] > 10)
        executions, balances = at_rest(daemon)
        assert daemon.stop() == 0
    finally:
        daemon.close()
    summary = last_json_of(daemon)
    assert (summary["open_order_count"], summary["unknown_order_count"]) == (0, 0)
    assert summary["quarantined"] == {}
    assert summary["fills"] > 0
    records = list(read_journal(daemon.session / "journal"))
    check_versions(records, [first, second, third, second])
    check_orders(records)
    told = [one.record for one in records]
    assert sorted(booked_executions(told)) == sorted(executions.items())
    booked = booked_balances(told)
    assert booked == {name: balances.get(name) for name in booked}
    for extra in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, daemon.session.name, *extra)
        assert (status, result["identical"]) == (0, True), result
        assert result["decisions"] > 10


def predicts_beside(running: Running, version: str) -> None:
    """Until the process that watches has run it as a shadow."""
    said = running.session / "observer" / "predictions.jsonl"
    until(running, lambda _: said.exists() and said.read_text().count(version) > 40)


def at_rest(running: Running) -> tuple[dict[str, Execution], dict[str, Decimal]]:
    """Halted, and flat, as exits leave while halted too: all executions that the venue knows of, and its balances."""
    (control,) = running_sessions(running.folder / "run")
    ask(control, "halt", {"reason": "to compare"}, timeout_s=30.0)
    ask(control, "flatten", {"reason": "to compare"}, timeout_s=30.0)
    until(running, lambda status: status["state"] == "halted" and not status["open_orders"] and not status["closing"])
    found = re.search(r"exchange (http://[\d.:]+)", running.said())
    assert found is not None
    account = VenueAccount(running.session, found[1])
    return account.executions(), account.balances()


def last_json_of(daemon: Running) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(daemon.out.read_text().strip().splitlines()[-1])
    return content


def check_versions(records: list[JournalRecord], wanted: list[str]) -> None:
    """Each instrument was served by these in turn; no prediction names another than the one that served then."""
    serving: dict[str, list[str]] = {}
    predicted: dict[str, set[str]] = {}
    tried = 0
    beside: dict[str, str] = {}
    for record in (one.record for one in records):
        if isinstance(record, e.ModelAssigned):
            serving.setdefault(record.instrument, []).append(record.model)
        elif isinstance(record, e.ModelOffered) and record.role == "canary":
            beside[record.instrument] = record.model
        elif isinstance(record, e.Prediction):
            assert record.model in {serving[record.instrument][-1], beside.get(record.instrument)}
            predicted.setdefault(record.instrument, set()).add(record.model)
            tried += record.model == wanted[2] and wanted[2] not in serving[record.instrument]
    assert set(serving) == set(INSTRUMENTS)
    for instrument, versions in serving.items():
        assert versions == wanted
        assert predicted[instrument] == set(wanted)
    roles = [(one.record.role, one.record.model) for one in records if isinstance(one.record, e.ModelOffered)]
    assert roles.count(("canary", wanted[2])) == 2
    assert tried >= len(INSTRUMENTS) * EACH  # beside the champion, before it was one itself


def check_orders(records: list[JournalRecord]) -> None:
    """The venue told the end of each order; no gap, no feed that went down before the end of the session."""
    sent = {one.record.client_order_id for one in records if isinstance(one.record, NewOrder)}
    ended = {one.record.client_order_id for one in records if isinstance(one.record, ENDS)}
    assert len(sent) > 10
    assert sent - ended == set()
    assert not [one for one in records if isinstance(one.record, e.Gap)]
