"""The command ``paper``: its options, and which of them go together.

What is started then belongs to the runtime: ``run.py`` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.commands import VenueOption, parse_overrides, parse_speed
from config.session_plan import NameOption, ReportOption, SecondsOption, SessionPlan, VenueTruthOption, check_seconds
from engine.cli import ConfigOption, JsonFlag, SetOption
from engine.errors import ConfigError

if TYPE_CHECKING:
    from config.schema import Settings


def register(app: typer.Typer, start: Callable[[Settings, SessionPlan, Sequence[Path]], None]) -> None:
    """Put the command on ``app``.  ``start`` runs the session, on these recorded files if any, to its end."""

    @app.command("paper")
    def paper(
        files: Annotated[
            list[Path] | None, typer.Argument(help="recorded Parquet or .jsonl.gz, after --replay")
        ] = None,
        config: ConfigOption = None,
        venue: VenueOption = None,
        feed: Annotated[str | None, typer.Option(help="sandbox (default), live or replay")] = None,
        play: Annotated[bool, typer.Option("--replay", help="play the recorded FILES that follow")] = False,
        speed: Annotated[str, typer.Option(help="of recorded files: a factor of recorded pace, or max")] = "max",
        seconds: SecondsOption = None,
        session: NameOption = "",
        report: ReportOption = True,
        venue_truth: VenueTruthOption = False,
        assign: SetOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Trade on paper: against the built-in exchange, the live market, or recorded files."""
        from config.load import load

        files = files or []
        if files and not play:
            raise ConfigError(f"unexpected argument {files[0]}", expected="--replay before recorded files")
        if play and not files:
            raise ConfigError("--replay without files", expected="--replay FILE...", do="name the recorded files")
        if play and feed not in (None, "replay"):
            raise ConfigError(f"--feed {feed} with --replay", expected="one of the two", do="leave one of them out")
        pace = parse_speed(speed)
        check_seconds(seconds)
        named = {"venue.name": venue, "venue.feed": "replay" if files else feed}
        wanted = parse_overrides(assign) | {key: value for key, value in named.items() if value is not None}
        settings = load(config or (), overrides=wanted)
        if settings.venue.feed == "replay" and not files:
            raise ConfigError("feed replay without files", expected="--replay FILE...", do="name the recorded files")
        plan = SessionPlan("paper", pace, seconds, session, report, venue_truth, as_json)
        start(settings, plan, files)
