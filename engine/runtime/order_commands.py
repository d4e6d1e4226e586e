"""Commands about orders and positions: ``order``, ``cancel``, ``close``, ``flatten``.

They go to exactly one daemon: what is meant for one account must not reach another.  What each does is the daemon's to
say (``engine.manual``); ``halt`` and its like are ``engine.runtime.commands``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import KestrelError
from engine.runtime.commands import ReasonOption, SessionsOption
from engine.runtime.control import ask, run_folder, running_sessions, said_of, user_run_folder

SessionOption = Annotated[str, typer.Option("--session", help="which daemon, where several run (its session's id)")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="how long to wait until it is closed, s")]
_POLL_S = 0.2


def order(
    side: Annotated[str, typer.Argument(help="buy or sell")],
    instrument: Annotated[str, typer.Argument(help="such as BTC/USD@coinbase; BTC/USD where one venue has it")],
    qty: Annotated[str, typer.Argument(help="in base units, such as 0.01")],
    limit: Annotated[str | None, typer.Option(help="limit price; without it, a market order")] = None,
    trigger: Annotated[str | None, typer.Option(help="of a stop: at --limit or at market once that is reached")] = None,
    touched: Annotated[
        bool, typer.Option("--touched", help="--trigger is a better price than the market's (market-if-touched)")
    ] = False,
    bracket: Annotated[
        bool, typer.Option("--bracket", help="close at --limit, or at market once --trigger is reached; one of them")
    ] = False,
    tif: Annotated[str | None, typer.Option(help="gtc (default with --limit), ioc (default without) or fok")] = None,
    post_only: Annotated[bool, typer.Option("--post-only", help="never take: refused where it would")] = False,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="never more than the position")] = False,
    reason: ReasonOption = "",
    session: SessionOption = "",
    sessions: SessionsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Send one order by hand, through the same risk gate as any strategy's."""
    arguments = {"side": side, "instrument": instrument, "qty": qty, "limit": limit, "trigger": trigger, "tif": tif}
    flags = {
        "touched": touched,
        "bracket": bracket,
        "post_only": post_only,
        "reduce_only": reduce_only,
        "reason": reason,
    }
    _finish(_ask("order", arguments | flags, session, sessions), "sent", "orders", as_json)


def cancel(
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="our id of it, or the venue's")],
    reason: ReasonOption = "",
    session: SessionOption = "",
    sessions: SessionsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask the venue to cancel one open order, whoever's it is."""
    answer = _ask("cancel", {"order": order_id, "reason": reason}, session, sessions)
    _finish(answer, "asked to be cancelled", "cancelled", as_json)


def close(
    instrument: Annotated[str, typer.Argument(help="such as BTC/USD@coinbase")],
    reason: ReasonOption = "",
    wait: WaitOption = 30.0,
    session: SessionOption = "",
    sessions: SessionsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Cancel what is open in an instrument, then close the position.  Strategies go on: they may enter again."""
    _close("close", {"instrument": instrument, "reason": reason}, wait, session, sessions, as_json)


def flatten(
    reason: ReasonOption = "",
    wait: WaitOption = 30.0,
    session: SessionOption = "",
    sessions: SessionsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop entries, cancel everything, close every position.  Entries stay stopped until resume."""
    _close("flatten", {"reason": reason}, wait, session, sessions, as_json)


def _close(
    command: str, arguments: dict[str, Any], wait_s: float, session: str, sessions: Path | None, as_json: bool
) -> None:
    path = _daemon(session, sessions)
    answer = ask(path, command, arguments)
    wanted = answer["closing"]
    for why in answer["refused"]:
        print(f"{said_of(path)}: refused: {why}")
    until_s = time.monotonic() + wait_s
    status = ask(path, "status")
    while set(wanted) & set(status["closing"]) and time.monotonic() < until_s:
        time.sleep(_POLL_S)
        status = ask(path, "status")
    said = {**{name: status["closed"].get(name, "not closed") for name in wanted}, **status["closing"]}
    for name, what in said.items():
        print(f"{said_of(path)}: {name}: {what}")
    if command == "flatten":
        print(f"{said_of(path)}: {status['state']}, {status['open_orders']} open orders")
    if as_json:
        print_json({"refused": answer["refused"], "closed": said, "state": status["state"]})
    if answer["refused"] or not all(what.startswith("closed") for what in said.values()):
        raise typer.Exit(1)


def _finish(answer: dict[str, Any], done: str, which: str, as_json: bool) -> None:
    for name in answer[which]:
        print(f"{done}: {name}")
    for why in answer["refused"]:
        print(f"refused: {why}")
    if as_json:
        print_json({which: answer[which], "refused": answer["refused"], "state": answer["state"]})
    if answer["refused"]:
        raise typer.Exit(1)


def _ask(command: str, arguments: dict[str, Any], session: str, sessions: Path | None) -> dict[str, Any]:
    return ask(_daemon(session, sessions), command, arguments)


def _daemon(session: str, sessions: Path | None) -> Path:
    """The socket of the one daemon that is meant.  Raises ``KestrelError`` where none is, or several are."""
    run_dir = user_run_folder() if sessions is None else run_folder(sessions)
    running = running_sessions(run_dir)
    found = [path for path in running if not session or path.stem.rpartition(".")[0] == session]
    if len(found) == 1:
        return found[0]
    listening = ", ".join(map(said_of, running))
    if not running:
        raise KestrelError(f"no daemon is running: none listens in {run_dir}", do="start one: make paper")
    if not found:
        raise KestrelError(f"session {session!r} has no daemon that runs", expected=listening, do="see status")
    raise KestrelError(f"several daemons are running: {listening}", expected="one", do="say which: --session ID")
