"""What every group of settings is made of: a base that refuses unknown keys, and kinds of values.

Owns no setting: those are ``config.schema`` and the ``*_schema`` files that it puts together.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

CURRENCY_PATTERN: Final = r"^[A-Z0-9]{2,12}$"
SYMBOL_PATTERN: Final = r"^[A-Z0-9.\-]+/[A-Z0-9]+(:[A-Z0-9.\-]+)?$"


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
Currency = Annotated[str, Field(pattern=CURRENCY_PATTERN)]
Symbol = Annotated[str, Field(pattern=SYMBOL_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[Decimal, Field(gt=0)]
NotNegative = Annotated[Decimal, Field(ge=0)]


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
