"""A recurrent stack of both directions that is asked for its newest row alone.

Of the last layer, the backward direction begins at the newest row, so what it says of that row takes one step and not
one for each row.  Owns that form of the stack and where it fits; it serves, it does not learn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.recurrence import Encoded, Recurrence
from models.networks.step_attention import NewestRow


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
        self.forward_direction = _one_direction(last)
        self.backward_step = FirstStep(last, "_reverse")
        self.norms = recurrence.norms

    def forward(self, x: Tensor, mask: None = None, state: None = None) -> Encoded:
        del mask, state
        for number, layer in enumerate(self.earlier):
            y, _ = layer(x)  # (B, W, D)
            if self.skip and y.shape == x.shape:
                y = y + x
            x = self.norms[number](y) if self.norms else y  # (B, W, D)
        _, states = self.forward_direction(x)
        ahead = states[0] if self.kind == "lstm" else states  # (1, B, H)
        newest = x[:, -1]  # (B, D)
        y = torch.cat([ahead[0], self.backward_step(newest)], dim=1)  # (B, 2 H)
        if self.skip and y.shape == newest.shape:
            y = y + newest
        if self.norms:
            y = self.norms[-1](y)
        return Encoded(y.unsqueeze(1), y.new_zeros(0), None)


class FirstStep(nn.Module):
    """What one direction of a layer says after its first row, ``(B, F)`` to ``(B, H)``: from a state of zeros, where
    nothing of the weights of the state is needed, nor the gate that forgets."""

    def __init__(self, layer: nn.LSTM | nn.GRU, suffix: str) -> None:
        super().__init__()
        weight, of_row, of_state = (
            getattr(layer, f"{name}_l0{suffix}").detach() for name in ("weight_ih", "bias_ih", "bias_hh")
        )
        hidden = self.hidden = layer.hidden_size
        self.kind = "lstm" if isinstance(layer, nn.LSTM) else "gru"
        # Torch has an LSTM's gates as in, forget, candidate, out; and a GRU's as reset, update, candidate.
        gates = (0, 3, 2) if self.kind == "lstm" else (0, 1, 2)
        picked = torch.cat([torch.arange(gate * hidden, (gate + 1) * hidden) for gate in gates])
        self.gates = nn.Linear(layer.input_size, 3 * hidden)
        self.of_state = nn.Parameter(of_state[2 * hidden :].clone())
        with torch.no_grad():
            self.gates.weight.copy_(weight[picked])
            bias = of_row + of_state
            if self.kind == "gru":  # the state's part of the candidate stands behind the gate that resets
                bias[2 * hidden :] = of_row[2 * hidden :]
            self.gates.bias.copy_(bias[picked])

    def forward(self, row: Tensor) -> Tensor:
        open_gates, candidate = torch.split(self.gates(row), [2 * self.hidden, self.hidden], dim=1)
        first, second = torch.split(torch.sigmoid(open_gates), self.hidden, dim=1)  # (B, H) both
        if self.kind == "lstm":
            return second * torch.tanh(first * torch.tanh(candidate))
        candidate = torch.tanh(candidate + first * self.of_state)
        return candidate - second * candidate


def _one_direction(layer: nn.LSTM | nn.GRU) -> nn.LSTM | nn.GRU:
    """The forward direction of a layer as a layer, with a copy of its weights."""
    one = type(layer)(layer.input_size, layer.hidden_size, batch_first=True)
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            parameter.copy_(getattr(layer, name))
    return one
