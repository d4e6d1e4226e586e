"""Everything that a start would refuse, looked at before it; nothing is changed by that.

Owns the order of the looks and how they are shown (the command is ``config.doctor_command``).  What is looked at:
``config.doctor_checks`` (settings, key, models), ``engine.runtime.preconditions`` (this machine, given by ``run.py``),
``config.doctor_venue`` (the venue).  A live start asks the same and goes on only if nothing failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from config.assembly import ConfiguredAssembly
from config.doctor_checks import Subject, judged_as_live, settings_findings
from config.doctor_venue import PARTS, venue_findings
from config.load import load
from config.schema import Settings
from config.venue_registry import kind_of
from config.wiring import resolve
from engine.errors import KestrelError
from engine.findings import Finding, Outcome, failed, refused
from engine.ports import Clock

_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}


@dataclass(frozen=True)
class Around:
    """What only ``run.py`` can reach: the looks at this machine, the venue's own id of the account compared with that
    of earlier sessions, a clock, and how a text loses what looks like a secret."""

    machine: Callable[[Subject], Sequence[Finding]]
    identify: Callable[[Subject], Callable[[str], None]]
    clock: Callable[[], Clock]
    clean: Callable[[str], str]


def subject_of(settings: Settings, *, live: bool, venue_truth: bool = False) -> Subject:
    """What the looks are at; its assembly may go on to serve the session."""
    foreseen = [] if settings.venue.feed == "replay" else kind_of(settings).foresee(settings)
    resolved = resolve(settings, list(dict.fromkeys(one.id for one in foreseen))) if foreseen else settings
    if live and settings.risk.allowed_instruments == "all":
        # Left as it is, so that the limits are refused: what may be traded with real orders is written down.
        resolved = resolved.model_copy(update={"risk": settings.risk})
    return Subject(resolved, live, foreseen, ConfiguredAssembly(resolved, time.perf_counter_ns), venue_truth)


def examine(subject: Subject, around: Around) -> list[Finding]:
    """All looks.  The venue is asked last, and only where settings and key gave no reason not to: a key that others can
    read, or that is for the other kind of money, is not used."""
    findings = settings_findings(subject)
    reasons = failed(one for one in findings if one.check in ("venue", "key file", "account"))
    findings += around.machine(subject)
    if reasons:
        why = f"not asked: {reasons[0].check} failed"
        return findings + [Finding(name, Outcome.SKIPPED, why) for name in ("connection", *PARTS)]
    return findings + venue_findings(subject, around.clock(), around.identify(subject))


def examine_configured(config: Sequence[Path], overrides: Mapping[str, Any], around: Around) -> dict[str, Any]:
    """``doctor``: look, show, and the object of ``doctor --json``.  Settings that cannot be read are a finding."""
    live = False
    try:
        settings = load(config, overrides=overrides)
        live = judged_as_live(settings)
        findings = examine(subject_of(settings, live=live), around)
    except KestrelError as error:
        findings = [refused("configuration", error)]
    findings = [cleaned(one, around.clean) for one in findings]
    account = next((one.seen for one in findings if one.check == "account" and one.outcome is Outcome.OK), "")
    show(findings)
    return {
        "ok": not failed(findings),
        "live": live,
        "account": account,
        "checks": [msgspec.to_builtins(one) for one in findings],
    }


def cleaned(finding: Finding, clean: Callable[[str], str]) -> Finding:
    """Without secrets: what a venue or a file said may quote a key."""
    return msgspec.structs.replace(
        finding, seen=clean(finding.seen), expected=clean(finding.expected), do=clean(finding.do)
    )


def show(findings: Sequence[Finding], *, to_stderr: bool = False, console: Console | None = None) -> None:
    """A line for each, and below it what was expected and what to do where that is something."""
    console = console or Console(highlight=False, soft_wrap=True, stderr=to_stderr)
    for one in findings:
        console.print(f"[{_COLOURS[one.outcome]}]{one.outcome.value:<8}[/]{one.check:<14} {escape(one.seen)}")
        for word, text in (("expected", one.expected), ("do", one.do)):
            if text:
                console.print(f"{'':<23}{word}: {escape(text)}")
    counts = ", ".join(
        f"{count} {outcome.value}"
        for outcome in (Outcome.FAILED, Outcome.WARNING, Outcome.OK, Outcome.SKIPPED)
        if (count := sum(one.outcome is outcome for one in findings))
    )
    console.print(f"{counts}: " + ("not ready" if failed(findings) else "ready"))
