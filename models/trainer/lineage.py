"""From which version, and which run, a refreshed run went on.

Owns the file ``parent.json`` in its folder, and the way back to the run that was trained from nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.run_folder import ENVIRONMENT
from models.manifest import Scope

FILE: Final = "parent.json"


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``version`` whose weights were gone on with, its ``scope``, and the folder of its ``run`` as seen from this one.
    ``text``: what came of it on rows that neither had seen; empty until that is known."""

    version: str
    run: str
    scope: Scope
    text: str


def write_lineage(folder: Path, version: str, run: Path, scope: Scope, text: str) -> None:
    """Raises ``OSError``."""
    lineage = Lineage(version, os.path.relpath(run.resolve(), folder.resolve()), scope, text)
    write_atomically(folder / FILE, msgspec.json.format(msgspec.json.encode(lineage), indent=1))


def read_lineage(folder: Path) -> Lineage | None:
    """None of a run that was trained from nothing.  Raises ``DataError`` for a damaged file."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Lineage)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{folder / FILE} cannot be read: {error}", do="bring it back") from None


def line_of(folder: Path) -> list[Path]:
    """The run, the one that it went on from, and so on to the first.  Raises ``DataError`` where one is missing."""
    found = [folder]
    while (lineage := read_lineage(found[-1])) is not None:
        before = (found[-1] / lineage.run).resolve()
        if not (before / ENVIRONMENT).is_file() or before in found:
            raise DataError(
                f"{found[-1]} went on from the run {before}, which is not there",
                expected="all runs of its line: their rows are learned from again",
                do="bring it back",
            )
        found.append(before)
    return found
