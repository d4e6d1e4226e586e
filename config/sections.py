"""What every group of settings is made of: a base that refuses unknown keys, and paths.

Owns no setting: those are ``config.schema`` and the ``*_schema`` files that it puts together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _path(value: Path) -> Path:
    # A key pasted where its file's name belongs must not travel on as a "path" into errors and dumps.
    if "PRIVATE KEY" in str(value) or "\n" in str(value):
        raise ValueError("the name of a file, not its content")
    return value.expanduser()


FilePath = Annotated[Path, AfterValidator(_path)]


class Section(BaseModel):
    """A group of settings.  Unknown keys are errors; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
