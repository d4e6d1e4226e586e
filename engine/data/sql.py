"""One SQL query over the visible parts of a catalogue, by DuckDB, which can see and do nothing else.

Owns the connection and its fences.  duckdb is imported here, when somebody asks: never by the live process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from engine.data.kinds import KINDS
from engine.data.parts import Part
from engine.errors import DataError


def query(parts: Sequence[Part], statement: str) -> Any:
    """The result of one SELECT as a ``pyarrow.Table``.  Raises ``DataError`` with DuckDB's first line."""
    import duckdb

    # Made by us alone: a database in memory, no extension is fetched, no file of the user's is taken for settings.
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    try:
        _make_views(connection, parts)
        # From here on it reads these files and nothing else, whatever the query says.
        paths = [str(part.path) for part in parts]
        connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, paths))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        statements = connection.extract_statements(statement)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            count = len(statements)
            raise DataError(
                f"the query holds {count} statements" if count != 1 else "the query is no SELECT",
                expected="one SELECT",
                do="a catalogue is changed by import, record and compact only",
            )
        return connection.sql(statement).to_arrow_table()
    except duckdb.Error as error:
        raise DataError(
            f"the query failed: {_first_line(error)}",
            expected=f"SQL over the views {', '.join(KINDS)}",
        ) from error
    finally:
        connection.close()


def _make_views(connection: Any, parts: Sequence[Part]) -> None:
    for kind in KINDS.values():
        own = [part for part in parts if part.kind == kind.name]
        columns = ", ".join(f'r."{name}"' for name in kind.columns)
        about = {
            "file": [str(part.path) for part in own],
            "venue": [part.venue for part in own],
            "instrument": [part.instrument for part in own],
            "symbol": [part.symbol for part in own],
        }
        table = pa.table({name: pa.array(values, pa.string()) for name, values in about.items()})
        connection.register(f"_{kind.name}_parts", table)
        # A file has only the columns that hold something: the empty table gives the rest their names and types.
        connection.register(f"_{kind.name}_none", kind.schema.empty_table())
        rows = f"SELECT *, '' AS _file FROM _{kind.name}_none"
        if own:
            files = ", ".join(map(_quoted, about["file"]))
            rows += (
                f" UNION ALL BY NAME SELECT * FROM read_parquet([{files}], union_by_name = true, "
                "filename = '_file', hive_partitioning = false)"
            )
        connection.execute(
            f"CREATE VIEW {kind.name} AS SELECT p.venue, p.instrument, p.symbol, {columns} "
            f"FROM ({rows}) r JOIN _{kind.name}_parts p ON r._file = p.file"
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
