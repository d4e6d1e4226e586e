"""``index.sqlite``: all versions with what they stand for, to be asked without opening each of them.

Owns the file, which holds nothing of its own: where it is lost, damaged or behind, it is made again from the folder.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from engine.errors import BundleError
from models.registry.standing import Standing, scope_of
from models.registry.store import STANDINGS, Registry

INDEX: Final = "index.sqlite"
_SCHEMA = """
CREATE TABLE about (stamp TEXT NOT NULL);
CREATE TABLE versions (
    version TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, scope TEXT NOT NULL, head TEXT NOT NULL,
    network TEXT NOT NULL, precision TEXT NOT NULL, created_ns INTEGER NOT NULL, expires_ns INTEGER,
    verdict TEXT NOT NULL, run TEXT NOT NULL, is_next_back INTEGER NOT NULL, problem TEXT NOT NULL
);
"""
_COLUMNS = (
    "version, name, state, scope, head, network, precision, created_ns, expires_ns, verdict, run, is_next_back, problem"
)
_AGE = 7
"""Place of ``created_ns`` in a row."""
_PROBLEM = -1


def rows(registry: Registry) -> list[dict[str, Any]]:
    """A row for each version, by name and age; ``is_next_back``: a rollback makes it champion.

    Raises ``BundleError`` when a standing is damaged.
    """
    if not registry.root.is_dir():
        return []
    stamp = _stamp(registry)
    path = registry.root / INDEX
    found = _ask(path, stamp)
    if found is None:
        found = _contents(registry)
        if not any(row[_PROBLEM] for row in found):  # who mends a version changes nothing that the stamp is made of
            _write(path, stamp, found)
    return [dict(zip(_COLUMNS.split(", "), row, strict=True)) for row in found]


def _stamp(registry: Registry) -> str:
    """Of all that the index is made of: versions never change, so their names are enough."""
    digest = hashlib.sha256("\n".join(registry.versions()).encode())
    for path in sorted((registry.root / STANDINGS).glob("*.json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _ask(path: Path, stamp: str) -> list[tuple[Any, ...]] | None:
    """Its rows; None where it is not there, not whole or not of ``stamp``."""
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as index:
            if index.execute("SELECT stamp FROM about").fetchall() != [(stamp,)]:
                return None
            return index.execute(f"SELECT {_COLUMNS} FROM versions ORDER BY name, created_ns, version").fetchall()
    except sqlite3.Error:
        return None


def _contents(registry: Registry) -> list[tuple[Any, ...]]:
    standings = {one.scope: one for one in registry.standings()}
    found = [_row(registry, version, standings) for version in registry.versions()]
    return sorted(found, key=lambda row: (row[1], row[_AGE], row[0]))


def _row(registry: Registry, version: str, standings: dict[Any, Standing]) -> tuple[Any, ...]:
    name = version.partition("@")[0]
    try:
        manifest = registry.manifest(version)
    except BundleError as error:
        return (version, name, "damaged", "", "", "", "", 0, None, "", "", 0, str(error))
    scope = scope_of(manifest)
    standing = standings.get(scope, Standing(scope))
    verdict = "scored in its run" if manifest.scored else "not evaluated"
    if manifest.evaluation is not None:
        score = manifest.metrics.get(primary := manifest.evaluation.primary)
        verdict = f"{manifest.evaluation.verdict} ({primary}{'' if score is None else f' {score.value:.4g}'})"
    return (
        version,
        name,
        standing.state_of(version),
        scope.text,
        "binary" if manifest.task is None else manifest.task.head,
        manifest.training.network,
        manifest.precision,
        manifest.created_ns,
        manifest.expires_ns,
        verdict,
        "" if manifest.run is None else manifest.run.name,
        int(standing.champion is not None and standing.earlier[-1:] == (version,)),
        "",
    )


def _write(path: Path, stamp: str, contents: list[tuple[Any, ...]]) -> None:
    """Beside its place and then into it.  Where the folder is not ours to write to, it stays as it is."""
    making = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        making.unlink(missing_ok=True)
        with closing(sqlite3.connect(making)) as index:
            index.executescript(_SCHEMA)
            index.execute("INSERT INTO about VALUES (?)", (stamp,))
            marks = ", ".join("?" * len(_COLUMNS.split(", ")))
            index.executemany(f"INSERT INTO versions ({_COLUMNS}) VALUES ({marks})", contents)
            index.commit()
        os.replace(making, path)
    except (OSError, sqlite3.Error):
        making.unlink(missing_ok=True)
