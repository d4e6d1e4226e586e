"""The same function of full windows in the form that a runtime computes fastest.

Owns which layer takes which form; the forms are those of the networks themselves, ``newest_row`` and ``flat_rows``.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from models.networks.attention import Attention, Block
from models.networks.flat_rows import FlatRowAttention, FlatRows
from models.networks.network import Frozen
from models.networks.newest_row import NewestRowRecurrence, reads_newest_row_alone
from models.networks.recurrence import Recurrence
from models.networks.step_attention import RowAttention


def served_form(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode: the network's own form, that of its members, and of its recurrent, attending and
    dense layers theirs."""
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
    _flatten_rows(form)
    fold_dense_norm(form)
    return form


def fold_dense_norm(form: nn.Module) -> None:
    """The batch norm between ``dense`` and a linear ``head`` becomes a part of that head."""
    dense, head = getattr(form, "dense", None), getattr(form, "head", None)
    if not isinstance(dense, nn.Sequential) or not isinstance(head, nn.Linear) or len(dense) < 2:
        return
    norm = dense[-2]
    if not isinstance(norm, nn.BatchNorm1d) or not isinstance(dense[-1], nn.Dropout):
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (D,)
        shift = norm.bias - norm.running_mean * scale  # (D,)
        head.bias.add_(head.weight @ shift)
        head.weight.mul_(scale)
    form.dense = dense[:-2]


def _flatten_rows(form: nn.Module) -> None:
    """Its attention over rows and what is dense of each row; layers of members have been taken care of."""
    for parent in list(form.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RowAttention):
                setattr(parent, name, FlatRowAttention(child).eval())
    for module in list(form.modules()):
        if isinstance(module, Block) and isinstance(module.feed_forward, nn.Sequential):
            last = module.feed_forward[-1]
            assert isinstance(last, nn.Linear)
            module.feed_forward = FlatRows(module.feed_forward, last.out_features)  # type: ignore[assignment]
    if isinstance(form, Attention):
        form.embed = FlatRows(form.embed, form.embed.out_features)  # type: ignore[assignment]
