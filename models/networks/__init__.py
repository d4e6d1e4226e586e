"""The networks a bundle can be made of, by name.

The table is in ``models.networks.registry``.  Importing this package loads no torch: it is imported on first use, so
that a process that only lists bundles stays light.  The live process never calls anything here.
"""

from models.networks.registry import (
    COLUMNS,
    WINDOW,
    build,
    check,
    names,
    references,
    require_torch,
    settings_of,
    table,
)

__all__ = ["COLUMNS", "WINDOW", "build", "check", "names", "references", "require_torch", "settings_of", "table"]
