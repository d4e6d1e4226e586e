"""The lighter recurrent network: GRU layers over the window, the newest row through a dense layer."""

from __future__ import annotations

from models.networks.recurrent import Recurrent


class Gru(Recurrent):
    """The LSTM's twin with three gates instead of four and no cell: 460,289 parameters at the same sizes."""

    cell = "gru"
