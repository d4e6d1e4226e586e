"""The commands ``data record`` and ``data compact``: a live market into the catalogue.

Owns the options, the settings of a session that only watches, and what is said at the end.  The daemon and the
compaction belong to the runtime: ``run.py`` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from config.commands import VenueOption
from config.session_plan import NameOption, SecondsOption, check_seconds
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError

if TYPE_CHECKING:
    from config.risk_schema import RiskSettings
    from config.schema import Settings


class Stored(Protocol):
    """What ``engine.runtime.storing.Tally`` says."""

    @property
    def session(self) -> str: ...

    @property
    def rows(self) -> dict[str, int]: ...

    @property
    def instruments(self) -> Sequence[str]: ...

    @property
    def upto_seq(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def complete(self) -> bool: ...

    def line(self) -> str: ...


Record = Callable[["Settings", float | None, str, bool], tuple[Stored | None, str]]
"""Run a session that only watches: settings, seconds, name, JSON; what was stored, and why not all of it was."""
Compact = Callable[[Path, str, Path], Stored]
"""Store a recorded session: folder of sessions, which one, catalogue."""


def register(app: typer.Typer, record: Record, compact: Compact) -> None:
    """Put both commands on ``app``."""

    @app.command("record")
    def data_record(
        config: ConfigOption = None,
        venue: VenueOption = None,
        feed: Annotated[str | None, typer.Option(help="live (default: as configured), or sandbox to try it")] = None,
        symbols: Annotated[str | None, typer.Option(help="such as BTC/USD,ETH/USD")] = None,
        seconds: SecondsOption = None,
        to: Annotated[Path | None, typer.Option(help="catalogue (default: setting data.catalogue)")] = None,
        session: NameOption = "",
        assign: SetOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Store a market as it comes, without trading: the daemon without strategies, models and limits."""
        check_seconds(seconds)
        settings = watching(config, venue=venue, feed=feed, symbols=symbols, to=to, assign=assign)
        stored, problem = record(settings, seconds, session, as_json)
        if as_json:
            print_json(content(stored, settings.data.catalogue) | {"problem": problem})
        if problem:
            raise typer.Exit(1)

    @app.command("compact")
    def data_compact(
        session: Annotated[str, typer.Argument(help="id, unique beginning of an id, folder, or latest")],
        to: Annotated[Path | None, typer.Option(help="catalogue (default: setting data.catalogue)")] = None,
        sessions: Annotated[
            Path | None, typer.Option(help="folder of sessions (default: setting session.directory)")
        ] = None,
        config: ConfigOption = None,
        assign: SetOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Store the market of a recorded session; run again, it goes on where it stopped."""
        from config.commands import parse_overrides
        from config.load import load

        settings = load(config or (), overrides=parse_overrides(assign))
        folder = to or settings.data.catalogue
        stored = compact(sessions or settings.session.directory, session, folder)
        print(stored.line())
        if as_json:
            print_json(content(stored, folder))


def watching(
    config: list[Path] | None,
    *,
    venue: str | None,
    feed: str | None,
    symbols: str | None,
    to: Path | None,
    assign: list[str] | None,
) -> Settings:
    """The settings of a session that stores the market and can do nothing else.  Raises ``ConfigError``."""
    from config.commands import parse_overrides
    from config.load import load

    if feed not in (None, "live", "sandbox"):
        raise ConfigError(f"--feed {feed}", expected="live or sandbox", do="recorded files: python run.py data import")
    named = {
        "venue.name": venue,
        "venue.feed": feed,
        "venue.symbols": None if symbols is None else [name.strip() for name in symbols.split(",")],
        "data.catalogue": None if to is None else str(to),
    }
    given = {key: value for key, value in named.items() if value is not None}
    settings = load(config or (), overrides=parse_overrides(assign) | given)
    if settings.venue.feed == "replay":
        raise ConfigError(
            "venue.feed is replay", expected="live or sandbox", do="recorded files: python run.py data import"
        )
    return settings.model_copy(
        update={
            "strategies": [],
            "risk": nothing(),
            "engine": settings.engine.model_copy(update={"shadow_tick": False}),
            "data": settings.data.model_copy(update={"record": True}),
        }
    )


def nothing() -> RiskSettings:
    """Limits under which no order could be opened, whoever asked."""
    from config.risk_schema import RiskSettings

    return RiskSettings(
        allowed_instruments=[],
        max_order_qty={"*": Decimal(0)},
        max_position_qty={"*": Decimal(0)},
        max_order_notional=Decimal(0),
        max_position_notional=Decimal(0),
        max_gross_notional=Decimal(0),
        max_net_notional=Decimal(0),
        collar_bps=Decimal(0),
        stale_quote_ns=0,
        max_orders_per_s=0,
        max_orders_per_s_instrument=0,
        max_rejections_per_s=0,
        duplicate_window_ns=0,
        max_open_orders=0,
        # These two reduce by themselves when they are reached, and there is nothing to reduce.
        max_daily_loss=Decimal(10) ** 15,
        max_drawdown_bps=Decimal(10_000),
    )


def content(stored: Stored | None, catalogue: Path) -> dict[str, Any]:
    """The object of ``--json``."""
    if stored is None:
        return {"catalogue": str(catalogue), "rows": 0, "kinds": {}, "instruments": []}
    return {
        "session": stored.session,
        "catalogue": str(catalogue),
        "rows": stored.total,
        "kinds": dict(stored.rows),
        "instruments": sorted(stored.instruments),
        "upto_seq": stored.upto_seq,
        "complete": stored.complete,
    }
