"""The recurrent network: LSTM layers over the window, the newest row through a dense layer."""

from __future__ import annotations

from models.networks.recurrent import Recurrent


class Lstm(Recurrent):
    """602,625 parameters at the default sizes: 40 columns, two bidirectional layers of 128."""

    cell = "lstm"
