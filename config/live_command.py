"""The command ``live``: real orders, after everything that stands against them was asked.

Owns the order of the questions: the account that was named, then all that ``doctor`` looks at, of which nothing may
have failed.  What is started then belongs to the runtime: ``run.py`` gives it.  The account is confirmed by its venue
before the first order leaves (``engine.runtime.rehearsal``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from config.commands import parse_overrides
from config.session_plan import NameOption, ReportOption, SecondsOption, SessionPlan, VenueTruthOption, check_seconds
from engine.cli import ConfigOption, JsonFlag, SetOption
from engine.errors import KestrelError

if TYPE_CHECKING:
    from config.doctor import Around
    from config.doctor_checks import Subject
    from config.schema import Settings


def register(app: typer.Typer, around: Callable[[], Around], start: Callable[[Subject, SessionPlan], None]) -> None:
    """Put the command on ``app``.  ``start`` runs the session to its end."""

    @app.command("live")
    def live(
        config: ConfigOption = None,
        confirm: Annotated[
            str, typer.Option(metavar="ACCOUNT", help="the account that is meant, as doctor names it")
        ] = "",
        check: Annotated[bool, typer.Option("--check", help="end at the confirmed account, send nothing")] = False,
        seconds: SecondsOption = None,
        session: NameOption = "",
        report: ReportOption = True,
        venue_truth: VenueTruthOption = False,
        assign: SetOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Trade with real orders.  Refuses without explicit limits, --confirm, a clean doctor and an approved build."""
        check_seconds(seconds)
        from config.load import load

        settings = load(config or (), overrides=parse_overrides(assign))
        subject = admitted(settings, confirm, around(), quiet=not check, venue_truth=venue_truth)
        plan = SessionPlan(
            mode="live",
            seconds=seconds,
            session=session,
            report=report,
            venue_truth=venue_truth,
            as_json=as_json,
            only_check=check,
        )
        start(subject, plan)


def admitted(settings: Settings, confirm: str, around: Around, *, quiet: bool, venue_truth: bool) -> Subject:
    """The session that may start.  Raises ``KestrelError`` for the first reason against it, or the number of those that
    ``doctor`` found, which are shown before.  ``quiet``: what is as it should be is not shown."""
    from config.doctor import cleaned, examine, show, subject_of
    from config.live import check_confirmed, check_place, check_profile
    from config.secrets import check_private
    from engine.findings import Outcome, failed

    check_profile(settings)
    check_place(settings)
    if settings.venue.key_file is not None:
        check_private(settings.venue.key_file)
    check_confirmed(settings, confirm)
    subject = subject_of(settings, live=True, venue_truth=venue_truth)
    findings = [cleaned(one, around.clean) for one in examine(subject, around)]
    wrong = failed(findings)
    shown = [one for one in findings if not quiet or one.outcome in (Outcome.FAILED, Outcome.WARNING)]
    if shown:
        show(shown, to_stderr=True)
    if wrong:
        names = ", ".join(one.check for one in wrong)
        raise KestrelError(
            f"{len(wrong)} of {len(findings)} checks failed ({names}): {wrong[0].seen}",
            expected=wrong[0].expected or "a clean doctor",
            do=wrong[0].do or "put right what is said above; python run.py doctor, with the same options, looks again",
        )
    return subject
