"""What the commands of every package share: the ``--json`` option and the line it prints.

Owns no command; each package keeps its own in ``commands.py`` and ``run.py`` puts them together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
ConfigOption = Annotated[list[Path] | None, typer.Option("--config", help="YAML or JSON file; later ones win")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one setting, such as sandbox.seed=3")
]


def print_json(content: object) -> None:
    print_line(json.dumps(content, default=str))


def print_line(text: str) -> None:
    """One line, after all that was printed before it."""
    sys.stdout.flush()
    print(text, flush=True)
