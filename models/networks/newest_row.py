"""A recurrent stack of both directions that is asked for its newest row alone.

Of the last layer, the backward direction begins at the newest row, so what it says of that row takes one step and not
one for each row.  Owns that form of the stack and where it fits; it serves, it does not learn.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from models.networks.network import Frozen
from models.networks.recurrence import Encoded, Recurrence
from models.networks.step_attention import NewestRow


def served_form(network: nn.Module) -> nn.Module:
    """The same function of full windows in the form that a runtime computes fastest: the network's own, that of its
    members, and of a recurrent one this module's."""
    form = deepcopy(network).eval()
    # Members that are asked for their forecasts; a network that reads what is inside another's layers needs them all.
    base = getattr(form, "base", None)
    if isinstance(base, Frozen) and hasattr(form, "base_predictions"):
        for name, member in list(base.items()):
            base[name] = served_form(member)
    if (convert := getattr(form, "export_form", None)) is not None:
        converted: nn.Module = convert()
        return converted.eval()
    if reads_newest_row_alone(form):
        assert isinstance(form.recurrence, Recurrence)
        form.recurrence = NewestRowRecurrence(form.recurrence).eval()
    return form


def reads_newest_row_alone(network: nn.Module) -> bool:
    """It is of both directions, and nothing looks at the rows that the last layer says of earlier rows."""
    recurrence = getattr(network, "recurrence", None)
    newest = getattr(network, "newest", None)
    if not isinstance(recurrence, Recurrence) or not isinstance(newest, NewestRow):
        return False
    return recurrence.directions == 2 and newest.additive is None and newest.rows is None


class NewestRowRecurrence(nn.Module):
    """``(B, W, F)`` to ``Encoded`` with the newest row as its only step, ``(B, 1, D)``, and no states.

    Made of a ``Recurrence`` of both directions; without masks, as windows are full when they are served.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        self.kind = recurrence.kind
        self.skip = recurrence.skip
        self.earlier = nn.ModuleList(recurrence.layers[:-1])
        last = recurrence.layers[-1]
        assert isinstance(last, nn.LSTM | nn.GRU)
        self.forward_direction = _one_direction(last, "")
        self.backward_direction = _one_direction(last, "_reverse")
        self.norms = recurrence.norms

    def forward(self, x: Tensor, mask: None = None, state: None = None) -> Encoded:
        del mask, state
        for number, layer in enumerate(self.earlier):
            y, _ = layer(x)  # (B, W, D)
            if self.skip and y.shape == x.shape:
                y = y + x
            x = self.norms[number](y) if self.norms else y  # (B, W, D)
        ahead, _ = self.forward_direction(x)  # (B, W, H)
        newest = x[:, -1:]  # (B, 1, D)
        back, _ = self.backward_direction(newest)  # (B, 1, H)
        y = torch.cat([ahead[:, -1:], back], dim=2)  # (B, 1, 2 H)
        if self.skip and y.shape == newest.shape:
            y = y + newest
        if self.norms:
            y = self.norms[-1](y)
        return Encoded(y, y.new_zeros(0), None)


def _one_direction(layer: nn.LSTM | nn.GRU, suffix: str) -> nn.LSTM | nn.GRU:
    """One direction of a layer as a layer, with a copy of its weights."""
    one = type(layer)(layer.input_size, layer.hidden_size, batch_first=True)
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            parameter.copy_(getattr(layer, name + suffix))
    return one
