"""Writes the pages that show state tables: ``python docs/make_diagrams.py`` after a table has changed.

Owns their text, which is made from the tables themselves, so that a page cannot say anything else than the code does.
``tests/tidy/test_documents.py`` compares the committed pages with what this makes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from engine.commands import RiskState
from engine.order_states import FINAL, TABLE, Happening, OrderState
from risk.kill_switch import TRANSITIONS, Cause

DOCS = Path(__file__).resolve().parent
HOW = "Made by `python docs/make_diagrams.py`; edits here are lost."

S = TypeVar("S", bound=enum.StrEnum)
W = TypeVar("W", bound=enum.StrEnum)


def order_states() -> str:
    """``docs/order-states.md``."""
    live = [state for state in OrderState if state not in FINAL]
    met = [what for what in Happening if any((state, what) in TABLE for state in live)]
    moves = {pair: after for pair, after in TABLE.items() if pair[0] not in FINAL}
    late = {pair: after for pair, after in TABLE.items() if pair[0] in FINAL and after is not pair[0]}
    return "\n".join(
        [
            "# States of an order",
            "",
            f"{HOW} The table is `engine/order_states.py: TABLE`, the states are `engine/order_states.py: OrderState`.",
            "",
            "What leads back to the same state is left out of the picture.",
            "",
            *_diagram(moves, start=OrderState.HELD, final=sorted(FINAL)),
            "",
            "A pair without a cell is illegal: it raises `IllegalTransition` with both names and risk is halted; open",
            "orders are cancelled, and account events go on being handled. `accepted` becomes `partly_filled` where",
            "something was filled already, and a refused cancel leads back to `sent` where the venue has not yet",
            "acknowledged the order.",
            "",
            *_table(live, met, TABLE),
            "",
            "Final states take late facts. A late acknowledgement changes nothing, but it disproves a rejection: then",
            "the order lives, holds its risk again and can be cancelled. So does an order that has filled and that the",
            "venue shows larger than that. A late fill is booked, because it happened; one that completes the order",
            "makes it filled:",
            "",
            *(f"- `{state}` and `{what}`: `{after}`" for (state, what), after in sorted(late.items())),
            "",
        ]
    )


def risk_states() -> str:
    """``docs/risk-states.md``."""
    return "\n".join(
        [
            "# States of risk",
            "",
            f"{HOW} The table is `risk/kill_switch.py: TRANSITIONS`.",
            "",
            *_diagram(TRANSITIONS, start=RiskState.ACTIVE, final=[]),
            "",
            *_table(list(RiskState), list(Cause), TRANSITIONS),
            "",
            "## What a new start forgets",
            "",
            "A session on an account that outlives it begins in the state that the last one on that account left, with",
            "its reason ([0019](decisions/0019-a-session-goes-on-with-its-account.md)). It holds until `resume`.",
            "What losses are measured from is not touched by that: the day's loss counts from where the last session",
            "counted, until the UTC day is over, and the drawdown from the account's highest equity for good. While",
            "either is beyond its limit entries are refused, `resume` or not.",
            "A start with `--venue-truth` goes on from no session: it forgets all of that and begins `active`.",
            "",
            "`shutdown.positions: flatten` leaves `reducing`, as `flatten` by hand does: whoever had everything closed",
            "says by `resume` when entries may begin again. The end is bounded, so a position may not have been",
            "closed, and a supervisor that starts the daemon anew must not enter what was just left.",
            "",
            "Any other session (the exchange that `paper` starts, fills in process) begins `active`; only the file",
            "`HALT` outlives it and keeps the next one from starting. The breakers begin anew as well: the day's",
            "loss counts from the first valuation that this session makes on a UTC day, the drawdown from the",
            "highest equity that this session has seen. Whoever starts again after a breaker has stopped trading",
            "therefore has the whole of `risk.max_daily_loss` and `risk.max_drawdown_bps` to lose once more on the",
            "same day. To hold a stop across starts, pull the kill switch (`python run.py halt`), which writes that",
            "file into the run folder of the user: no daemon of that user starts then, from whatever folder.",
            "",
        ]
    )


PAGES: Mapping[str, Callable[[], str]] = {"order-states.md": order_states, "risk-states.md": risk_states}


def _diagram(moves: Mapping[tuple[S, W], S], *, start: S, final: Iterable[S]) -> list[str]:
    """Mermaid: one arrow for each pair of states, with everything that leads along it."""
    arrows: dict[tuple[S, S], list[str]] = {}
    for (before, what), after in moves.items():
        if before is not after:
            arrows.setdefault((before, after), []).append(what.value)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {before} --> {after}: {', '.join(whats)}" for (before, after), whats in arrows.items()]
    lines += [f"    {state} --> [*]" for state in final]
    return [*lines, "```"]


def _table(states: list[S], whats: list[W], table: Mapping[tuple[S, W], S]) -> list[str]:
    """One row for each thing that happens, one column for each state it finds."""
    lines = [f"| | {' | '.join(states)} |", "|---" * (len(states) + 1) + "|"]
    for what in whats:
        cells = [table.get((state, what)) for state in states]
        lines.append(f"| **{what}** | {' | '.join(cell.value if cell is not None else ' ' for cell in cells)} |")
    return lines


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
