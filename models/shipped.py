"""Where bundles are looked for: a folder that is named, or the one that ships; and what a provider may be called.

Imports nothing of ours: the configuration's schema asks it as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

Name = Literal["cpu", "cuda", "tensorrt", "openvino"]
"""Of a provider (``models.providers``)."""
DEFAULT: Final = Path("models/artifacts")
REGISTRY: Final = Path("var/registry")
"""Versions and champions of a user's own; nothing of it ships."""
ENGINES: Final = Path("var/engines")
"""Built beforehand for this machine's GPU, by ``models verify NAME --build``."""
_SHIPPED: Final = Path(__file__).resolve().parent / "artifacts"


def bundles_folder(named: Path) -> Path:
    """``named`` as it is, but for the default where the working folder has none: then the folder that ships."""
    return _SHIPPED if named == DEFAULT and not named.is_dir() else named
