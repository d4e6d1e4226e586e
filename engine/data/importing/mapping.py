"""What the columns of a file mean: its kind, and which column is which.

Owns the names by which common sources call things.  A name that could mean two things is not guessed at: the error says
what to write into ``--columns``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from engine.data.importing.options import SYMBOL, Options
from engine.data.kinds import KINDS
from engine.errors import DataError

MIXED_BOOK: Final = "mixed_book"
"""Snapshots and differences in one file, told apart by ``message_type``: becomes two kinds."""

# The first of these that a file has is taken; compared without case, spaces and underscores.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "ts_ns": ("tsns", "ts", "timestamp", "time", "datetime", "date", "opentime", "starttime", "unix", "t"),
    "recv_ns": ("recvns", "receivedns", "localtimestamp"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "c"),
    "volume": ("volume", "vol", "v", "basevolume", "volumebase"),
    "volume_quote": ("volumequote", "quotevolume", "quoteassetvolume"),
    "trades": ("trades", "count", "numberoftrades", "tradecount"),
    "adj_close": ("adjclose", "adjustedclose"),
    "interval_ns": ("intervalns",),
    "bid": ("bid", "bidprice", "bestbid", "bestbidprice"),
    "bid_size": ("bidsize", "bidqty", "bidvolume", "bestbidqty"),
    "ask": ("ask", "askprice", "bestask", "bestaskprice"),
    "ask_size": ("asksize", "askqty", "askvolume", "bestaskqty"),
    "price": ("price", "px", "rate"),
    "size": ("size", "qty", "quantity", "amount"),
    "side": ("side", "aggressor", "takerside"),
    "is_buyer_maker": ("isbuyermaker", "buyermaker"),
    "trade_id": ("tradeid", "id", "tid", "aggtradeid"),
    "exchange": ("exchange",),
    "condition": ("condition", "conditions"),
    "suspicious": ("suspicious",),
    "update_id": ("updateid", "sequence"),
    "first_update_id": ("firstupdateid",),
    "last_update_id": ("lastupdateid", "updateid"),
    "prev_update_id": ("prevupdateid",),
    "level": ("level",),
    "order_id": ("orderid",),
    "action": ("action",),
    "sequence": ("sequence",),
    "flags": ("flags",),
    "period_end_ns": ("periodendns", "periodend", "referencedate", "period"),
    "series": ("series", "seriesid", "indicator"),
    "value": ("value",),
    "revision": ("revision", "vintage"),
    "message_type": ("messagetype",),
    SYMBOL: ("symbol", "pair", "ticker", "instrument"),
}
# Exogenous series know two times, and the wrong one tells the future: only names that say "published" are taken.
_PUBLISHED: Final = ("tsns", "published", "publishedat", "publicationtime", "publicationdate", "releasedate",
                     "releasetime", "released", "realtimestart", "availableat")  # fmt: skip
_HINTS: Final = "--columns NAME=COLUMN"


class Mapping(msgspec.Struct, frozen=True):
    """``columns``: of the kind (and ``symbol``, ``is_buyer_maker``, ``message_type``), each with the file's name for
    it.  ``unused`` are the file's columns that are not stored."""

    kind: str
    columns: dict[str, str]
    unused: tuple[str, ...] = ()


def map_columns(path: Path, names: Sequence[str], options: Options) -> Mapping:
    """Decide kind and columns from the names in the file and what the user said.  Raises ``DataError``."""
    _check_mapped(path, names, options)
    found = _find(names, options)
    kind = options.kind or _kind(path, names, found)
    if kind == "frames":
        raise DataError(
            f"{path} is a table", expected="raw frames as JSON lines", do="leave --kind frames out, or name another"
        )
    wanted = [*(KINDS[kind].columns if kind in KINDS else _MIXED), SYMBOL]
    if kind == "trades":
        wanted += ["is_buyer_maker"] if "side" not in found else []
    if kind == "exogenous" and "ts_ns" not in options.columns:
        published = _first(names, _PUBLISHED)
        if published is None:
            raise DataError(
                f"{path} does not say when its values were published",
                expected="the time from which a value could be known: a period's end is earlier, and tells the future",
                do="name that column: --columns ts=COLUMN,period_end=COLUMN",
            )
        found["ts_ns"] = published
    if kind in ("book10", "orders"):
        found |= {name: name for name in names if name in wanted and name not in found}
    columns = _unshared({name: found[name] for name in dict.fromkeys(wanted) if name in found})
    _check_complete(path, kind, names, columns)
    used = set(columns.values())
    doubled = next((name for name in used if names.count(name) > 1), None)
    if doubled is not None:  # which of them would be stored nobody can say
        raise DataError(
            f"{path} has {names.count(doubled)} columns named {doubled!r}", expected="one", do="rename one of them"
        )
    return Mapping(kind, columns, tuple(name for name in names if name not in used))


_MIXED: Final = ("ts_ns", "recv_ns", "message_type", "last_update_id", "side", "price", "size")


def _find(names: Sequence[str], options: Options) -> dict[str, str]:
    """Every column that some kind could use: the user's word first, then the names that sources use."""
    taken = set(options.columns.values())
    found: dict[str, str] = {}
    for column, spellings in _NAMES.items():
        if column not in options.columns:
            name = column if column in names else _first([each for each in names if each not in taken], spellings)
            if name is not None and name not in taken:
                found[column] = name
    # bid_open, ask_price_10: only by their own names.
    others = {name for kind in KINDS.values() for name in kind.columns} - set(_NAMES)
    found |= {name: name for name in others if name in names and name not in taken}
    return found | dict(options.columns)


def _first(names: Sequence[str], spellings: Sequence[str]) -> str | None:
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), name)
    return next((plain[each] for each in spellings if each in plain), None)


def _unshared(columns: dict[str, str]) -> dict[str, str]:
    """One column of the file fills one of the kind: ``sequence`` is not ``update_id`` too where both are wanted."""
    made: dict[str, str] = {}
    for column, name in columns.items():
        rival = next((other for other, taken in made.items() if taken == name), None)
        if rival is None or column == name:
            made.pop(rival, None) if rival else None
            made[column] = name
    return made


def _kind(path: Path, names: Sequence[str], found: dict[str, str]) -> str:
    """From what is there; the most particular first."""
    has = found.keys()
    for kind, needs in (
        ("book10", {"bid_price_1", "ask_price_1"}),
        ("quote_bars", {"bid_open", "bid_close", "ask_open", "ask_close"}),
        ("bars", {"open", "high", "low", "close"}),
        ("quotes", {"bid", "ask"}),
        ("exogenous", {"series", "value"}),
        ("orders", {"order_id", "action"}),
        (MIXED_BOOK, {"message_type", "side", "price", "size"}),
        ("book_snapshots", {"level", "side", "price", "size"}),
        ("book_deltas", {"first_update_id", "side", "price", "size"}),
        ("side_quotes", {"exchange", "side", "price", "size"}),
        ("trades", {"price", "size"}),
    ):
        if needs <= has:
            return kind
    raise DataError(
        f"{path} has the columns {', '.join(names[:12])}: no kind of data is made of these",
        expected="bars (open, high, low, close, volume), trades (price, size), quotes (bid, ask), ...",
        do=f"say which column is which: {_HINTS}, or the kind: --kind",
    )


def _check_mapped(path: Path, names: Sequence[str], options: Options) -> None:
    for column, name in options.columns.items():
        if name not in names:
            near = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1, cutoff=0.5)
            meant = next((each for each in names if near and each.lower() == near[0]), "")
            raise DataError(
                f"{path} has no column {name!r}, which --columns names for {column}",
                expected=f"one of {', '.join(names[:12])}",
                do=f"did you mean {meant!r}?" if meant else "correct --columns",
            )


def _check_complete(path: Path, kind: str, names: Sequence[str], columns: dict[str, str]) -> None:
    if kind in KINDS:
        required = [name for name in KINDS[kind].required if name not in ("interval_ns", "series")]
    else:
        required = [name for name in _MIXED if name not in ("recv_ns", "last_update_id")]
    missing = [name for name in required if name not in columns]
    if kind == "exogenous" and "series" not in columns and SYMBOL not in columns:
        missing.append("series")
    if not missing:
        return
    free = [name for name in names if name not in columns.values()]
    near = difflib.get_close_matches(missing[0].removesuffix("_ns"), free, n=1, cutoff=0.5)
    raise DataError(
        f"{path} has no column for {missing[0].removesuffix('_ns')!r} of {kind} (it has {', '.join(names[:12])})",
        expected=", ".join(name.removesuffix("_ns") for name in required),
        do=f"name it: --columns {missing[0].removesuffix('_ns')}={near[0] if near else 'COLUMN'}",
    )
