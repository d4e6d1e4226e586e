"""The commands ``data ...``: stored market data.

Owns the group only; each command lies in a file of its own and registers here.
"""

from __future__ import annotations

import typer

from config.data_fetch import data_fetch
from config.data_import import data_import
from config.data_list import data_list, data_query
from config.data_quality import data_quality
from config.data_verify import data_verify

app = typer.Typer(help="Stored market data: import, fetch, record, look at, verify.", no_args_is_help=True)
app.command("fetch")(data_fetch)
app.command("import")(data_import)
app.command("list")(data_list)
app.command("query")(data_query)
app.command("quality")(data_quality)
app.command("verify")(data_verify)
