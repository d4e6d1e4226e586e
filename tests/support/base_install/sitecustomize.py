"""Python runs this first in the programs that the tests start: they find what the base install has, and no trainer.

pyarrow and numba load pandas and scipy where these are installed.  A user who trades has neither, and the suite, which
starts some hundreds of programs, need not pay for them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

TRAINER = frozenset(
    {"arch", "captum", "lightgbm", "mapie", "onnx", "onnxscript", "optuna", "pandas", "scipy", "shap"}
    | {"skfolio", "sklearn", "statsmodels", "tensorboard", "torch"}
)


class NotInstalled:
    """Before every other finder: a package of the trainer is not there."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in TRAINER:
            raise ModuleNotFoundError(f"No module named {name!r} (the tests run this as the base install)", name=name)
        return None


sys.meta_path.insert(0, NotInstalled)
