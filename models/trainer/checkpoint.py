"""Where a run is, on disk: tensors and plain numbers, written whole or not at all.

Owns the files; what stands in them is ``models.trainer.fit``'s.  They are read with ``weights_only``: a checkpoint can
hold data and no code.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from engine.durable import write_atomically
from engine.errors import DataError


def save(path: Path, state: dict[str, Any]) -> None:
    """Raises ``DataError`` when the disk will not take it; what was there before stays."""
    content = io.BytesIO()
    torch.save(state, content)
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise DataError(
            f"the checkpoint {path} cannot be written: {error.strerror}",
            expected="a folder with room",
            do="make room, then resume the run: what it had saved before is there",
        ) from None


def load(path: Path) -> dict[str, Any]:
    """Raises ``DataError`` for what is missing, damaged, or holds more than data."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"no checkpoint at {path}", do="train the run to the end") from None
    except Exception as error:  # torch raises what its reader of the day raises; nothing of it is ours
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"the checkpoint {path} cannot be read: {first[:120]}", do="train again") from None
    return state


def made_with(config: Path) -> str:
    """What a run's checkpoint is known by: the sha256 of the settings that the run was begun with."""
    try:
        return hashlib.sha256(config.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{config} cannot be read: {error.strerror}", do="bring it back, or train again") from None


def check_made_with(path: Path, state: dict[str, Any], wanted: str) -> None:
    """Raises ``DataError`` for the checkpoint of a run of other settings, or for what is no run's checkpoint."""
    # One that was written before checkpoints had this goes on as it did then.
    if "lines" not in state or state.get("made_with", wanted) != wanted:
        raise DataError(
            f"the checkpoint {path} is of a run with other settings",
            expected="the one that this run wrote",
            do="bring it back, or train again under another name",
        )
