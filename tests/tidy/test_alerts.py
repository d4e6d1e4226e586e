"""The rules for Prometheus: the runbook explains each and no other, and each looks at what a daemon exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.counters import Counters
from engine.runtime.clocks import SystemClock
from engine.runtime.conformal_counts import SetCounts
from engine.runtime.journal_stream import JournalStats
from engine.runtime.logs import LogPipe
from engine.runtime.metrics import Metrics
from engine.runtime.probe import StageProbe
from tests.tidy.test_runbook import ROOT, told

GROUPS: list[dict[str, Any]] = yaml.safe_load((ROOT / "docs" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
SELECTOR = re.compile(r'\b(kestrel_[a-z_]+)(?:\{([a-z]+)(=~|!=|=)"([^"]*)"\})?(\[\w+\])?')


def test_each_alert_is_explained_and_nothing_else_is() -> None:
    """By its name, once, in the table that an operator looks it up in."""
    assert sum(len(group["rules"]) for group in GROUPS) == len(RULES) > 15
    assert sorted(told("What to wake somebody for")) == sorted(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    """The keys that Prometheus knows; the place is a heading of a page that is there."""
    rule = RULES[name]
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(rule["annotations"]) == {"summary", "runbook"}
    page, heading = rule["annotations"]["runbook"].split("#")
    text = (Path(ROOT) / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^##+ (.+)$", text, re.M)
    }
    assert heading in headings


def fresh() -> dict[str, list[dict[str, str]]]:
    """What a daemon exports before anything has gone wrong: labels by the name of the sample.  Equity, room on the disk
    and conformal sets are told once they are known."""
    clock, stats = SystemClock(), JournalStats(0, 0, 0, 0, 0, "")
    pipe = LogPipe(None, None, max_bytes=1, backups=1, queue_lines=1)
    metrics = Metrics(
        session="s", counters=Counters(), probe=StageProbe(clock), clock=clock, journal_stats=lambda: stats, logs=pipe
    )
    gauges = metrics.gauges
    gauges.equity, gauges.disk_free_bytes, gauges.feed_last_recv_ns = 1.0, 1, {"BTC/USD@coinbase": 1}
    gauges.conformal = {("s", "BTC/USD@coinbase"): SetCounts("m@1", 0.1, 0, 0, 0, 0)}
    found: dict[str, list[dict[str, str]]] = {}
    for family in metrics.collect():
        found.setdefault(family.name + ("_total" if family.type == "counter" else ""), [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def matches(labels: dict[str, str], label: str, operator: str, value: str) -> bool:
    if operator == "=~":
        return re.fullmatch(value, labels[label]) is not None
    return (labels[label] == value) is (operator == "=")


@pytest.mark.parametrize("name", [name for name in RULES if name != "KestrelDown"])
def test_an_alert_looks_at_what_is_exported(name: str) -> None:
    """What is counted over a time has to be there as zero before: the first sample of a series is no increase."""
    exported = fresh()
    selectors = SELECTOR.findall(RULES[name]["expr"])
    assert selectors
    for metric, label, operator, value, span in selectors:
        assert metric in exported, metric
        seen = [one for one in exported[metric] if not label or matches(one, label, operator, value)]
        assert seen or not (span or label), f"{metric} begins with its first one"
