"""What a model is to say: labels of rows, as plain NumPy functions of the prices that came after them.

One file a kind; ``labelled`` is what all of them return, ``settings`` is how a training run names them.  A label that
cannot be known is left out, never guessed: too near the end of the data, across a pause, a price that is no number.
"""

from __future__ import annotations

from models.labels.labelled import Labels, unknown
from models.labels.settings import LabelSpec, label_rows

__all__ = ["LabelSpec", "Labels", "label_rows", "unknown"]
