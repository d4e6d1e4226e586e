"""Rows for training, written once and read as windows: the trainer's way from recorded markets to batches.

``rows`` makes them, by the feature buffer of a session; ``table`` is what they are in memory or mapped, ``store`` their
folder on disk; ``samples`` joins them with a label; ``loader`` gives batches; ``sampling`` and ``augmentation`` change
what is drawn of the training part, and of no other.
"""

from __future__ import annotations
