"""The command ``results``: its options and what it prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError
from models.refusals import needing

ROOT: Final = Path(__file__).resolve().parents[2]
LIST: Final = ROOT / "config" / "results"
RESULTS: Final = ROOT / "docs" / "results"
LEDGER: Final = RESULTS / "test-ledger.jsonl"
RUNS: Final = ROOT / "var" / "runs" / "results"
FAILED: Final = 1


def register(app: typer.Typer, commit: Callable[[], str]) -> None:
    """Put the command on ``app``.  ``commit`` says which code runs."""

    @app.command("results")
    def results(
        only: Annotated[str, typer.Option(help="tasks or task/entry, with commas between (default: all)")] = "",
        hours: Annotated[float | None, typer.Option(min=0, help="begin no further epoch after so long")] = None,
        show_list: Annotated[bool, typer.Option("--list", help="where each entry stands; runs nothing")] = False,
        pages: Annotated[bool, typer.Option("--pages", help="write the pages anew from what is kept; no data")] = False,
        data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
        runs: Annotated[Path, typer.Option(help="folder of run folders")] = RUNS,
        out: Annotated[Path, typer.Option(help="folder that results are kept in")] = RESULTS,
        ledger: Annotated[Path, typer.Option(help="where each opening of a test is written first")] = LEDGER,
        list_folder: Annotated[Path, typer.Option(help="folder of the list")] = LIST,
        as_json: JsonFlag = False,
    ) -> None:
        """Run the results of record: what is done is skipped, what was begun goes on.  Needs the extra train.

        Exit 1 when an entry failed; the others are run nevertheless.
        """
        started = time.monotonic()
        with needing("a result"):
            from models.results import page, work
            from models.results.listed import load_list, selected
        if show_list and pages:
            raise ConfigError("--list with --pages", expected="one of the two")
        listed = load_list(list_folder)
        names = selected(listed, [word.strip() for word in only.split(",") if word.strip()])
        places = work.Places(out, runs, ledger, data)
        finished: list[str] = []
        failed: list[str] = []
        over = False
        if not (show_list or pages):
            call = work.Call(
                places,
                commit(),
                None if hours is None else started + hours * 3600,
                show=lambda text: print(text, file=sys.stderr, flush=True),
            )
            with needing("a result"):
                finished, failed, over = work.work(listed, names, call)
        rows: list[dict[str, Any]] = []
        for one in listed:
            if one.task not in names:
                continue
            # What was just run is of the data that is here; where nothing was, the pages need none.
            standings = work.standings(one, places, look_at_data=False)
            if not show_list:
                page.write(out, one, standings)
            rows += [_row(each) for each in standings if each.entry.name in names[one.task]]
        _show(rows, over=over)
        if as_json:
            print_json({"entries": rows, "finished": finished, "failed": failed, "time_over": over})
        if failed:
            raise typer.Exit(FAILED)


def _row(one: Any) -> dict[str, Any]:
    done = one.kept is not None
    return {
        "entry": one.entry.key,
        "state": one.state,
        "core_hours": one.entry.core_hours,
        "config_sha256": one.entry.config_sha256,
        "verdicts": [f"{f.task}: {f.headline.verdict}" for f in one.kept.forecasts] if done else [],
    }


def _show(rows: list[dict[str, Any]], *, over: bool) -> None:
    width = max(len(row["entry"]) for row in rows)
    for row in rows:
        verdicts = "; ".join(dict.fromkeys(row["verdicts"]))
        print(f"{row['entry']:<{width}}  {row['state']:<24}  {row['core_hours']:>4g} h  {verdicts}".rstrip())
    left = sum(row["core_hours"] for row in rows if row["state"] != "done")
    print(f"still to run: about {left:.1f} core-hours of {sum(row['core_hours'] for row in rows):.1f}")
    if over:
        print("the time is over; the same command goes on")
