"""Numbers of instruments for a network that has an embedding of them, in a file that travels with the model.

The numbers are those of the training, for ever: 1 and up in the order of training, 0 for whatever the training has not
seen.  Row 0 of the embedding is trained by hiding the number of some samples (``models.networks.front``), so that an
instrument that is new is served like nobody in particular, and never like somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import BundleError, DataError

Int64 = npt.NDArray[np.int64]

ASSETS: Final = "assets.json"
"""The file's name in a bundle."""
UNKNOWN: Final = 0


class AssetIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``instruments[i]`` has the number i + 1."""

    instruments: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.instruments)) != len(self.instruments) or not all(self.instruments):
            raise DataError("asset ids with an instrument twice or without a name", expected="each instrument once")

    @property
    def rows(self) -> int:
        """Rows that an embedding needs, the unknown one among them."""
        return len(self.instruments) + 1

    @property
    def by_instrument(self) -> dict[str, int]:
        """The number of each that the training had."""
        return {name: number for number, name in enumerate(self.instruments, 1)}

    def number(self, instrument: str) -> int:
        """The number of an instrument id; ``UNKNOWN`` where the training had none of it."""
        try:
            return self.instruments.index(instrument) + 1
        except ValueError:
            return UNKNOWN

    def numbers(self, instruments: Sequence[str], of: Int64) -> Int64:
        """(N,) asset numbers of samples, ``of (N,)`` being places in ``instruments``."""
        return np.array([self.number(name) for name in instruments], np.int64)[of]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, content: bytes) -> AssetIds:
        """Raises ``BundleError`` for what is no such file."""
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.MsgspecError, DataError) as error:
            raise BundleError(
                f"{ASSETS} is no list of instruments: {error}", expected="the file as exported"
            ) from error

    @classmethod
    def of(cls, instruments: Iterable[str]) -> AssetIds:
        return cls(tuple(dict.fromkeys(instruments)))
