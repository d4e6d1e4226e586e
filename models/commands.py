"""The commands ``models networks``, ``list``, ``show`` and ``verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import KestrelError
from models.shipped import DEFAULT, bundles_folder

app = typer.Typer(help="Networks and model bundles.", no_args_is_help=True)


@app.command("networks")
def models_networks(as_json: JsonFlag = False) -> None:
    """Networks that can be trained, with exact parameter counts (a mode with another output: NAME:MODE)."""
    from models.networks import table

    try:
        rows = table()
    except ModuleNotFoundError as error:
        raise KestrelError(f"counting parameters needs {error.name}", do="pip install -e '.[cpu,train]'") from None
    for row in rows:
        print(f"{row['name']:<22} {row['parameters']:>10,}  {row['input']} -> {row['output']}")
    if as_json:
        print_json({"networks": rows})


@app.command("list")
def models_list(directory: Annotated[Path, typer.Option()] = DEFAULT, as_json: JsonFlag = False) -> None:
    """Bundles and whether they may be used."""
    from models.catalogue import list_bundles

    rows = list_bundles(bundles_folder(directory))
    for row in rows:
        print(f"{row['name']:<20} {row['version']:<34} {row['state']}")
    if as_json:
        print_json({"models": rows})


@app.command("show")
def models_show(name: str, directory: Annotated[Path, typer.Option()] = DEFAULT) -> None:
    """The whole manifest of a bundle."""
    from models.catalogue import show_bundle

    print(json.dumps(show_bundle(bundles_folder(directory) / name), indent=2, default=str))


@app.command("verify")
def models_verify(name: str, directory: Annotated[Path, typer.Option()] = DEFAULT, as_json: JsonFlag = False) -> None:
    """Load a bundle, open its graph and run its golden tape through the kernel that will serve."""
    from models.catalogue import verify_bundle

    result = verify_bundle(bundles_folder(directory) / name)
    print(f"{result['version']}: ok on {result['provider']}, {result['golden_predictions']} golden predictions")
    if as_json:
        print_json(result)
