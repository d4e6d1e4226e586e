"""What every group of settings is made of: a base that refuses unknown keys, and paths.

Owns no setting: those are ``config.schema`` and the ``*_schema`` files that it puts together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator


def _path(value: Path) -> Path:
    # A key pasted where its file's name belongs must not travel on as a "path" into errors and dumps.
    if "PRIVATE KEY" in str(value) or "\n" in str(value):
        raise ValueError("the name of a file, not its content")
    if "\0" in str(value):
        raise ValueError("the name of a file")
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("a path below the home folder of a user that exists") from None


FilePath = Annotated[Path, AfterValidator(_path)]


def _plain_kinds(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, out of unions and ``Annotated``; not those within lists and maps."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for one in get_args(annotation):
            yield from _plain_kinds(one)
    else:
        yield annotation


class Section(BaseModel):
    """A group of settings.  Unknown keys are errors; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """``true`` would be taken for 1."""
        if isinstance(value, bool) and info.field_name is not None:
            kinds = set(_plain_kinds(cls.model_fields[info.field_name].annotation))
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("a number")
        return value
