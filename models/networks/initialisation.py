"""How weights begin.

Xavier (Glorot and Bengio 2010): uniform with variance ``2 / (inputs + outputs)``, so that signals and gradients keep
their size from layer to layer.  Recurrent weights begin orthogonal (Saxe et al. 2014) and the forget gates of an LSTM
open (Jozefowicz et al. 2015): what was seen 30 rows ago is not lost before anything is learned.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from models.networks.network import Network
from models.networks.settings import NetworkSettings

NetworkType = TypeVar("NetworkType", bound=Network)


def initialise_as(settings: NetworkSettings, network: NetworkType) -> NetworkType:
    """The network, begun as its settings say."""
    if settings.initialisation == "xavier":
        initialise(network)
    return network


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Every layer below ``module``, except networks inside it: those were begun by their own settings."""
    for child in module.children():
        if not isinstance(child, Network):
            initialise(child)
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        # Queries, keys and values are three square matrices in one: each by its own size.
        for part in module.in_proj_weight.chunk(3):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(module.in_proj_bias)
    elif isinstance(module, nn.LSTM | nn.GRU | nn.LSTMCell):
        _recurrent(module)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)


def _recurrent(module: nn.Module) -> None:
    for name, weight in module.named_parameters():
        gates = 3 if isinstance(module, nn.GRU) else 4
        for gate, part in enumerate(weight.chunk(gates)):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(part)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(part)
            else:
                # torch's order is input, forget, cell, output; its two biases are added.
                forget = gates == 4 and gate == 1 and name.startswith("bias_ih")
                nn.init.constant_(part, 1.0 if forget else 0.0)
